//! Raft: the only file that knows the `raft` crate.
//!
//! Discipline: [`Persist`] requests are made durable one after the other. Messages that speak of what is being written
//! (`persisted_messages`) leave after the answer to that write and to all before it. A leader goes on while its writes
//! are under way, so that its own slow disk does not silence it; everybody else waits. Entries are applied in log order
//! as soon as they are committed and durable here. The randomised election time-out is derived from seed, Raft id and
//! term after every event, so that a run replays.

use crate::interface::{Persist, StartError};
use crate::protobuf_guard::is_plain_raft_message;
use crate::random::scramble;
use duet_protocol::record::{
    LogBlock, LogContents, LogEntry, LogHardState, LogIdentity, LogMembers, LogSnapshot, encode_log_block,
};
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    EntryType, HardState, Message, MessageType, Snapshot,
};
use raft::{
    Config, GetEntriesContext, ProgressState, RaftState, RawNode, SnapshotStatus, StateRole, Storage,
    StorageError,
};
use std::collections::VecDeque;

/// Shortest election time-out in ticks; the longest is twice as much.
const ELECTION_TICKS: usize = 10;
/// Ticks between heartbeats of the leader.
const HEARTBEAT_TICKS: usize = 2;
/// Largest batch of entries in one message, in bytes.
const MAX_APPEND_BYTES: u64 = 1 << 20;
/// Messages to a follower that may be unanswered.
const MAX_INFLIGHT_MESSAGES: usize = 64;
/// Steps of a leader that may wait for its disk.
const MAX_STEPS: usize = 64;
/// Entries that are neither committed nor applied, in bytes.
const MAX_UNCOMMITTED_BYTES: u64 = 8 << 20;
/// Applied entries after which the log is compacted.
const COMPACT_AFTER_ENTRIES: u64 = 512;
/// Bytes appended to the log file after which it is compacted.
const COMPACT_AFTER_BYTES: u64 = 16 << 20;
/// Compacted entries that stay in memory for followers that lag a little.
const TRAILING_ENTRIES: u64 = 128;

/// Something for the rest of the node, in the order in which it must be handled.
#[derive(Debug)]
pub(crate) enum ConsensusEvent {
    /// A command was committed.
    Command(Vec<u8>),
    /// The state was replaced by a snapshot.
    Install(Vec<u8>),
    /// A read index was confirmed: everything up to `index` must be applied before the read counts.
    ReadIndex {
        /// The asker's context.
        context: Vec<u8>,
        /// The index.
        index: u64,
    },
}

/// A message for another member.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Raft id of the receiver.
    pub(crate) to: u64,
    /// The message as protobuf.
    pub(crate) bytes: Vec<u8>,
    /// Whether it carries a snapshot.
    pub(crate) is_snapshot: bool,
}

/// A step of Raft that counts as done when everything up to it is durable.
#[derive(Debug)]
struct Step {
    /// Number of the write, `None` when the step only waits for those before it.
    write: Option<u64>,
    /// The write, until the driver has taken it.
    persist: Option<Persist>,
    /// Raft's number of the step, `None` for writes that Raft knows nothing of.
    ready: Option<u64>,
    has_snapshot: bool,
    messages: Vec<Message>,
}

/// A member of the Raft group, or one that waits to become one.
pub(crate) struct Consensus {
    identity: LogIdentity,
    seed: u64,
    node: RawNode<LogStorage>,
    /// Steps that are not durable yet; the first one is a write.
    steps: VecDeque<Step>,
    /// State of a group that this node creates, until it is durable: nobody may hear of a cluster that a crash can undo.
    founding: Option<Vec<u8>>,
    next_block: u64,
    file_bytes: u64,
    bytes_at_compaction: u64,
    events: VecDeque<ConsensusEvent>,
    outgoing: Vec<Outgoing>,
    fatal: Option<String>,
}

