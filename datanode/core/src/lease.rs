//! Leases between the members of a node group, and the suspicion of a member (PROTOCOL.md §2).
//!
//! Every member sends every other one a heartbeat each 100 ms: its number, the highest number `seen` from the other side,
//! and the number that it grants a lease for. A grant of heartbeat k lets its sender observe rows until 500 ms after k was
//! *sent*; who grants promises to take nothing over until 505 ms after the grant *leaves*. Both clocks are boot clocks,
//! nothing is compared between them but rates (1 %).

use crate::interface::Nanoseconds;
use crate::planted::{NO_ALLOWANCE, NO_LEASE, PROMOTED_WHILE_SOLE};
use duet_protocol::frame::FRAME_HEADER_BYTES;
use duet_protocol::ids::Instance;
use duet_protocol::record::{GroupView, MemberState};
use duet_protocol::signal::SIGNAL_HEADER_BYTES;
use duet_protocol::signal::heartbeat::Heartbeat;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MILLISECOND: Nanoseconds = 1_000_000;
/// P: time between two heartbeats.
pub const PING: Nanoseconds = 100 * MILLISECOND;
/// R: age up to which the heartbeat that the other side has seen last proves that it hears.
pub const RECENT: Nanoseconds = 250 * MILLISECOND;
/// S: age of that heartbeat above which the other side is suspect, unless the node is told another one. It is each node's own choice:
/// a longer one delays a take-over and nothing else, for the leases stay as long as they are.
pub const SUSPECT_AFTER: Nanoseconds = 500 * MILLISECOND;
/// L: length of a lease.
pub const LEASE: Nanoseconds = 500 * MILLISECOND;
/// L(1 + ε): what is promised for a lease, as clocks may differ in rate by 1 %.
pub const PROMISE: Nanoseconds = 505 * MILLISECOND;
/// Time that a link which the other side has closed has to come back before that counts as its end.
const RECONNECT_WITHIN: Nanoseconds = 30 * MILLISECOND;
/// A gap between two ticks after which others are not blamed for the silence.
const PAUSED: Nanoseconds = 150 * MILLISECOND;
/// Length of a frame with a heartbeat and nothing else.
pub const HEARTBEAT_FRAME_BYTES: usize = FRAME_HEADER_BYTES + SIGNAL_HEADER_BYTES + size_of::<Heartbeat>();
/// Heartbeats whose time is remembered.
const REMEMBERED: usize = 64;

/// What all parts of a node see of its leases.
#[derive(Debug, Default)]
pub struct LeaseBoard {
    /// Observations pass before this time; `u64::MAX` while no lease is needed.
    until: AtomicU64,
    /// Leases for heartbeats sent up to this time count no more.
    surrendered_at: AtomicU64,
    /// What was promised to the members of the group that were removed.
    promised_until: AtomicU64,
    /// The member that is suspect: node id in the upper, incarnation in the lower half; 0 for none.
    suspect: AtomicU64,
    /// The joining member whose lease is to be needed from now on, in the same form.
    wanted: AtomicU64,
    /// The joining member whose lease is needed.
    paired: AtomicU64,
    /// What becomes of transactions that are begun here: one of the constants of [`crate::leaving`].
    transactions: AtomicU64,
    /// What should be led by others is to be closed for this attempt to hand it over: view in which the group changed last in the
    /// upper, number in the lower half; 0 for none.
    closing: AtomicU64,
    /// Counts what is copied to a joining member, to see that it goes on.
    copied: AtomicU64,
}

fn packed(instance: Instance) -> u64 {
    u64::from(instance.node) << 32 | u64::from(instance.incarnation)
}

