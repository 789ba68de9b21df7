//! What ends transactions without a word of their clients: a link that is gone, and time.

use crate::interface::{LinkId, Nanoseconds};
use crate::ldm::Context;
use crate::transaction::{State, Transactions};
use duet_protocol::error::ErrorCode;

/// Time that an operation may take: the lock time-out.
const LOCK_WITHIN: Nanoseconds = 2_000_000_000;
/// Time that a client may be silent while it has a transaction open.
const IDLE_WITHIN: Nanoseconds = 10_000_000_000;
/// Time that all fragments together have to prepare.
const PREPARE_WITHIN: Nanoseconds = 5_000_000_000;
/// Time between two looks at the clock for all transactions.
const LOOK_EVERY: Nanoseconds = 50_000_000;

impl Transactions {
    /// A client's link is gone: its transactions are rolled back, unless the decision is under way.
    pub fn link_closed(&mut self, context: &mut Context<'_>, link: LinkId) {
        for index in 0..self.slots.len() {
            let transaction = &self.slots[index];
            let undecided = matches!(transaction.state, State::Active | State::Failed(_));
            let single = transaction.single.is_some();
            if !transaction.used || transaction.link != link || !undecided || single {
                continue;
            }
            if transaction.state == State::Active {
                let node = context.out.identity.sender.node;
                self.slots[index].ending = None;
                self.fail(context, index, ErrorCode::NodeUnreachable, node);
            }
            self.forget(index);
        }
    }

    /// Gives up what has taken too long.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        if self.postponed.len() > 0 {
            self.send_postponed(context);
        }
        if self.now < self.look_at || self.numbers.is_empty() {
            return;
        }
        self.look_at = self.now + LOOK_EVERY;
        let node = context.out.identity.sender.node;
        for index in 0..self.slots.len() {
            let transaction = &self.slots[index];
            if !transaction.used {
                continue;
            }
            let oldest = transaction.outstanding.front().copied().flatten();
            let silent = self.now.saturating_sub(transaction.touched);
            match transaction.state {
                State::Active => {
                    if let Some(oldest) = oldest {
                        if self.now.saturating_sub(oldest.at) > LOCK_WITHIN {
                            self.fail(context, index, ErrorCode::LockTimeout, node);
                        }
                    } else if silent > IDLE_WITHIN {
                        self.fail(context, index, ErrorCode::TransactionIdle, node);
                    }
                }
                State::Failed(_) if silent > 2 * IDLE_WITHIN => self.forget(index),
                State::Preparing if silent > PREPARE_WITHIN => {
                    self.fail(context, index, ErrorCode::NodeUnreachable, node);
                }
                State::Failed(_) | State::Preparing | State::Committing => {}
            }
        }
    }
}