impl Consensus {
    /// A member as its log left it. A new log begins with a block that has to be made durable first.
    ///
    /// # Errors
    /// A sentence when the log is inconsistent or of another node.
    pub(crate) fn new(
        node: u32,
        fresh_raft_id: u64,
        seed: u64,
        log: LogContents,
    ) -> Result<Consensus, StartError> {
        let is_new = log.blocks.is_empty();
        let mut identity = LogIdentity { node, raft_id: fresh_raft_id.max(1) };
        let mut storage = LogStorage::default();
        for (position, block) in log.blocks.into_iter().enumerate() {
            match block.identity {
                Some(found) if position == 0 => identity = found,
                None if position > 0 => {}
                Some(_) | None => return Err(inconsistent("a block is out of place")),
            }
            storage.replay(block.snapshot, block.entries, block.hard_state)?;
        }
        if identity.node != node {
            return Err(StartError::ForeignDirectory { found: identity.node, wanted: node });
        }
        storage.check()?;
        let raft = raft_node(identity.raft_id, storage)?;
        let mut consensus = Consensus {
            identity,
            seed,
            node: raft,
            steps: VecDeque::new(),
            founding: None,
            next_block: log.next_number,
            file_bytes: log.intact_bytes,
            bytes_at_compaction: log.intact_bytes,
            events: VecDeque::new(),
            outgoing: Vec::new(),
            fatal: None,
        };
        if is_new {
            let block = LogBlock { identity: Some(consensus.identity.clone()), ..LogBlock::default() };
            consensus.write(true, &block, None, false, Vec::new());
        }
        consensus.campaign_if_alone();
        consensus.draw_election_timeout();
        Ok(consensus)
    }

    /// Creates the group: these voters, and this state as its first snapshot. Only for a node without a group.
    pub(crate) fn bootstrap(&mut self, voters: &[u64], data: Vec<u8>) {
        assert!(!self.has_group() && !self.is_writing(), "a group is created once, and not during a write");
        let snapshot = LogSnapshot {
            index: 1,
            term: 1,
            members: LogMembers { voters: voters.to_vec(), ..LogMembers::default() },
            data,
        };
        let mut hard_state = self.node.raft.hard_state();
        hard_state.term = hard_state.term.max(1);
        hard_state.commit = 1;
        let mut storage = LogStorage::default();
        storage.install(snapshot_from(&snapshot));
        storage.hard_state = hard_state.clone();
        match raft_node(self.identity.raft_id, storage) {
            Ok(node) => self.node = node,
            Err(error) => return self.fail(error.to_string()),
        }
        let block = LogBlock {
            identity: Some(self.identity.clone()),
            hard_state: Some(hard_state_to(&hard_state)),
            snapshot: Some(snapshot.clone()),
            entries: Vec::new(),
        };
        self.write(true, &block, None, false, Vec::new());
        self.founding = Some(snapshot.data);
        self.campaign_if_alone();
        self.draw_election_timeout();
    }

    /// A single voter need not wait for silence.
    fn campaign_if_alone(&mut self) {
        if self.voters() == [self.identity.raft_id] {
            // It fails while changes of members wait to be applied; then the time-out does it.
            let _ = self.node.campaign();
        }
    }

    /// State of the latest snapshot in the log, empty for a node without a group.
    pub(crate) fn snapshot_data(&self) -> &[u8] {
        &self.node.store().snapshot.data
    }

    /// Own Raft id.
    pub(crate) fn raft_id(&self) -> u64 {
        self.identity.raft_id
    }

