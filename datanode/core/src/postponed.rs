//! Operations of transactions that came to a partition which is being handed over, or is led by another node now.
//!
//! The local data manager gives such an operation back as it came. Its coordinator keeps it and sends it again, with every tick, to
//! whoever leads the partition then: the transaction waits as it does for a row, with the same bound, and is not aborted for somebody
//! else's restart. The operations behind it wait for it, so that their order stays. Nothing of the kind is done for a fragment that was
//! asked to prepare already, nor for entries of unique indexes: those transactions end in `NotServing` and may be tried again.

use crate::ldm::Context;
use crate::operation_check::primary_of;
use crate::outbox::Address;
use crate::transaction::{State, Transaction, Transactions};
use duet_protocol::error::ErrorCode;
use duet_protocol::signal::SignalView;
use duet_protocol::signal::operate_reply::OperateReply;
use std::collections::VecDeque;

/// Most bytes that postponed operations of one coordinator hold.
const MAX_BYTES: usize = 32 << 20;

/// The operations that a coordinator keeps.
#[derive(Debug, Default)]
pub(crate) struct Postponed {
    /// Slot of the transaction, its generation, number of the operation, and the whole signal, in order of their numbers for each
    /// transaction.
    list: VecDeque<(usize, u32, u32, Vec<u8>)>,
    bytes: usize,
}

impl Postponed {
    /// Number of operations.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether an operation of this transaction is kept that its client sent before this one.
    fn holds_before(&self, index: usize, generation: u32, number: u32) -> bool {
        let before =
            |kept: &&(usize, u32, u32, Vec<u8>)| (kept.0, kept.1) == (index, generation) && kept.2 < number;
        self.list.iter().any(|kept| before(&kept))
    }
}

impl Transaction {
    /// Whether an operation on this partition may be sent a second time.
    fn may_postpone(&self, number: u32) -> bool {
        let Some(waiting) =
            number.checked_sub(self.first).and_then(|place| self.outstanding.get(place as usize))
        else {
            return false;
        };
        let partition = waiting.map(|waiting| waiting.partition);
        let asked =
            |partition: u16| self.parts.iter().any(|part| part.partition == partition && part.is_asked());
        self.state == State::Active
            && self.single.is_none()
            && partition.is_some_and(|partition| !asked(partition))
    }
}

impl Transactions {
    /// Keeps an operation that was given back. False when that cannot be done.
    pub(crate) fn postpone(&mut self, index: usize, body: &OperateReply, signal: &SignalView<'_>) -> bool {
        let operation = signal.section(1);
        let transaction = &mut self.slots[index];
        let number = body.number.get();
        let room = self.postponed.bytes + operation.len() <= MAX_BYTES;
        if operation.is_empty() || !room || !transaction.may_postpone(number) {
            return false;
        }
        transaction.entries.hold_from(number);
        self.postponed.bytes += operation.len();
        self.postponed.list.push_back((index, transaction.generation, number, operation.to_vec()));
        true
    }

    /// Whether an operation was executed that came after one which is still kept: the partition was opened between the two.
    pub(crate) fn has_overtaken(&self, index: usize, number: u32) -> bool {
        self.postponed.len() > 0 && self.postponed.holds_before(index, self.slots[index].generation, number)
    }

    /// Timer: sends what is kept to whoever leads the partition now.
    pub(crate) fn send_postponed(&mut self, context: &mut Context<'_>) {
        for (index, generation, number, bytes) in std::mem::take(&mut self.postponed.list) {
            self.postponed.bytes -= bytes.len();
            let handle = self.handle(index);
            let transaction = &mut self.slots[index];
            if !transaction.used || transaction.generation != generation || transaction.state != State::Active
            {
                continue;
            }
            let Some((signal, _)) = SignalView::split_again(&bytes) else { continue };
            let Some(waiting) = transaction.outstanding_mut(number) else { continue };
            let partition = waiting.partition;
            let node = primary_of(context, partition);
            let lane = context.map.partitions[usize::from(partition)].lane;
            waiting.node = node;
            if let Some(part) = transaction.part(partition) {
                part.node = node;
            }
            if let Some(code) = context.out.unreachable(node, lane) {
                let code = if code == ErrorCode::StaleMap { ErrorCode::NotServing } else { code };
                self.fail(context, index, code, node);
                continue;
            }
            context.out.pass_on(Address::Fragments { node, lane }, handle, &signal);
        }
    }
}