impl LeaseBoard {
    /// Whether what was observed before `now` may be told.
    #[inline]
    pub fn is_valid(&self, now: Nanoseconds) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until == u64::MAX
            || (now < until && until.saturating_sub(LEASE) > self.surrendered_at.load(Ordering::Acquire))
    }

    /// All leases are given up: call before a link to another node is closed for any reason of one's own, with the time
    /// after the decision.
    pub fn surrender(&self, now: Nanoseconds) {
        self.surrendered_at.fetch_max(now, Ordering::SeqCst);
    }

    /// Time from which rows may be exposed that a removed member led.
    pub fn promised_until(&self) -> Nanoseconds {
        self.promised_until.load(Ordering::Acquire)
    }

    /// The member that is suspect.
    pub fn suspect(&self) -> Option<Instance> {
        let packed = self.suspect.load(Ordering::Acquire);
        (packed != 0).then_some(Instance { node: (packed >> 32) as u32, incarnation: packed as u32 })
    }

    /// Observations are to need the lease of a joining member, before its promotion is proposed (PAIRED, counterexample 1).
    pub fn pair_with(&self, instance: Instance) {
        self.wanted.store(packed(instance), Ordering::Release);
    }

    /// What should be led by others is to be closed for this attempt to hand it over, of which none has a higher number; 0 for none.
    pub fn close_for(&self, attempt: u64) {
        self.closing.store(attempt, Ordering::Release);
    }

    /// That attempt.
    pub fn closing(&self) -> u64 {
        self.closing.load(Ordering::Acquire)
    }

    /// More was copied to the joining member.
    pub fn note_copied(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What was copied to joining members up to now.
    pub fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Says what becomes of transactions that are begun here: one of the constants of `leaving.rs`.
    pub fn set_transactions(&self, what: u64) {
        self.transactions.store(what, Ordering::Release);
    }

    /// What becomes of transactions that are begun here.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Acquire)
    }

    /// Whether they do.
    pub fn is_paired_with(&self, instance: Instance) -> bool {
        self.paired.load(Ordering::Acquire) == packed(instance)
    }
}

/// Another member of the group.
#[derive(Debug)]
struct Peer {
    instance: Instance,
    /// Whether observations need its lease: it could be asked to take over.
    needed: bool,
    /// Number of the newest heartbeat sent, and the times of the newest ones, oldest first.
    number: u64,
    sent_at: VecDeque<Nanoseconds>,
    /// Highest number received.
    seen: u64,
    /// The newest heartbeat of ours that it has named, and when that was sent.
    named: u64,
    named_sent_at: Nanoseconds,
    heard_from: bool,
    /// Grants of heartbeats up to this number are void: they were surrendered.
    floor: u64,
    lease_until: Nanoseconds,
    promised_until: Nanoseconds,
    promise_due: bool,
    /// It closed its link at this time, and there is no other.
    closed_at: Option<Nanoseconds>,
    next_at: Nanoseconds,
}

impl Peer {
    fn sent_time(&self, number: u64) -> Option<Nanoseconds> {
        let back = usize::try_from(self.number.checked_sub(number)?).ok()?;
        self.sent_at.iter().rev().nth(back).copied()
    }

    fn is_suspect(&self, now: Nanoseconds, suspect_after: Nanoseconds) -> bool {
        let gone = self.closed_at.is_some_and(|at| now.saturating_sub(at) > RECONNECT_WITHIN);
        gone || now.saturating_sub(self.named_sent_at) > suspect_after
    }
}

/// The leases of one node.
#[derive(Debug)]
pub struct Leases {
    /// What the other parts see.
    pub board: Arc<LeaseBoard>,
    /// Whether a closed link proves that the other side has surrendered or died.
    close_is_proof: bool,
    /// S of this node.
    suspect_after: Nanoseconds,
    peers: Vec<Peer>,
    /// Buffer of [`Leases::due`].
    spare: Vec<(Instance, Heartbeat)>,
    /// A lease was granted in this burst to a member that was removed since: the grant may still leave.
    promise_due: bool,
    in_view: bool,
    last_tick: Nanoseconds,
    /// Longest pause of this node that was not told yet.
    paused: Nanoseconds,
    /// Planted bug of the simulator's tests.
    planted_bug: u32,
}

impl Leases {
    /// No leases, shown on this board. Members are suspect after `suspect_after` without an answer.
    pub fn new(
        board: Arc<LeaseBoard>,
        close_is_proof: bool,
        suspect_after: Nanoseconds,
        planted_bug: u32,
    ) -> Leases {
        Leases {
            board,
            close_is_proof,
            suspect_after,
            paused: 0,
            peers: Vec::new(),
            spare: Vec::with_capacity(4),
            promise_due: false,
            in_view: false,
            last_tick: 0,
            planted_bug,
        }
    }

