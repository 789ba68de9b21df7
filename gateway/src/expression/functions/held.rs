//! What the arguments of calls hold, for those within others together.

use crate::error::{Result, SqlError};
use std::cell::Cell;

/// Most bytes of all arguments of a call, with those of the calls that it is an argument of.
const MAX_ARGUMENT_BYTES: usize = 64 << 20;

thread_local! {
    /// Bytes of arguments that the calls of this thread hold: those of a call stay while those of calls within it are evaluated.
    pub(super) static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Bytes of arguments that a call holds.
#[derive(Default)]
pub(super) struct Held(usize);

impl Held {
    /// Holds more of them.
    pub(super) fn add(&mut self, bytes: usize) -> Result<()> {
        let all = HELD.get() + bytes;
        if all > MAX_ARGUMENT_BYTES {
            return Err(SqlError::out_of_memory(
                "Out of memory; the arguments of functions are longer than 64 MiB",
            ));
        }
        HELD.set(all);
        self.0 += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}
