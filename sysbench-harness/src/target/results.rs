//! What came back for a batch.

use crate::workload::{Operation, OperationKind, check_value};
use std::ops::AddAssign;

/// Counts of answers, and the first complaint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerCounts {
    /// Operations answered as they should be.
    pub good: u64,
    /// Values compared byte for byte.
    pub verified: u64,
    /// Values that are not what was written under their key.
    pub wrong: u64,
    /// Rows that should exist and were not found.
    pub missing: u64,
    /// Operations that the server refused.
    pub refused: u64,
    /// Operations answered twice or not at all.
    pub unanswered: u64,
    /// The first complaint, in words.
    pub first_complaint: Option<String>,
}

impl AnswerCounts {
    /// Answers that should not have been.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.wrong + self.missing + self.refused + self.unanswered
    }

    fn complain(&mut self, sentence: impl FnOnce() -> String) {
        if self.first_complaint.is_none() {
            self.first_complaint = Some(sentence());
        }
    }
}

impl AddAssign<&AnswerCounts> for AnswerCounts {
    fn add_assign(&mut self, other: &AnswerCounts) {
        self.good += other.good;
        self.verified += other.verified;
        self.wrong += other.wrong;
        self.missing += other.missing;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        if self.first_complaint.is_none() {
            self.first_complaint.clone_from(&other.first_complaint);
        }
    }
}

/// Buffers that a worker thread keeps for all its batches.
#[derive(Debug)]
pub struct ResultBuffers {
    counts: AnswerCounts,
    answered: Vec<bool>,
    joined: Vec<u8>,
    value_bytes: usize,
    verify: bool,
}

impl ResultBuffers {
    /// For values of `value_bytes` bytes, each compared byte for byte if `verify`.
    #[must_use]
    pub fn new(value_bytes: usize, verify: bool) -> Self {
        let joined = Vec::with_capacity(value_bytes);
        Self { counts: AnswerCounts::default(), answered: Vec::new(), joined, value_bytes, verify }
    }

    /// Starts a batch.
    pub fn start<'a>(&'a mut self, batch: &'a [Operation]) -> BatchResults<'a> {
        self.answered.clear();
        self.answered.resize(batch.len(), false);
        BatchResults { buffers: self, batch }
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> AnswerCounts {
        std::mem::take(&mut self.counts)
    }
}

/// Takes the answers of one batch, checks and counts them. Answers may come in any order.
#[derive(Debug)]
pub struct BatchResults<'a> {
    buffers: &'a mut ResultBuffers,
    batch: &'a [Operation],
}