    /// A view was installed in which this node is a member of `group`.
    pub fn install(&mut self, now: Nanoseconds, me: Instance, group: &GroupView) {
        let is_member = |instance| group.members.iter().any(|member| member.instance() == instance);
        for gone in self.peers.extract_if(.., |peer| !is_member(peer.instance)) {
            self.board.promised_until.fetch_max(gone.promised_until, Ordering::AcqRel);
            self.promise_due |= gone.promise_due;
            for joiner in [&self.board.wanted, &self.board.paired] {
                let gone = packed(gone.instance);
                let _ = joiner.compare_exchange(gone, 0, Ordering::AcqRel, Ordering::Acquire);
            }
        }
        for member in group.members.iter().filter(|member| member.instance() != me) {
            let needed = member.state == MemberState::Full;
            match self.peers.iter_mut().find(|peer| peer.instance == member.instance()) {
                // What was needed once stays so until a view without it: its promotion may be on its way.
                Some(peer) => peer.needed |= needed,
                None => self.peers.push(Peer {
                    instance: member.instance(),
                    needed,
                    number: 0,
                    sent_at: VecDeque::with_capacity(REMEMBERED + 1),
                    seen: 0,
                    named: 0,
                    // A new member may install its first view only a promise after its start.
                    named_sent_at: now + PROMISE + self.suspect_after,
                    heard_from: false,
                    floor: 0,
                    lease_until: 0,
                    promised_until: 0,
                    promise_due: false,
                    closed_at: None,
                    next_at: now,
                }),
            }
        }
        self.in_view = true;
        self.show(now);
    }

    /// Heartbeats that are due now: instance and body. `has_link` tells who can be reached.
    pub fn due(
        &mut self,
        now: Nanoseconds,
        has_link: impl Fn(Instance) -> bool,
    ) -> Vec<(Instance, Heartbeat)> {
        if now.saturating_sub(self.last_tick) > PAUSED && self.last_tick > 0 {
            // This node was away itself; what the others said meanwhile is still to be read.
            self.paused = self.paused.max(now - self.last_tick);
            for peer in &mut self.peers {
                peer.named_sent_at = peer.named_sent_at.max(now.saturating_sub(self.suspect_after / 2));
                peer.closed_at = peer.closed_at.map(|at| at.max(now));
            }
        }
        self.last_tick = now;
        self.pair(now);
        let mut due = std::mem::take(&mut self.spare);
        due.clear();
        for peer in &mut self.peers {
            if now < peer.next_at || !has_link(peer.instance) {
                continue;
            }
            peer.next_at = now + PING;
            peer.number += 1;
            peer.sent_at.push_back(now);
            if peer.sent_at.len() > REMEMBERED {
                peer.sent_at.pop_front();
            }
            let hears = peer.named > 0 && now.saturating_sub(peer.named_sent_at) < RECENT;
            let grants = peer.heard_from && hears && !peer.is_suspect(now, self.suspect_after);
            peer.promise_due |= grants;
            let grant = if grants { peer.seen } else { 0 };
            let body = Heartbeat { number: peer.number.into(), seen: peer.seen.into(), grant: grant.into() };
            due.push((peer.instance, body));
        }
        self.show(now);
        due
    }

    /// The lease of the joining member that is to be promoted is needed from now on, once it is there.
    fn pair(&mut self, now: Nanoseconds) {
        let wanted = self.board.wanted.load(Ordering::Acquire);
        if wanted == self.board.paired.load(Ordering::Acquire) {
            return;
        }
        let mut peers = self.peers.iter_mut();
        let found = peers.find(|peer| packed(peer.instance) == wanted && peer.lease_until > now);
        if let Some(peer) = found {
            peer.needed = self.planted_bug != PROMOTED_WHILE_SOLE;
            self.show(now);
            self.board.paired.store(wanted, Ordering::Release);
        }
    }

    /// Takes the buffer of [`Leases::due`] back.
    pub fn recycle(&mut self, due: Vec<(Instance, Heartbeat)>) {
        self.spare = due;
    }

