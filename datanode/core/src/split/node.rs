//! A node of several parts in one thread: for the simulator and for tests, which drive it as they drive one kernel.

use super::{Destination, Queue, Shared, ToCoordinator, ToData};
use crate::interface::{CloseReason, Command, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target};
use crate::kernel::{Kernel, Message};
use crate::ldm::ReplicaDigest;
use crate::ldm::journal::CommittedChange;
use crate::ldm::unique::UniqueEntry;
use duet_memory::SectionPool;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use std::collections::{BTreeMap, VecDeque};

/// Coordinator and data parts with mailboxes between them, which are emptied in an order drawn from the node's seed.
///
/// Its methods mean what those of [`Kernel`] with the same names mean.
#[derive(Debug)]
pub struct SplitKernel {
    coordinators: Vec<Kernel>,
    managers: Vec<Kernel>,
    shared: Shared,
    pool: SectionPool,
    /// Mailboxes from each coordinator to each data part.
    to_data: Vec<Vec<Queue<ToData>>>,
    /// Mailboxes from each part (coordinators first) to each coordinator.
    to_coordinators: Vec<Vec<Queue<ToCoordinator>>>,
    /// Coordinator of each link.
    owners: BTreeMap<LinkId, usize>,
    commands: VecDeque<Command>,
    random: u64,
    /// Whether messages may stay in their mailboxes at the end of a burst.
    lazy: bool,
    /// A part (coordinators first) that gets no messages and hands out no bytes for now.
    stalled: Option<usize>,
}

impl SplitKernel {
    /// A node with these numbers of parts. A `lazy` one leaves messages in their mailboxes now and then, and sometimes
    /// all of one part for a while, as threads do that are not scheduled; call [`SplitKernel::flush`] again while [`SplitKernel::is_behind`].
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn new(
        configuration: &NodeConfiguration,
        now: Nanoseconds,
        coordinators: usize,
        managers: usize,
        lazy: bool,
    ) -> Result<SplitKernel, String> {
        let shared =
            Shared::new(configuration.memory_bytes, configuration.max_links, coordinators, managers)?;
        let part = |number| Kernel::coordinator(configuration.clone(), now, &shared, number);
        let coordinator_parts = (0..coordinators).map(part).collect::<Result<Vec<_>, _>>()?;
        let part = |number| Kernel::data(configuration.clone(), now, &shared, number);
        let data_parts = (0..managers).map(part).collect::<Result<Vec<_>, _>>()?;
        let parts = coordinators + managers;
        Ok(SplitKernel {
            coordinators: coordinator_parts,
            managers: data_parts,
            shared,
            pool: SectionPool::new(64, 4096),
            to_data: (0..coordinators).map(|_| (0..managers).map(|_| Queue::new()).collect()).collect(),
            to_coordinators: (0..parts).map(|_| (0..coordinators).map(|_| Queue::new()).collect()).collect(),
            owners: BTreeMap::new(),
            commands: VecDeque::new(),
            random: configuration.seed | 1,
            lazy,
            stalled: None,
        })
    }

    fn draw(&mut self, below: usize) -> usize {
        // xorshift64: the order of parts needs no better randomness.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    fn owner(&self, link: LinkId) -> usize {
        self.owners.get(&link).copied().unwrap_or(link.slot as usize % self.coordinators.len())
    }

    /// See [`Kernel::link_accepted`].
    pub fn link_accepted(&mut self, now: Nanoseconds, link: LinkId) {
        let owner = match self.lazy {
            true => self.draw(self.coordinators.len()),
            false => link.slot as usize % self.coordinators.len(),
        };
        self.owners.insert(link, owner);
        self.coordinators[owner].link_accepted(now, link);
    }

    /// See [`Kernel::link_connected`].
    pub fn link_connected(&mut self, now: Nanoseconds, link: LinkId, target: Target) {
        self.owners.insert(link, 0);
        self.coordinators[0].link_connected(now, link, target);
    }

    /// See [`Kernel::connect_failed`].
    pub fn connect_failed(&mut self, now: Nanoseconds, target: Target) {
        self.coordinators[0].connect_failed(now, target);
    }

    /// See [`Kernel::link_closed`].
    pub fn link_closed(&mut self, now: Nanoseconds, link: LinkId, reason: CloseReason) {
        let owner = self.owner(link);
        self.owners.remove(&link);
        self.coordinators[owner].link_closed(now, link, reason);
    }

    /// See [`Kernel::frame_limit`].
    pub fn frame_limit(&self, link: LinkId) -> usize {
        self.shared.board.frame_limit(link)
    }

