//! The links of one loop by slot. Slots are used again under a new generation; those of several loops of one process
//! are interleaved, so that each link has its own.

use crate::link::{Link, Phase};
use crate::links::Links;
use duet_datanode_core::LinkId;
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Number of a link among those of what the loop waits in.
pub(crate) fn token(id: LinkId) -> u64 {
    u64::from(id.slot) | u64::from(id.generation) << 32
}

/// The link that a token names.
pub(crate) fn from_token(token: u64) -> LinkId {
    LinkId { slot: token as u32, generation: (token >> 32) as u32 }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    link: Option<Link>,
}

/// All links.
#[derive(Debug)]
pub(crate) struct LinkTable {
    slots: Vec<Slot>,
    /// Number of this loop, and of all loops that have links.
    first: u32,
    stride: u32,
    free: Vec<u32>,
    max_links: usize,
    count: usize,
    accepted: usize,
}

impl LinkTable {
    /// A table for `max_links`; loop `first` of `stride` loops takes every `stride`-th slot.
    pub fn new(max_links: usize, first: u32, stride: u32) -> LinkTable {
        LinkTable { slots: Vec::new(), first, stride, free: Vec::new(), max_links, count: 0, accepted: 0 }
    }

    /// Position of a slot that is one of this loop's.
    #[inline]
    fn position(&self, slot: u32) -> Option<usize> {
        if self.stride == 1 {
            return Some(slot as usize);
        }
        (slot % self.stride == self.first).then_some((slot / self.stride) as usize)
    }

    /// Links of any kind.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Links that others opened.
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    pub fn is_full(&self) -> bool {
        self.count >= self.max_links
    }

    /// Adds a link and asks for what it wants. The table must not be full.
    pub fn insert(
        &mut self,
        links: &mut Links,
        socket: Socket,
        address: SocketAddr,
        accepted: bool,
        phase: Phase,
    ) -> io::Result<LinkId> {
        assert!(!self.is_full(), "callers check for room");
        let position = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = position * self.stride + self.first;
        let entry = &mut self.slots[position as usize];
        // Generation 0 is never given out, so that a token of a link is never the listener's or the waker's.
        entry.generation = entry.generation.wrapping_add(1).max(1);
        let id = LinkId { slot, generation: entry.generation };
        let mut link = Link::new(id, Arc::new(socket), address, accepted, phase);
        if let Err(error) = links.add(&mut link) {
            self.free.push(position);
            return Err(error);
        }
        entry.link = Some(link);
        self.count += 1;
        self.accepted += usize::from(accepted);
        Ok(id)
    }

    #[inline]
    pub fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let position = self.position(id.slot)?;
        self.slots.get_mut(position)?.link.as_mut().filter(|link| link.id == id)
    }

    #[inline]
    pub fn get(&self, id: LinkId) -> Option<&Link> {
        let position = self.position(id.slot)?;
        self.slots.get(position)?.link.as_ref().filter(|link| link.id == id)
    }

    /// Takes a link out of the table and ends its events; its socket is closed when everybody has dropped it.
    pub fn remove(&mut self, links: &mut Links, id: LinkId) -> Option<Link> {
        self.get_mut(id)?;
        let position = self.position(id.slot)?;
        let link = self.slots[position].link.take()?;
        links.remove(&link);
        self.free.push(position as u32);
        self.count -= 1;
        self.accepted -= usize::from(link.accepted);
        Some(link)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.slots.iter_mut().filter_map(|slot| slot.link.as_mut())
    }
}
