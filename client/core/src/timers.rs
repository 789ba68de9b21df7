//! What happens because time passes.

use crate::core::ClientCore;
use crate::interface::{Nanoseconds, SECOND};
use std::cmp::Reverse;

/// A link on which requests wait and nothing is heard for so long is given up.
const SILENCE: Nanoseconds = 15 * SECOND;

impl ClientCore {
    /// Timers. Call [`ClientCore::flush`] afterwards.
    pub fn tick(&mut self, now: Nanoseconds) {
        self.retry_due(now);
        if now >= self.earliest_deadline {
            self.expire(now);
        }
        for index in 0..self.wire.endpoints.len() {
            let endpoint = &self.wire.endpoints[index];
            if endpoint.is_ready() && endpoint.outstanding > 0 && now >= endpoint.heard_at + SILENCE {
                self.close(now, index);
            }
        }
        self.step_links(now);
    }

    /// When the next timer is due: at that time [`ClientCore::tick`] and [`ClientCore::flush`] must be called.
    /// `None` while nothing is waited for but what others send.
    pub fn next_timer(&self, now: Nanoseconds) -> Option<Nanoseconds> {
        let retry = self.retries.peek().map(|Reverse((at, _))| *at);
        let deadline = (self.earliest_deadline != Nanoseconds::MAX).then_some(self.earliest_deadline);
        let silence =
            self.wire.endpoints.iter().filter(|endpoint| endpoint.is_ready() && endpoint.outstanding > 0);
        let silence = silence.map(|endpoint| endpoint.heard_at + SILENCE).min();
        let timers = [
            retry,
            deadline,
            silence,
            self.link_timer(now),
            self.refresh_timer(),
            self.session_timer(),
            self.outcomes.next_due(),
            self.jobs.next_due(),
        ];
        timers.into_iter().flatten().min()
    }
}