    /// See [`Kernel::frame`].
    pub fn frame(&mut self, now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        let owner = self.owner(link);
        let mut section = self.pool.take(bytes.len());
        section.extend_from_slice(bytes);
        self.coordinators[owner].shared_frame(now, link, &section.freeze());
    }

    /// See [`Kernel::damaged`].
    pub fn damaged(&mut self, now: Nanoseconds, link: LinkId, code: ErrorCode) {
        let owner = self.owner(link);
        self.coordinators[owner].damaged(now, link, code);
    }

    /// See [`Kernel::set_wall_clock`].
    pub fn set_wall_clock(&mut self, microseconds: i64) {
        self.managers.iter_mut().for_each(|part| part.set_wall_clock(microseconds));
    }

    /// See [`Kernel::tick`].
    pub fn tick(&mut self, now: Nanoseconds) {
        for part in self.coordinators.iter_mut().chain(&mut self.managers) {
            part.tick(now);
        }
    }

    /// See [`Kernel::leave`].
    pub fn leave(&mut self, now: Nanoseconds) {
        self.coordinators[0].leave(now);
    }

    /// See [`Kernel::flush`].
    pub fn flush(&mut self, now: Nanoseconds) {
        self.stall();
        loop {
            self.collect();
            let Some((source, destination)) = self.choose() else { break };
            if self.lazy && self.draw(64) == 0 {
                break;
            }
            for _ in 0..=self.draw(8) {
                self.deliver(now, source, destination);
            }
            if let Destination::Data(index) = destination
                && self.draw(4) > 0
            {
                self.managers[index].flush(now);
            }
        }
        for part in running(&mut self.coordinators, &mut self.managers, self.stalled) {
            part.flush(now);
        }
        self.collect();
    }

    /// Stops a part for some bursts, or lets it go on.
    fn stall(&mut self) {
        if !self.lazy {
            return;
        }
        if self.stalled.is_some() {
            if self.draw(16) == 0 {
                self.stalled = None;
            }
        } else if self.draw(64) == 0 {
            self.stalled = Some(self.draw(self.coordinators.len() + self.managers.len()));
        }
    }

    /// Whether messages were left in their mailboxes, or bytes with a part.
    pub fn is_behind(&self) -> bool {
        self.stalled.is_some()
            || self.to_data.iter().flatten().any(|queue| !queue.is_empty())
            || self.to_coordinators.iter().flatten().any(|queue| !queue.is_empty())
    }

    /// Moves what the parts hand out into the mailboxes.
    fn collect(&mut self) {
        let SplitKernel { coordinators, managers, to_data, to_coordinators, commands, .. } = self;
        for (source, part) in coordinators.iter_mut().chain(managers).enumerate() {
            part.drain_messages(|destination, message| {
                match (destination, message) {
                    (Destination::Data(index), Message::Data(message)) => {
                        to_data[source][index].push_back(message);
                    }
                    (Destination::Coordinator(index), Message::Coordinator(message)) => {
                        to_coordinators[source][index].push_back(message);
                    }
                    (_, message) => return Err(message),
                }
                Ok(())
            });
            while let Some(command) = part.next_command() {
                commands.push_back(command);
            }
        }
    }

    /// A mailbox with messages, drawn at random.
    fn choose(&mut self) -> Option<(usize, Destination)> {
        let mut full = Vec::new();
        for (source, queues) in self.to_data.iter().enumerate() {
            let filled = queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
            full.extend(filled.map(|(index, _)| (source, Destination::Data(index))));
        }
        for (source, queues) in self.to_coordinators.iter().enumerate() {
            let filled = queues.iter().enumerate().filter(|(_, queue)| !queue.is_empty());
            full.extend(filled.map(|(index, _)| (source, Destination::Coordinator(index))));
        }
        let stalled = self.stalled.map(|part| match part.checked_sub(self.coordinators.len()) {
            Some(index) => Destination::Data(index),
            None => Destination::Coordinator(part),
        });
        full.retain(|(_, destination)| Some(*destination) != stalled);
        if full.is_empty() {
            return None;
        }
        let chosen = self.draw(full.len());
        Some(full[chosen])
    }

    fn deliver(&mut self, now: Nanoseconds, source: usize, destination: Destination) {
        match destination {
            Destination::Data(index) => {
                if let Some(message) = self.to_data[source][index].pop_front() {
                    self.managers[index].data_message(now, source, message);
                }
            }
            Destination::Coordinator(index) => {
                if let Some(message) = self.to_coordinators[source][index].pop_front() {
                    self.coordinators[index].coordinator_message(now, message);
                }
            }
        }
    }