    /// A heartbeat of another member.
    pub fn heard(&mut self, now: Nanoseconds, instance: Instance, body: &Heartbeat) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.instance == instance) else { return };
        let is_new = peer.named == 0;
        peer.heard_from = true;
        peer.seen = peer.seen.max(body.number.get());
        let named = body.seen.get();
        if named > peer.named
            && let Some(sent_at) = peer.sent_time(named)
        {
            peer.named = named;
            peer.named_sent_at = if is_new { sent_at } else { peer.named_sent_at.max(sent_at) };
        }
        let grant = body.grant.get();
        if grant > peer.floor
            && let Some(sent_at) = peer.sent_time(grant)
        {
            peer.lease_until = peer.lease_until.max(sent_at + LEASE);
        }
        if (peer.needed && peer.lease_until <= now) || is_new {
            // A lease must be got first: the next tick says what was heard now.
            peer.next_at = now;
        }
        self.show(now);
    }

    /// The link over which heartbeats travel is there.
    pub fn connected(&mut self, now: Nanoseconds, instance: Instance) {
        for peer in self.peers.iter_mut().filter(|peer| peer.instance == instance) {
            peer.closed_at = None;
            peer.next_at = now;
        }
    }

    /// That link is gone. A peer that closed it has surrendered before, or is dead.
    pub fn closed(&mut self, now: Nanoseconds, instance: Instance, by_peer: bool) {
        let proof = by_peer && self.close_is_proof;
        for peer in self.peers.iter_mut().filter(|peer| peer.instance == instance && proof) {
            peer.closed_at = Some(now);
            peer.promised_until = peer.promised_until.min(now);
        }
    }

    /// This node is about to close the link to a member: what it got there counts no more.
    pub fn surrender(&mut self, now: Nanoseconds, instance: Instance) {
        for peer in self.peers.iter_mut().filter(|peer| peer.instance == instance) {
            peer.floor = peer.number;
            peer.lease_until = 0;
        }
        self.show(now);
    }

    /// Ends a burst, at a time read after its last event: what was granted is promised before it leaves.
    pub fn flush(&mut self, now: Nanoseconds) {
        for peer in self.peers.iter_mut().filter(|peer| peer.promise_due) {
            peer.promise_due = false;
            let length = if self.planted_bug == NO_ALLOWANCE { LEASE } else { PROMISE };
            peer.promised_until = peer.promised_until.max(now + length);
        }
        if std::mem::take(&mut self.promise_due) {
            self.board.promised_until.fetch_max(now + PROMISE, Ordering::AcqRel);
        }
    }

    fn show(&mut self, now: Nanoseconds) {
        let needed = self.peers.iter().filter(|peer| peer.needed);
        let mut until = needed.map(|peer| peer.lease_until).min().unwrap_or(u64::MAX);
        if !self.in_view {
            until = 0;
        }
        if self.planted_bug == NO_LEASE && until > 0 {
            until = u64::MAX;
        }
        self.board.until.store(until, Ordering::Release);
        let suspect =
            self.peers.iter().find(|peer| peer.is_suspect(now, self.suspect_after)).map(|peer| peer.instance);
        self.board.suspect.store(suspect.map_or(0, packed), Ordering::Release);
    }

    /// The longest time that this node itself has not run since this was asked last, if it was long enough to end a lease.
    pub fn take_pause(&mut self) -> Option<Nanoseconds> {
        Some(std::mem::take(&mut self.paused)).filter(|paused| *paused > RECENT)
    }

    /// Lease and promise for a member, for the simulator's checks in true time.
    pub fn of(&self, instance: Instance) -> Option<(Nanoseconds, Nanoseconds)> {
        let peer = self.peers.iter().find(|peer| peer.instance == instance)?;
        Some((peer.lease_until, peer.promised_until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_protocol::record::{Leaving, Member};

    fn instance(node: u32) -> Instance {
        Instance { node, incarnation: 1 }
    }

    fn group(nodes: &[u32]) -> GroupView {
        let member = |node: &u32| Member {
            node: *node,
            incarnation: 1,
            state: MemberState::Full,
            recoverable: false,
            leaving: Leaving::No,
        };
        GroupView { changed_in_view: 1, members: nodes.iter().map(member).collect() }
    }

    struct Pair {
        sides: [Leases; 2],
        now: Nanoseconds,
        /// Which directions work: from the first, from the second.
        works: [bool; 2],
    }

    impl Pair {
        fn new() -> Pair {
            let mut sides = [1, 2].map(|_| Leases::new(Arc::default(), true, SUSPECT_AFTER, 0));
            for (index, side) in sides.iter_mut().enumerate() {
                side.install(0, instance(index as u32 + 1), &group(&[1, 2]));
            }
            Pair { sides, now: 0, works: [true; 2] }
        }

        fn run(&mut self, milliseconds: u64) {
            for _ in 0..milliseconds / 10 {
                self.now += 10 * MILLISECOND;
                for index in 0..2 {
                    for (_, body) in self.sides[index].due(self.now, |_| true) {
                        self.sides[index].flush(self.now);
                        if self.works[index] {
                            let me = instance(index as u32 + 1);
                            self.sides[1 - index].heard(self.now, me, &body);
                        }
                    }
                    let (_, promised) = self.sides[index].of(instance(2 - index as u32)).expect("known");
                    let (lease, _) = self.sides[1 - index].of(instance(index as u32 + 1)).expect("known");
                    assert!(promised >= lease, "{promised} {lease}");
                }
            }
        }

        fn valid(&self, index: usize) -> bool {
            self.sides[index].board.is_valid(self.now)
        }

        fn suspects(&self, index: usize) -> bool {
            self.sides[index].board.suspect().is_some()
        }
    }

    #[test]
    fn a_healthy_pair_has_leases_and_a_cut_ends_them() {
        let mut pair = Pair::new();
        assert!(!pair.valid(0) && !pair.valid(1));
        pair.run(100);
        assert!(pair.valid(0) && pair.valid(1));
        pair.run(5_000);
        assert!(pair.valid(0) && !pair.suspects(0));
        pair.works = [false; 2];
        pair.run(700);
        assert!(!pair.valid(0) && !pair.valid(1) && pair.suspects(0) && pair.suspects(1));
        pair.works = [true; 2];
        pair.run(300);
        assert!(pair.valid(0) && pair.valid(1) && !pair.suspects(0), "a healed link starts again by itself");
    }

    #[test]
    fn a_cut_in_one_direction_ends_grants_after_250_milliseconds() {
        let mut pair = Pair::new();
        pair.run(1_000);
        pair.works[0] = false;
        let cut_at = pair.now;
        pair.run(1_500);
        let (_, promised) = pair.sides[1].of(instance(1)).expect("known");
        assert!(promised <= cut_at + RECENT + 2 * PING + PROMISE, "{promised} {cut_at}");
        assert!(pair.suspects(0) && pair.suspects(1));
    }

    #[test]
    fn a_closed_link_is_proof_and_what_is_surrendered_counts_no_more() {
        let mut pair = Pair::new();
        pair.run(1_000);
        let now = pair.now;
        pair.sides[0].surrender(now, instance(2));
        assert!(!pair.valid(0));
        pair.sides[1].closed(now, instance(1), true);
        assert_eq!(pair.sides[1].of(instance(1)).expect("known").1, now);
        pair.sides[1].connected(now, instance(1));
        pair.run(300);
        assert!(pair.valid(0) && !pair.suspects(1));
        pair.sides[1].closed(pair.now, instance(1), true);
        for side in &mut pair.sides {
            side.due(now + 340 * MILLISECOND, |_| false);
        }
        assert!(pair.suspects(1));
        let board = LeaseBoard::default();
        board.until.store(LEASE + 20, Ordering::Release);
        assert!(board.is_valid(5));
        board.surrender(20);
        assert!(!board.is_valid(5), "the heartbeat left before");
    }

    #[test]
    fn a_sole_survivor_needs_no_lease_and_keeps_its_promise() {
        let mut pair = Pair::new();
        pair.run(1_000);
        let (_, promised) = pair.sides[0].of(instance(2)).expect("known");
        pair.sides[0].install(pair.now, instance(1), &group(&[1]));
        assert!(pair.sides[0].board.is_valid(u64::MAX - 1));
        assert_eq!(pair.sides[0].board.promised_until(), promised);
        assert_eq!(pair.sides[0].board.suspect(), None);
    }
}