    /// Whether this node belongs to a group.
    pub(crate) fn has_group(&self) -> bool {
        self.node.store().snapshot.get_metadata().index > 0
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether the identity is durable: before that nobody may hear of it.
    pub(crate) fn has_durable_identity(&self) -> bool {
        self.file_bytes > 0 && self.steps.iter().all(|step| step.write != Some(1))
    }

    /// Current term.
    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Raft id of the leader, 0 when none is known.
    pub(crate) fn leader(&self) -> u64 {
        self.node.raft.leader_id
    }

    /// Whether this node leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether this node leads and has applied everything that was committed in earlier terms.
    pub(crate) fn is_acting_leader(&self) -> bool {
        self.is_leader() && self.node.raft.apply_to_current_term()
    }

    /// Highest applied index.
    pub(crate) fn applied(&self) -> u64 {
        self.node.raft.raft_log.applied
    }

    /// Entries that are proposed and not applied yet.
    pub(crate) fn unapplied(&self) -> u64 {
        self.node.raft.raft_log.last_index().saturating_sub(self.applied())
    }

    /// Entries kept in memory.
    pub(crate) fn kept_entries(&self) -> u64 {
        self.node.store().entries.len() as u64
    }

    /// One tick of Raft's clock.
    pub(crate) fn tick(&mut self) {
        self.node.tick();
        self.draw_election_timeout();
    }

    /// A message of member `from` arrived. Whatever is not sound is ignored; Raft repeats what matters.
    pub(crate) fn step(&mut self, from: u64, bytes: &[u8]) {
        if !is_plain_raft_message(bytes) {
            return;
        }
        let Ok(message) = Message::parse_from_bytes(bytes) else { return };
        if message.from != from || message.to != self.identity.raft_id {
            return;
        }
        if message.get_msg_type() == MessageType::MsgHeartbeat
            && message.term >= self.term()
            && message.commit > self.node.raft.raft_log.last_index()
        {
            return self.fail(
                "the leader knows entries of this node that its log does not hold: the directory was rolled back; \
                 remove it, let another one take its place with `duet admin replace-management`, and start that with --join"
                    .to_owned(),
            );
        }
        // An error means that the message is of no use in this state (unknown member, dropped proposal).
        let _ = self.node.step(message);
        self.draw_election_timeout();
    }

    /// Proposes a command; `false` when this node cannot at the moment.
    pub(crate) fn propose(&mut self, command: Vec<u8>) -> bool {
        self.is_leader() && self.node.propose(Vec::new(), command).is_ok()
    }

    /// Asks for a read index; it may get lost, so the asker repeats it.
    pub(crate) fn read_index(&mut self, context: Vec<u8>) {
        self.node.read_index(context);
        self.draw_election_timeout();
    }

    /// A message could not be sent.
    pub(crate) fn unreachable(&mut self, raft_id: u64) {
        self.node.report_unreachable(raft_id);
    }

    /// A snapshot was handed to its link, or could not be.
    pub(crate) fn snapshot_sent(&mut self, raft_id: u64, sent: bool) {
        let status = if sent { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(raft_id, status);
    }

    /// Voters, in ascending order.
    pub(crate) fn voters(&self) -> Vec<u64> {
        sorted(self.node.raft.prs().conf().to_conf_state().voters)
    }

    /// Learners, in ascending order.
    pub(crate) fn learners(&self) -> Vec<u64> {
        sorted(self.node.raft.prs().conf().to_conf_state().learners)
    }

    /// Everybody whom the log is sent to: voters, those of the members before a change under way, and learners.
    pub(crate) fn members(&self) -> Vec<u64> {
        let members = self.node.raft.prs().conf().to_conf_state();
        let mut all =
            [members.voters, members.voters_outgoing, members.learners, members.learners_next].concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a change of members is under way.
    pub(crate) fn members_are_changing(&self) -> bool {
        self.node.raft.has_pending_conf() || self.is_joint()
    }

    fn is_joint(&self) -> bool {
        !self.node.raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }

    /// Whether a learner has nearly everything that is committed.
    pub(crate) fn has_caught_up(&self, raft_id: u64) -> bool {
        let committed = self.node.raft.raft_log.committed;
        self.node.raft.prs().get(raft_id).is_some_and(|progress| {
            progress.state == ProgressState::Replicate && progress.matched + TRAILING_ENTRIES >= committed
        })
    }

    /// Proposes a new learner.
    pub(crate) fn add_learner(&mut self, raft_id: u64) {
        self.propose_members(&[(ConfChangeType::AddLearnerNode, raft_id)]);
    }

    /// Proposes that `added` become voters and `removed` leave, in one joint change.
    pub(crate) fn replace_voters(&mut self, added: &[u64], removed: &[u64]) {
        let added = added.iter().map(|raft_id| (ConfChangeType::AddNode, *raft_id));
        let removed = removed.iter().map(|raft_id| (ConfChangeType::RemoveNode, *raft_id));
        self.propose_members(&added.chain(removed).collect::<Vec<_>>());
    }

    /// Lets another voter lead.
    pub(crate) fn transfer_leader(&mut self, raft_id: u64) {
        self.node.transfer_leader(raft_id);
        self.draw_election_timeout();
    }

    /// Proposes to end a joint change whose leader went away before it could.
    pub(crate) fn leave_joint_change(&mut self) {
        if self.is_joint() && !self.node.raft.has_pending_conf() {
            let _ = self.node.propose_conf_change(Vec::new(), ConfChangeV2::default());
        }
    }

    fn propose_members(&mut self, changes: &[(ConfChangeType, u64)]) {
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        for (kind, raft_id) in changes {
            let mut single = ConfChangeSingle::default();
            single.set_change_type(*kind);
            single.node_id = *raft_id;
            change.mut_changes().push(single);
        }
        // A dropped proposal is made again at a later tick.
        let _ = self.node.propose_conf_change(Vec::new(), change);
    }

    /// Takes what Raft has to say, as far as the write under way allows.
    pub(crate) fn work(&mut self) {
        while self.may_go_on() && self.node.has_ready() && self.fatal.is_none() {
            self.one_ready();
        }
        self.draw_election_timeout();
    }

    fn may_go_on(&self) -> bool {
        self.steps.is_empty() || (self.is_leader() && self.steps.len() < MAX_STEPS)
    }

    fn one_ready(&mut self) {
        let mut ready = self.node.ready();
        self.send(ready.take_messages());
        let mut block = LogBlock::default();
        let has_snapshot = !ready.snapshot().is_empty();
        if has_snapshot {
            let snapshot = ready.snapshot().clone();
            self.events.push_back(ConsensusEvent::Install(snapshot.data.to_vec()));
            block.identity = Some(self.identity.clone());
            block.snapshot = Some(snapshot_to(&snapshot));
            self.node.mut_store().install(snapshot);
        }
        let entries = ready.take_entries();
        block.entries = entries.iter().map(entry_to).collect();
        self.node.mut_store().append(entries);
        if let Some(hard_state) = ready.hs() {
            self.node.mut_store().hard_state = hard_state.clone();
        }
        for event in ready.take_read_states() {
            self.events
                .push_back(ConsensusEvent::ReadIndex { context: event.request_ctx, index: event.index });
        }
        let committed = ready.take_committed_entries();
        let messages = ready.take_persisted_messages();
        let number = ready.number();
        let must_sync = ready.must_sync();
        self.node.advance_append_async(ready);
        self.apply(committed);
        if must_sync {
            block.hard_state = Some(hard_state_to(&self.node.store().hard_state));
            self.write(has_snapshot, &block, Some(number), has_snapshot, messages);
        } else {
            self.steps.push_back(Step {
                write: None,
                persist: None,
                ready: Some(number),
                has_snapshot: false,
                messages,
            });
            self.finish_steps();
        }
    }

    fn apply(&mut self, committed: Vec<Entry>) {
        let Some(last) = committed.last().map(|entry| entry.index) else { return };
        for entry in committed {
            let change = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    if !entry.data.is_empty() {
                        self.events.push_back(ConsensusEvent::Command(entry.data.to_vec()));
                    }
                    continue;
                }
                EntryType::EntryConfChange => ConfChange::parse_from_bytes(&entry.data)
                    .map(|change| self.node.apply_conf_change(&change)),
                EntryType::EntryConfChangeV2 => ConfChangeV2::parse_from_bytes(&entry.data)
                    .map(|change| self.node.apply_conf_change(&change)),
            };
            match change {
                Ok(Ok(members)) => self.node.mut_store().members = members,
                Ok(Err(error)) => {
                    return self.fail(format!("entry {} changes members wrongly: {error}", entry.index));
                }
                Err(error) => return self.fail(format!("entry {} cannot be read: {error}", entry.index)),
            }
        }
        self.node.advance_apply_to(last);
    }

    fn write(
        &mut self,
        replace: bool,
        block: &LogBlock,
        ready: Option<u64>,
        has_snapshot: bool,
        messages: Vec<Message>,
    ) {
        let offset = if replace { 0 } else { self.file_bytes };
        let number = self.next_block;
        match encode_log_block(number, offset, block) {
            Ok(bytes) => {
                self.file_bytes = offset + bytes.len() as u64;
                if replace {
                    self.bytes_at_compaction = self.file_bytes;
                }
                let persist = Some(Persist { number, replace, bytes });
                self.steps.push_back(Step { write: Some(number), persist, ready, has_snapshot, messages });
                self.next_block += 1;
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// The next write, unless one is with the driver already.
    pub(crate) fn take_persist(&mut self) -> Option<Persist> {
        self.steps.front_mut()?.persist.take()
    }

    /// Write `number` is durable.
    pub(crate) fn persisted(&mut self, number: u64) {
        let Some(first) = self.steps.front_mut().filter(|step| step.write == Some(number)) else { return };
        assert!(first.persist.is_none(), "a write is answered after it was taken");
        first.write = None;
        self.finish_steps();
        self.draw_election_timeout();
    }

    /// Ends the steps that have nothing left to wait for.
    fn finish_steps(&mut self) {
        while let Some(step) = self.steps.pop_front_if(|step| step.write.is_none()) {
            if let Some(state) = self.founding.take() {
                self.events.push_back(ConsensusEvent::Install(state));
            }
            if let Some(ready) = step.ready {
                self.node.on_persist_ready(ready);
                if step.has_snapshot {
                    self.node.advance_apply();
                }
            }
            self.send(step.messages);
        }
    }

    /// Whether it is time to compact; then the caller hands in the state as of [`Consensus::applied`].
    pub(crate) fn wants_compaction(&self) -> bool {
        let long = self.applied().saturating_sub(self.node.store().snapshot.get_metadata().index)
            >= COMPACT_AFTER_ENTRIES;
        let large = self.file_bytes.saturating_sub(self.bytes_at_compaction) >= COMPACT_AFTER_BYTES;
        // A newcomer can only use a snapshot that names it.
        let changed =
            self.node.store().members != *self.node.store().snapshot.get_metadata().get_conf_state();
        self.has_group() && !self.is_writing() && (long || large || changed)
    }

    /// Replaces the log by a snapshot of the state as of [`Consensus::applied`] and the entries behind it.
    pub(crate) fn compact(&mut self, data: Vec<u8>) {
        let applied = self.applied();
        let store = self.node.mut_store();
        match store.compact(applied, data) {
            Ok(()) => {}
            Err(reason) => return self.fail(reason),
        }
        let store = self.node.store();
        let block = LogBlock {
            identity: Some(self.identity.clone()),
            snapshot: Some(snapshot_to(&store.snapshot)),
            entries: store.entries.iter().filter(|entry| entry.index > applied).map(entry_to).collect(),
            hard_state: Some(hard_state_to(&store.hard_state)),
        };
        self.write(true, &block, None, false, Vec::new());
    }

    /// Next event for the rest of the node.
    pub(crate) fn next_event(&mut self) -> Option<ConsensusEvent> {
        self.events.pop_front()
    }

    /// Messages to send now.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Why the process must end, once.
    pub(crate) fn take_fatal(&mut self) -> Option<String> {
        self.fatal.clone()
    }

    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            match message.write_to_bytes() {
                Ok(bytes) => self.outgoing.push(Outgoing { to: message.to, bytes, is_snapshot }),
                Err(error) => self.fail(format!("a Raft message cannot be encoded: {error}")),
            }
        }
    }

    fn fail(&mut self, reason: String) {
        self.fatal.get_or_insert(reason);
    }

    fn draw_election_timeout(&mut self) {
        let drawn = scramble(self.seed ^ scramble(self.identity.raft_id ^ scramble(self.node.raft.term)));
        self.node
            .raft
            .set_randomized_election_timeout(ELECTION_TICKS + (drawn % ELECTION_TICKS as u64) as usize);
    }
}

fn raft_node(raft_id: u64, storage: LogStorage) -> Result<RawNode<LogStorage>, StartError> {
    let config = Config {
        id: raft_id,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied: storage.snapshot.get_metadata().index,
        max_size_per_msg: MAX_APPEND_BYTES,
        max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
        check_quorum: true,
        pre_vote: true,
        max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
        max_committed_size_per_ready: MAX_APPEND_BYTES,
        ..Config::default()
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, storage, &logger).map_err(|error| inconsistent(&error.to_string()))
}

fn inconsistent(what: &str) -> StartError {
    StartError::InconsistentLog(what.to_owned())
}

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}

/// The log in memory: the latest snapshot, some entries before it, all entries behind it.
#[derive(Default)]
struct LogStorage {
    snapshot: Snapshot,
    /// Members as of the applied index.
    members: ConfState,
    hard_state: HardState,
    /// Index and term of the entry before the first one kept.
    before_first: (u64, u64),
    entries: Vec<Entry>,
}

impl LogStorage {
    fn replay(
        &mut self,
        snapshot: Option<LogSnapshot>,
        entries: Vec<LogEntry>,
        hard_state: Option<LogHardState>,
    ) -> Result<(), StartError> {
        if let Some(snapshot) = snapshot {
            self.install(snapshot_from(&snapshot));
        }
        for entry in entries {
            if entry.index <= self.before_first.0 || entry.index > self.last() + 1 {
                return Err(inconsistent("entries are missing"));
            }
            self.append(vec![entry_from(entry)?]);
        }
        if let Some(hard_state) = hard_state {
            self.hard_state =
                HardState { term: hard_state.term, vote: hard_state.vote, ..HardState::default() };
            self.hard_state.commit = hard_state.commit;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), StartError> {
        self.hard_state.commit = self.hard_state.commit.max(self.snapshot.get_metadata().index);
        if self.hard_state.commit > self.last() {
            return Err(inconsistent("committed entries are missing"));
        }
        Ok(())
    }

    fn last(&self) -> u64 {
        self.before_first.0 + self.entries.len() as u64
    }

    fn install(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.get_metadata();
        self.before_first = (metadata.index, metadata.term);
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.members = metadata.get_conf_state().clone();
        self.entries.clear();
        self.snapshot = snapshot;
    }

    fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        assert!(first > self.before_first.0 && first <= self.last() + 1, "entries follow what is there");
        self.entries.truncate((first - self.before_first.0 - 1) as usize);
        self.entries.extend(entries);
    }

