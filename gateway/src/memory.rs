//! Memory for what statements hold: bounded for each, and for all connections of a gateway together.
//!
//! Rows that wait to be sorted, grouped, made distinct or sent, operators of DataFusion, long packets and the texts of prepared statements
//! are taken out of one account. Who finds it empty ends in an error; nobody waits for others.

use crate::error::{Result, SqlError};
use duet_client::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are taken out of the account at once, so that single rows need not touch it.
const STEP_BYTES: usize = 64 << 10;
/// Bytes of a row that are not in its values: estimated.
const ROW_BYTES: usize = 32;

/// Bytes that all statements of a gateway hold together.
#[derive(Debug)]
pub struct Total {
    used: AtomicUsize,
    most: usize,
}

impl Total {
    /// With room for so many bytes.
    pub fn new(most: usize) -> Arc<Total> {
        Arc::new(Total { used: AtomicUsize::new(0), most })
    }

    /// Bytes that are in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Most bytes.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes bytes, if there are so many.
    pub fn try_add(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes bytes in any case.
    pub fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a statement is told that wants more than one may have.
pub fn too_much_for_one(most: usize) -> String {
    format!("a query may hold {} MiB of rows; see the option --query-memory", most >> 20)
}

/// What a statement is told when all together hold too much.
pub fn too_much_for_all(most: usize) -> String {
    format!("all queries together may hold {} MiB of rows; see the option --total-query-memory", most >> 20)
}

/// Bytes of a value that lie elsewhere.
pub fn content_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Vector(elements) => size_of_val(elements.as_slice()),
        _ => 0,
    }
}

/// Where statements get their memory.
#[derive(Clone, Debug)]
pub struct Memory {
    most: usize,
    total: Arc<Total>,
}

impl Memory {
    /// At most so many bytes for each, out of a total.
    pub fn new(most: usize, total: &Arc<Total>) -> Memory {
        Memory { most, total: Arc::clone(total) }
    }

    /// Nothing held yet.
    pub fn hold(&self) -> Held {
        Held { memory: self.clone(), bytes: 0, taken: 0 }
    }
}

/// What a statement or a connection holds; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Memory,
    bytes: usize,
    /// Out of the total: no less than `bytes`.
    taken: usize,
}

impl Held {
    /// Where it comes from.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Adds a row.
    ///
    /// # Errors
    /// 1038 when there is too much.
    pub fn add(&mut self, row: &[Value]) -> Result<()> {
        let bytes = |value: &Value| size_of::<Value>() + content_bytes(value);
        self.grow(row.iter().map(bytes).sum::<usize>() + ROW_BYTES)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// 1038 when there is too much.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let refused = |text: String| {
            Err(SqlError { code: 1_038, state: "HY001", message: format!("Out of sort memory: {text}") })
        };
        let wanted = self.bytes.saturating_add(bytes);
        if wanted > self.memory.most {
            return refused(too_much_for_one(self.memory.most));
        }
        if wanted > self.taken {
            let exact = wanted - self.taken;
            // The last bytes come without a step.
            let sizes = [exact.next_multiple_of(STEP_BYTES), exact];
            let Some(more) = sizes.into_iter().find(|bytes| self.memory.total.try_add(*bytes)) else {
                return refused(too_much_for_all(self.memory.total.most()));
            };
            self.taken += more;
        }
        self.bytes = wanted;
        Ok(())
    }

    /// Gives some bytes back, which serve what is held next.
    pub fn shrink(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.taken > self.bytes.saturating_add(2 * STEP_BYTES) {
            let kept = self.bytes.next_multiple_of(STEP_BYTES);
            self.memory.total.give_back(self.taken - kept);
            self.taken = kept;
        }
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        self.memory.total.give_back(std::mem::take(&mut self.taken));
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_share_one_account_and_give_back_what_they_held() {
        let total = Total::new(300 << 10);
        let memory = Memory::new(200 << 10, &total);
        let (mut one, mut other) = (memory.hold(), memory.hold());
        one.grow(150 << 10).expect("within its bound");
        let error = one.grow(60 << 10).expect_err("more than one may have");
        assert!(error.code == 1_038 && error.message.contains("--query-memory"), "{error:?}");
        let error = other.grow(150 << 10).expect_err("more than all may have");
        assert!(error.code == 1_038 && error.message.contains("--total-query-memory"), "{error:?}");
        other.grow(100 << 10).expect("what is left");
        assert!(total.used() <= total.most() && total.used() >= 250 << 10);
        one.clear();
        other.grow(80 << 10).expect("given back");
        drop((one, other));
        assert_eq!(total.used(), 0);
        let mut held = memory.hold();
        held.add(&[Value::Null, Value::Text("x".repeat(1_000))]).expect("a row");
        assert_eq!(total.used(), STEP_BYTES);
    }
}
