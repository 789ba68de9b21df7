//! What became of a transaction: answers from its record, waits for one in progress, fences one that is unknown
//! (PROTOCOL.md §1, counterexample 15).

use crate::ldm::fragment::{PendingKind, PendingWrite};
use crate::ldm::outcome::{Known, OutcomeState};
use crate::ldm::planted::NO_FENCE;
use crate::ldm::write::{admit_fence, displace, refuse_id, send_prepare};
use crate::ldm::{Context, LocalDataManager};
use crate::outbox::ReplyTo;
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::{RowVersion, TransactionId};
use duet_protocol::signal::Sections;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::resolve_reply::{OUTCOME_ABORTED, OUTCOME_COMMITTED, ResolveReply};

impl LocalDataManager {
    /// Answers or fences a transaction whose home fragment is `partition`.
    pub fn resolve(&mut self, context: &mut Context<'_>, reply: ReplyTo, body: &Resolve, partition: u16) {
        if self.is_warming_at(partition) {
            return context.out.error(reply, ErrorCode::NotServing, "the partition is being taken over");
        }
        if !self.is_led(partition) {
            return context.out.error(reply, ErrorCode::StaleMap, "another node leads the partition");
        }
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        let transaction = TransactionId { session: body.session.get(), seq: body.seq.get() };
        let outcome = match fragment.outcomes.known(transaction, context.epoch) {
            Known::New if context.planted_bug == NO_FENCE => {
                let version = RowVersion { epoch: context.epoch, seq: fragment.seq };
                return answer(context, reply, OutcomeState::Aborted, version, 0, [0; 16]);
            }
            Known::New => {
                return self.fence(context, reply, body.resolved_below.get(), partition, transaction);
            }
            Known::Recorded(outcome) => outcome,
            other => return refuse_id(context, reply, other),
        };
        match outcome.state {
            OutcomeState::InProgress { seq } => {
                if self.resolve_prepared(context, reply, partition, transaction) {
                    return;
                }
                let fragment = self.fragments[usize::from(partition)].as_mut();
                if let Some(pending) = fragment.and_then(|fragment| fragment.pending_at(seq)) {
                    displace(context, pending.resolver.replace(reply), reply);
                }
            }
            // Its other rows may not be exposed yet.
            OutcomeState::Committed if self.resolve_prepared(context, reply, partition, transaction) => {}
            state => answer(context, reply, state, outcome.version, outcome.result_bytes, outcome.result),
        }
    }

    /// Makes sure that a transaction without a record never happens, then says so.
    pub(super) fn fence(
        &mut self,
        context: &mut Context<'_>,
        reply: ReplyTo,
        resolved_below: u64,
        partition: u16,
        transaction: TransactionId,
    ) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        let resolved_below = resolved_below.min(transaction.seq);
        if let Err((code, detail)) = admit_fence(context, fragment, (transaction.session, resolved_below)) {
            context.out.error(reply, code, &detail);
            return;
        }
        let version = RowVersion { epoch: context.epoch, seq: fragment.seq + 1 };
        let pending = PendingWrite {
            resolver: Some(reply),
            ..PendingWrite::without_row(PendingKind::Fence, version, transaction)
        };
        send_prepare(context, fragment, &pending, 0, 0, resolved_below, &[], &[]);
        self.enter(context, partition, pending, resolved_below);
    }
}

/// Tells the outcome of a transaction that has ended.
pub(super) fn answer(
    context: &mut Context<'_>,
    reply: ReplyTo,
    state: OutcomeState,
    version: RowVersion,
    result_bytes: u8,
    result: [u8; 16],
) {
    let outcome = if state == OutcomeState::Committed { OUTCOME_COMMITTED } else { OUTCOME_ABORTED };
    let body = ResolveReply {
        outcome: outcome.into(),
        reserved: 0.into(),
        result_bytes: u32::from(result_bytes).into(),
        epoch: version.epoch.into(),
        seq: version.seq.into(),
        result,
    };
    context.out.reply(reply, &body, Sections::none());
}