    fn compact(&mut self, applied: u64, data: Vec<u8>) -> Result<(), String> {
        let term = self.term(applied).map_err(|error| format!("the log cannot be compacted: {error}"))?;
        let mut snapshot = Snapshot { data: data.into(), ..Snapshot::default() };
        snapshot.mut_metadata().index = applied;
        snapshot.mut_metadata().term = term;
        snapshot.mut_metadata().set_conf_state(self.members.clone());
        self.snapshot = snapshot;
        let keep_behind = applied.saturating_sub(TRAILING_ENTRIES);
        if keep_behind > self.before_first.0 {
            let term =
                self.term(keep_behind).map_err(|error| format!("the log cannot be compacted: {error}"))?;
            self.entries.drain(..(keep_behind - self.before_first.0) as usize);
            self.before_first = (keep_behind, term);
        }
        Ok(())
    }
}

impl Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before_first.0 {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last() + 1, "raft asks for entries that exist");
        let first = self.before_first.0 + 1;
        let mut entries = self.entries[(low - first) as usize..(high - first) as usize].to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let metadata = self.snapshot.get_metadata();
        match index.checked_sub(self.before_first.0) {
            Some(0) => Ok(self.before_first.1),
            Some(position) => match self.entries.get(position as usize - 1) {
                Some(entry) => Ok(entry.term),
                None => Err(StorageError::Unavailable.into()),
            },
            None if index == metadata.index => Ok(metadata.term),
            None => Err(StorageError::Compacted.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before_first.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let metadata = self.snapshot.get_metadata();
        let members = metadata.get_conf_state();
        if metadata.index < request_index || !(members.voters.contains(&to) || members.learners.contains(&to))
        {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(self.snapshot.clone())
    }
}

fn entry_to(entry: &Entry) -> LogEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    LogEntry { index: entry.index, term: entry.term, kind, data: entry.data.to_vec() }
}

fn entry_from(entry: LogEntry) -> Result<Entry, StartError> {
    let kind = match entry.kind {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return Err(inconsistent("an entry is of an unknown kind")),
    };
    let mut result = Entry::default();
    result.set_entry_type(kind);
    result.index = entry.index;
    result.term = entry.term;
    result.data = entry.data.into();
    Ok(result)
}

fn hard_state_to(hard_state: &HardState) -> LogHardState {
    LogHardState { term: hard_state.term, vote: hard_state.vote, commit: hard_state.commit }
}

fn snapshot_to(snapshot: &Snapshot) -> LogSnapshot {
    let metadata = snapshot.get_metadata();
    let members = metadata.get_conf_state();
    LogSnapshot {
        index: metadata.index,
        term: metadata.term,
        members: LogMembers {
            voters: members.voters.clone(),
            learners: members.learners.clone(),
            voters_outgoing: members.voters_outgoing.clone(),
            learners_next: members.learners_next.clone(),
            auto_leave: members.auto_leave,
        },
        data: snapshot.data.to_vec(),
    }
}

fn snapshot_from(snapshot: &LogSnapshot) -> Snapshot {
    let mut members = ConfState::default();
    members.voters.clone_from(&snapshot.members.voters);
    members.learners.clone_from(&snapshot.members.learners);
    members.voters_outgoing.clone_from(&snapshot.members.voters_outgoing);
    members.learners_next.clone_from(&snapshot.members.learners_next);
    members.auto_leave = snapshot.members.auto_leave;
    let mut result = Snapshot { data: snapshot.data.clone().into(), ..Snapshot::default() };
    let metadata = result.mut_metadata();
    metadata.index = snapshot.index;
    metadata.term = snapshot.term;
    metadata.set_conf_state(members);
    result
}
