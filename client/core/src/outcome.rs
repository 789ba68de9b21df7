//! Writes whose outcome is unknown, and what became of them.

use crate::interface::{MILLISECOND, Nanoseconds, SECOND};
use crate::random::Random;
use duet_protocol::ids::{RowVersion, TransactionId};
use std::collections::{BTreeMap, VecDeque};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Committed {
        /// The new row version.
        version: RowVersion,
        /// New value of the first incremented column, as in a value image.
        result: [u8; 16],
        /// Used bytes of `result`.
        result_bytes: u8,
    },
    /// It did not happen and never will.
    Aborted,
    /// Nobody can tell any more: the session expired, or too many outcomes were unknown.
    Forgotten,
}

/// First and longest wait before a resolve is tried again.
const RETRY_FIRST: Nanoseconds = 20 * MILLISECOND;
const RETRY_LAST: Nanoseconds = SECOND;
/// Resolves under way at once.
const UNDER_WAY: usize = 256;

/// A write that is being resolved.
#[derive(Debug)]
pub(crate) struct Unknown {
    /// Hash of the row's partition key.
    pub(crate) partition_hash: u64,
    /// The request under way and the endpoint that it was sent to.
    request: Option<(u64, usize)>,
    retry_at: Nanoseconds,
    tries: u32,
    /// References of operations that wait for the outcome.
    waiters: Vec<u64>,
}

/// The bounded memory of unknown and formerly unknown outcomes.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    unknown: BTreeMap<TransactionId, Unknown>,
    requests: BTreeMap<u64, TransactionId>,
    known: BTreeMap<TransactionId, Outcome>,
    known_order: VecDeque<TransactionId>,
    /// No resolve is due before this time.
    earliest: Nanoseconds,
}

impl Outcomes {
    /// What is known of a transaction now.
    pub(crate) fn known(&self, transaction: TransactionId) -> Option<Outcome> {
        self.known.get(&transaction).copied()
    }

    /// How many are unknown.
    pub(crate) fn unknown_count(&self) -> usize {
        self.unknown.len()
    }

    /// Lets an operation wait for the outcome; false when the transaction is not one of the unknown ones.
    pub(crate) fn wait(&mut self, transaction: TransactionId, reference: u64, limit: usize) -> bool {
        match self.unknown.get_mut(&transaction) {
            Some(unknown) if unknown.waiters.len() < limit => {
                unknown.waiters.push(reference);
                true
            }
            _ => false,
        }
    }

    /// Takes up a write whose outcome is unknown. When there are too many the oldest is given back: it is
    /// [`Outcome::Forgotten`], and these operations waited for it.
    pub(crate) fn add(
        &mut self,
        now: Nanoseconds,
        transaction: TransactionId,
        partition_hash: u64,
        limit: usize,
    ) -> Option<TransactionId> {
        let unknown = Unknown { partition_hash, request: None, retry_at: now, tries: 0, waiters: Vec::new() };
        self.unknown.insert(transaction, unknown);
        self.earliest = self.earliest.min(now);
        if self.unknown.len() <= limit { None } else { self.unknown.keys().next().copied() }
    }

    /// When the next resolve may be due.
    pub(crate) fn next_due(&self) -> Option<Nanoseconds> {
        let has_more = self.unknown.len() > self.requests.len() && self.requests.len() < UNDER_WAY;
        has_more.then_some(self.earliest)
    }

    /// The transactions to be resolved now, as many as may be under way.
    pub(crate) fn due(&mut self, now: Nanoseconds) -> Vec<(TransactionId, u64)> {
        let room = UNDER_WAY.saturating_sub(self.requests.len());
        let idle = || self.unknown.iter().filter(|(_, unknown)| unknown.request.is_none());
        let due = idle().filter(|(_, unknown)| unknown.retry_at <= now);
        let due: Vec<_> =
            due.take(room).map(|(transaction, unknown)| (*transaction, unknown.partition_hash)).collect();
        let later = idle().map(|(_, unknown)| unknown.retry_at).filter(|at| *at > now).min();
        self.earliest = if due.len() == room { now } else { later.unwrap_or(Nanoseconds::MAX) };
        due
    }

    /// A resolve was sent.
    pub(crate) fn sent(&mut self, transaction: TransactionId, request: u64, endpoint: usize) {
        if let Some(unknown) = self.unknown.get_mut(&transaction) {
            unknown.request = Some((request, endpoint));
            self.requests.insert(request, transaction);
        }
    }

    /// The transaction that a request asks for.
    pub(crate) fn of_request(&self, request: u64) -> Option<TransactionId> {
        self.requests.get(&request).copied()
    }

    /// The resolve must be tried again later.
    pub(crate) fn again(&mut self, now: Nanoseconds, transaction: TransactionId, random: &mut Random) {
        if let Some(unknown) = self.unknown.get_mut(&transaction) {
            if let Some((request, _)) = unknown.request.take() {
                self.requests.remove(&request);
            }
            unknown.retry_at = now + random.backoff(RETRY_FIRST, RETRY_LAST, unknown.tries);
            unknown.tries += 1;
            self.earliest = self.earliest.min(unknown.retry_at);
        }
    }

    /// An endpoint's link is lost: what was sent there is sent again.
    pub(crate) fn link_lost(&mut self, now: Nanoseconds, endpoint: usize, random: &mut Random) {
        let lost: Vec<TransactionId> = self
            .unknown
            .iter()
            .filter(|(_, unknown)| unknown.request.is_some_and(|(_, at)| at == endpoint))
            .map(|(transaction, _)| *transaction)
            .collect();
        for transaction in lost {
            self.again(now, transaction, random);
        }
    }

    /// The outcome is known; returns the operations that wait for it, or `None` when it was not unknown.
    pub(crate) fn settle(
        &mut self,
        transaction: TransactionId,
        outcome: Outcome,
        limit: usize,
    ) -> Option<Vec<u64>> {
        let unknown = self.unknown.remove(&transaction)?;
        if let Some((request, _)) = unknown.request {
            self.requests.remove(&request);
        }
        self.known.insert(transaction, outcome);
        self.known_order.push_back(transaction);
        while self.known_order.len() > limit {
            if let Some(oldest) = self.known_order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        Some(unknown.waiters)
    }
}
