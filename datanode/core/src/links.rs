//! The table of links: who is at the other end of each, and how far its handshake is.

use crate::interface::{Command, LinkId, Nanoseconds, Target};
use std::collections::VecDeque;

/// Time that a new link has for its handshake.
const HANDSHAKE_WITHIN: Nanoseconds = 5_000_000_000;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// A client.
    Client,
    /// Another data node, for the lane with this index.
    Peer {
        /// Index in the outbox's lanes.
        lane: usize,
    },
    /// A management node.
    Management {
        /// Index as in [`Target::Management`].
        index: u32,
    },
}

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The other side connected and must say hello.
    AwaitHello {
        /// When it connected.
        since: Nanoseconds,
    },
    /// This side connected and said hello.
    AwaitWelcome(Target),
    /// Done.
    Ready(LinkRole),
    /// In a coordinator part: a link to another data node; everything about it belongs to this data part.
    HandedOver {
        /// Number of the data part.
        manager: usize,
    },
}

/// One link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    generation: u32,
    /// Handshake.
    pub stage: Stage,
    /// For whom this side opened it.
    pub target: Option<Target>,
    /// It was refused; nothing more is processed.
    pub closing: bool,
}

/// All links of a kernel by slot.
#[derive(Debug, Default)]
pub struct Links {
    slots: Vec<Option<Link>>,
    count: usize,
}

impl Links {
    /// A new link.
    pub fn open(&mut self, link: LinkId, stage: Stage) {
        let slot = link.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        let target = if let Stage::AwaitWelcome(target) = stage { Some(target) } else { None };
        self.count += usize::from(self.slots[slot].is_none());
        self.slots[slot] = Some(Link { generation: link.generation, stage, target, closing: false });
    }

    /// The link, if it is open in this generation.
    #[inline]
    pub fn get(&self, link: LinkId) -> Option<&Link> {
        self.slots.get(link.slot as usize)?.as_ref().filter(|state| state.generation == link.generation)
    }

    /// The link, if it is open in this generation.
    pub fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(link.slot as usize)?.as_mut().filter(|state| state.generation == link.generation)
    }

    /// The link that is open in a slot, of whatever generation.
    pub fn in_slot(&self, slot: u32) -> Option<LinkId> {
        let state = self.slots.get(slot as usize)?.as_ref()?;
        Some(LinkId { slot, generation: state.generation })
    }

    /// Forgets a link and returns what it was.
    pub fn close(&mut self, link: LinkId) -> Option<Link> {
        let closed = *self.get(link)?;
        self.slots[link.slot as usize] = None;
        self.count -= 1;
        Some(closed)
    }

    /// Closes a link without a word to the other side.
    pub fn mark_closing(&mut self, link: LinkId, commands: &mut VecDeque<Command>) {
        if let Some(state) = self.get_mut(link)
            && !std::mem::replace(&mut state.closing, true)
        {
            commands.push_back(Command::Close { link, refused: None });
        }
    }

    /// Number of open links.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Links whose handshake did not come in time.
    pub fn overdue(&self, now: Nanoseconds) -> Vec<LinkId> {
        let overdue = |(slot, link): (usize, &Option<Link>)| {
            let link = link.as_ref().filter(|link| !link.closing)?;
            let Stage::AwaitHello { since } = link.stage else { return None };
            (now.saturating_sub(since) > HANDSHAKE_WITHIN)
                .then_some(LinkId { slot: slot as u32, generation: link.generation })
        };
        self.slots.iter().enumerate().filter_map(overdue).collect()
    }
}
