//! What `LAST_INSERT_ID()` gives.

use crate::value::compare::exact;
use duet_client::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Content {
    number: AtomicU64,
    /// Whether the statement has said it by `LAST_INSERT_ID(number)`.
    said: AtomicBool,
}

/// The number of `LAST_INSERT_ID()`. Copies are of the same session, whose statements are executed one after the other.
#[derive(Clone, Debug, Default)]
pub struct LastInsertId(Arc<Content>);

impl LastInsertId {
    /// A statement begins.
    pub fn begin(&self) {
        self.0.said.store(false, Ordering::Relaxed);
    }

    /// The number.
    pub fn number(&self) -> u64 {
        self.0.number.load(Ordering::Relaxed)
    }

    /// An INSERT has given this number out.
    pub fn generated(&self, number: u64) {
        self.0.number.store(number, Ordering::Relaxed);
    }

    /// `LAST_INSERT_ID(number)`, which is 0 for what follows where it is NULL.
    pub fn say(&self, number: &Value) {
        let digits = exact(number).and_then(|(digits, _)| u64::try_from(digits).ok());
        self.generated(digits.unwrap_or(0));
        self.0.said.store(true, Ordering::Relaxed);
    }

    /// The number that the statement has said, or 0.
    pub fn said(&self) -> u64 {
        if self.0.said.load(Ordering::Relaxed) { self.number() } else { 0 }
    }
}
