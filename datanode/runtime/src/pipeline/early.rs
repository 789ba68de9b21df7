//! Heartbeats on their way past the mailboxes: a node whose threads have much to do must not be taken for dead.

use duet_datanode_core::{HEARTBEAT_FRAME_BYTES, LinkId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most frames that wait to be looked at, which is done every 10 ms.
const MOST_WAITING: usize = 64;

/// A whole frame that is as long as a heartbeat.
type EarlyFrame = (LinkId, [u8; HEARTBEAT_FRAME_BYTES]);

/// Frames that can only be heartbeats of other nodes, copied when they arrive.
#[derive(Debug, Default)]
pub(crate) struct EarlyHeartbeats {
    waiting: Mutex<Vec<EarlyFrame>>,
    any: AtomicBool,
}

impl EarlyHeartbeats {
    /// A frame arrived from another node.
    #[inline]
    pub fn notice(&self, link: LinkId, frame: &[u8]) {
        if let Ok(frame) = <[u8; HEARTBEAT_FRAME_BYTES]>::try_from(frame) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() < MOST_WAITING {
                waiting.push((link, frame));
                self.any.store(true, Ordering::Release);
            }
        }
    }

    /// What was noticed since the last call.
    pub fn take(&self) -> Vec<EarlyFrame> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