    /// See [`Kernel::drain_output`].
    pub fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        for part in running(&mut self.coordinators, &mut self.managers, self.stalled) {
            part.drain_output(&mut send);
        }
    }

    /// See [`Kernel::set_backlog`].
    pub fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        self.shared.board.set_backlog(link, bytes);
    }

    /// See [`Kernel::wants_input`].
    pub fn wants_input(&self, link: LinkId) -> bool {
        self.coordinators[self.owner(link)].wants_input(link)
    }

    /// See [`Kernel::next_command`].
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// See [`Kernel::counters`].
    pub fn counters(&self) -> NodeCounters {
        let mut counters = self.coordinators[0].own_counters();
        for part in self.coordinators[1..].iter().chain(&self.managers) {
            counters.add(&part.part_counters());
        }
        counters
    }

    /// See [`Kernel::last_position`].
    pub fn last_position(&self, partition: u16) -> Option<u64> {
        self.managers.iter().find_map(|part| part.last_position(partition))
    }

    /// See [`Kernel::serves`].
    pub fn serves(&self, partition: u16, now: Nanoseconds) -> bool {
        self.managers.iter().any(|part| part.serves(partition, now))
    }

    /// See [`Kernel::may_observe`].
    pub fn may_observe(&self, now: Nanoseconds) -> bool {
        self.managers[0].may_observe(now)
    }

    /// See [`Kernel::lease_with`].
    pub fn lease_with(&self, other: Instance) -> Option<(Nanoseconds, Nanoseconds)> {
        self.managers[0].lease_with(other)
    }

    /// See [`Kernel::instance`].
    pub fn instance(&self) -> Instance {
        self.coordinators[0].instance()
    }

    /// See [`Kernel::is_changing_view`].
    pub fn is_changing_view(&self) -> bool {
        self.coordinators[0].is_changing_view()
    }

    /// See [`Kernel::proposes_promotion`].
    pub fn proposes_promotion(&self) -> bool {
        self.coordinators[0].proposes_promotion()
    }

    /// See [`Kernel::is_undecided`].
    pub fn is_undecided(&self, partition: u16, position: u64) -> bool {
        self.managers.iter().any(|part| part.is_undecided(partition, position))
    }

    /// See [`Kernel::under_way`].
    pub fn under_way(&self, mut count: impl FnMut(&'static str, u64)) {
        for part in self.coordinators.iter().chain(&self.managers) {
            part.under_way(&mut count);
        }
        let waiting = self.to_data.iter().flatten().map(Queue::len).sum::<usize>()
            + self.to_coordinators.iter().flatten().map(Queue::len).sum::<usize>();
        count("messages in mailboxes", waiting as u64);
        count("sections of messages", self.shared.pool.blocks_in_use() as u64);
        // Each data part keeps the frame that it saw last of each coordinator.
        let kept = self.coordinators.len() * self.managers.len();
        count("sections of frames", self.pool.blocks_in_use().saturating_sub(kept) as u64);
    }

    /// See [`Kernel::closed_epoch`].
    pub fn closed_epoch(&self) -> u64 {
        self.coordinators[0].closed_epoch()
    }

    /// See [`Kernel::keep_commits`].
    pub fn keep_commits(&mut self) {
        self.managers.iter_mut().for_each(Kernel::keep_commits);
    }

    /// See [`Kernel::take_commits`]; those of one data part after those of another.
    pub fn take_commits(&mut self) -> Vec<CommittedChange> {
        self.managers.iter_mut().flat_map(Kernel::take_commits).collect()
    }

    /// See [`Kernel::unique_entries`].
    pub fn unique_entries(&self) -> Vec<(UniqueEntry, bool)> {
        self.managers.iter().flat_map(Kernel::unique_entries).collect()
    }

    /// See [`Kernel::replica_digests`].
    pub fn replica_digests(&self) -> Vec<ReplicaDigest> {
        let mut digests: Vec<_> = self.managers.iter().flat_map(Kernel::replica_digests).collect();
        digests.sort_by_key(|digest| digest.partition);
        digests
    }

    /// See [`Kernel::index_faults`].
    pub fn index_faults(&self) -> Vec<String> {
        self.managers.iter().flat_map(Kernel::index_faults).collect()
    }
}

/// The parts that are not stalled.
fn running<'a>(
    coordinators: &'a mut [Kernel],
    managers: &'a mut [Kernel],
    stalled: Option<usize>,
) -> impl Iterator<Item = &'a mut Kernel> {
    let parts = coordinators.iter_mut().chain(managers).enumerate();
    parts.filter(move |(part, _)| Some(*part) != stalled).map(|(_, part)| part)
}