impl BatchResults<'_> {
    /// A read found the row, and `value` is its columns one after the other.
    pub fn value(&mut self, index: usize, value: &[u8]) {
        let Some(operation) = self.answer(index, OperationKind::Read) else { return };
        let counts = &mut self.buffers.counts;
        let checked = if self.buffers.verify {
            counts.verified += 1;
            check_value(operation.key, self.buffers.value_bytes, value).map(|_| ())
        } else if value.len() == self.buffers.value_bytes {
            Ok(())
        } else {
            check_value(operation.key, self.buffers.value_bytes, value).map(|_| ())
        };
        match checked {
            Ok(()) => counts.good += 1,
            Err(error) => {
                counts.wrong += 1;
                counts.complain(|| error.to_string());
            }
        }
    }

    /// A read found the row, and `columns` are its value columns in order.
    pub fn columns<'c>(&mut self, index: usize, columns: impl Iterator<Item = &'c [u8]>) {
        let mut joined = std::mem::take(&mut self.buffers.joined);
        joined.clear();
        columns.for_each(|column| joined.extend_from_slice(column));
        self.value(index, &joined);
        self.buffers.joined = joined;
    }

    /// An update was acknowledged.
    pub fn updated(&mut self, index: usize) {
        if self.answer(index, OperationKind::Update).is_some() {
            self.buffers.counts.good += 1;
        }
    }

    /// There is no such row.
    pub fn missing(&mut self, index: usize) {
        let Some(operation) = self.claim(index) else { return };
        self.buffers.counts.missing += 1;
        self.buffers.counts.complain(|| format!("key {}: the row is missing", operation.key));
    }

    /// The operation was refused, with the server's words.
    pub fn refused(&mut self, index: usize, reason: &dyn std::fmt::Display) {
        let Some(operation) = self.claim(index) else { return };
        self.buffers.counts.refused += 1;
        self.buffers.counts.complain(|| format!("key {}: {reason}", operation.key));
    }

    /// Ends the batch: what has no answer is counted as such.
    pub fn finish(self) {
        for (index, answered) in self.buffers.answered.iter().enumerate() {
            if !answered {
                self.buffers.counts.unanswered += 1;
                let key = self.batch[index].key;
                self.buffers.counts.complain(|| format!("key {key}: no answer"));
            }
        }
    }

    fn answer(&mut self, index: usize, kind: OperationKind) -> Option<Operation> {
        let operation = self.claim(index)?;
        if operation.kind == kind {
            return Some(operation);
        }
        self.buffers.counts.unanswered += 1;
        self.buffers.counts.complain(|| format!("key {}: the answer is of another kind", operation.key));
        None
    }

    fn claim(&mut self, index: usize) -> Option<Operation> {
        match self.buffers.answered.get_mut(index) {
            Some(answered) if !*answered => {
                *answered = true;
                Some(self.batch[index])
            }
            Some(_) | None => {
                self.buffers.counts.unanswered += 1;
                self.buffers.counts.complain(|| format!("operation {index} of the batch was answered twice"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::write_value;

    fn batch() -> [Operation; 3] {
        [
            Operation { kind: OperationKind::Read, key: 1, generation: 0 },
            Operation { kind: OperationKind::Update, key: 2, generation: 9 },
            Operation { kind: OperationKind::Read, key: 3, generation: 0 },
        ]
    }

    fn value_of(key: u64) -> [u8; 40] {
        let mut value = [0; 40];
        write_value(key, 0, &mut value);
        value
    }

    #[test]
    fn good_answers_in_any_order() {
        let batch = batch();
        let mut buffers = ResultBuffers::new(40, true);
        let mut results = buffers.start(&batch);
        results.columns(2, value_of(3).chunks(10));
        results.updated(1);
        results.value(0, &value_of(1));
        results.finish();
        let counts = buffers.take_counts();
        assert_eq!((counts.good, counts.verified, counts.bad()), (3, 2, 0));
        assert_eq!(buffers.take_counts(), AnswerCounts::default());
    }

    #[test]
    fn a_corrupted_value_is_caught_only_by_verification_and_a_short_one_always() {
        let batch = batch();
        let mut corrupted = value_of(1);
        corrupted[39] ^= 1;
        for (verify, wrong) in [(true, 2), (false, 1)] {
            let mut buffers = ResultBuffers::new(40, verify);
            let mut results = buffers.start(&batch);
            results.value(0, &corrupted);
            results.updated(1);
            results.value(2, &value_of(3)[..39]);
            results.finish();
            let counts = buffers.take_counts();
            assert_eq!((counts.wrong, counts.bad()), (wrong, wrong));
            assert!(counts.first_complaint.is_some());
        }
    }

    #[test]
    fn missing_refused_doubled_and_lost_answers_are_counted() {
        let batch = batch();
        let mut buffers = ResultBuffers::new(40, false);
        let mut results = buffers.start(&batch);
        results.missing(0);
        results.value(0, &value_of(1));
        results.refused(1, &"ERR out of memory");
        results.finish();
        let counts = buffers.take_counts();
        assert_eq!((counts.missing, counts.refused, counts.unanswered, counts.good), (1, 1, 2, 0));
    }
}
