//! Deadlocks between transactions: who waits for whom is known where it waits, so probes follow the edges from coordinator
//! to coordinator (edge chasing: K. Chandy, J. Misra, L. Haas: Distributed deadlock detection, TOCS 1983).

use crate::ldm::Context;
use crate::outbox::{Address, Handle};
use crate::transaction::{State, Transactions};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::TransactionId;
use duet_protocol::signal::deadlock_probe::{DeadlockProbe, KIND_PROBE, KIND_VERDICT};
use duet_protocol::signal::lock_wait::{Blocker, LockWait, blockers};
use duet_protocol::signal::{Sections, SignalView};
use std::cmp::Reverse;

/// Most transactions that a probe for a circle passes; longer circles end by the lock time-out.
const PROBE_HOPS: u16 = 64;
/// Probes that a transaction remembers, to pass each on only once.
const PROBES_REMEMBERED: usize = 64;
/// Lane in which coordinators talk to each other.
const COORDINATOR_LANE: u16 = 0;

impl Transactions {
    /// An operation waits: remembers for whom, and looks for a circle.
    pub(crate) fn operation_waits(&mut self, context: &mut Context<'_>, signal: &SignalView<'_>) {
        let Some(body) = signal.body::<LockWait>() else { return };
        let Some(index) = self.of_handle(signal.request_id()) else { return };
        let number = body.number.get();
        if !self.is_outstanding(index, number) {
            return;
        }
        let transaction = &mut self.slots[index];
        let waits_for = blockers(signal.section(0));
        match transaction.waits.iter_mut().find(|(waits, _)| *waits == number) {
            Some((_, known)) => {
                known.clear();
                known.extend_from_slice(waits_for);
            }
            None => transaction.waits.push((number, waits_for.to_vec())),
        }
        let tries = transaction.tries;
        let (id, node, number) = (transaction.id, context.out.identity.sender.node, u32::from(self.number));
        self.rounds = self.rounds.wrapping_add(1);
        let probe = DeadlockProbe {
            initiator_session: id.session.into(),
            initiator_seq: id.seq.into(),
            initiator_node: node.into(),
            initiator_coordinator: number.into(),
            victim_session: id.session.into(),
            victim_seq: id.seq.into(),
            victim_node: node.into(),
            victim_coordinator: number.into(),
            victim_tries: tries.into(),
            kind: KIND_PROBE.into(),
            round: self.rounds.into(),
            ..DeadlockProbe::default()
        };
        for blocker in waits_for {
            send_probe(context, &probe, blocker);
        }
    }

    /// A probe asks whom one of the transactions here waits for; or a verdict ends one.
    pub(crate) fn probe(&mut self, context: &mut Context<'_>, body: &DeadlockProbe) {
        let initiator =
            TransactionId { session: body.initiator_session.get(), seq: body.initiator_seq.get() };
        let target = TransactionId { session: body.target_session.get(), seq: body.target_seq.get() };
        let Some(index) = self.numbers.get(&target).map(|index| *index as usize) else { return };
        let transaction = &mut self.slots[index];
        let node = context.out.identity.sender.node;
        if transaction.state != State::Active || transaction.waits.is_empty() {
            return;
        }
        if body.kind.get() == KIND_VERDICT {
            context.counters.deadlocks += 1;
            return self.fail(context, index, ErrorCode::Deadlock, node);
        }
        if target == initiator {
            let victim = Blocker {
                session: body.victim_session,
                seq: body.victim_seq,
                node: body.victim_node,
                coordinator: body.victim_coordinator,
            };
            let verdict = DeadlockProbe { kind: KIND_VERDICT.into(), ..*body };
            return send_probe(context, &verdict, &victim);
        }
        let seen = (initiator, body.round.get());
        if body.hops.get() >= PROBE_HOPS || transaction.probes.contains(&seen) {
            return;
        }
        if transaction.probes.len() >= PROBES_REMEMBERED {
            transaction.probes.pop_front();
        }
        transaction.probes.push_back(seen);
        let mut probe = DeadlockProbe { hops: (body.hops.get() + 1).into(), ..*body };
        let victim = TransactionId { session: body.victim_session.get(), seq: body.victim_seq.get() };
        if (transaction.tries, Reverse(target)) < (body.victim_tries.get(), Reverse(victim)) {
            probe.victim_tries = transaction.tries.into();
            (probe.victim_session, probe.victim_seq) = (target.session.into(), target.seq.into());
            probe.victim_node = node.into();
            probe.victim_coordinator = u32::from(self.number).into();
        }
        for blocker in transaction.waits.iter().flat_map(|(_, blockers)| blockers) {
            send_probe(context, &probe, blocker);
        }
    }
}

/// Sends a probe, or a verdict, to the coordinator of a transaction.
fn send_probe(context: &mut Context<'_>, probe: &DeadlockProbe, blocker: &Blocker) {
    let number = blocker.coordinator.get() as u8;
    let to = Address::Coordinator { node: blocker.node.get(), lane: COORDINATOR_LANE, number };
    let body = DeadlockProbe { target_session: blocker.session, target_seq: blocker.seq, ..*probe };
    context.out.post(to, Handle { number, transaction: 0 }, &body, Sections::none());
}
