//! Schema changes that a direct client asks for, one after the other.

use crate::process::client::Change;
use crate::queue::{MILLISECOND, Time};
use std::collections::VecDeque;

/// Wait before a schema change is asked for again.
pub const ASK_AGAIN: Time = 15 * MILLISECOND;

/// A schema change under way.
#[derive(Clone, Debug)]
pub struct Job {
    /// The change.
    pub change: Change,
    /// Identity of the request.
    pub request: [u8; 16],
    /// Whether the question is under way.
    pub live: bool,
    /// Not before this time.
    pub not_before: Time,
    /// Questions so far.
    pub asked: u32,
}

/// Schema changes to be done in order.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    waiting: VecDeque<Job>,
}

impl Jobs {
    /// Adds one.
    pub fn add(&mut self, change: Change, request: [u8; 16]) {
        self.waiting.push_back(Job { change, request, live: false, not_before: 0, asked: 0 });
    }

    /// The one under way.
    pub fn current(&mut self) -> Option<&mut Job> {
        self.waiting.front_mut()
    }

    /// The one under way is done.
    pub fn finish(&mut self) -> Option<Job> {
        self.waiting.pop_front()
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
