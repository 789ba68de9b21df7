//! Memory that is made ready before it is needed.
//!
//! The first touch of an address makes the kernel find and clear memory for it: about 0.2 ms for a huge page, and several milliseconds in a
//! virtual machine whose host has to find it first. The thread that owns an arena would wait for it, and with it everybody who
//! asks for a row there. So a thread of its own touches what the arenas of a process will use next.

use crate::reservation::Mapping;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Ranges waiting to be made ready; of more than these the owner finds memory itself.
const MOST_WAITING: usize = 1_024;
/// What an arena has ready beyond what it uses, at most.
const MOST_AHEAD_BYTES: usize = 8 << 20;
/// Memory that is found at once: the system has other work for the same addresses in between.
const STEP_BYTES: usize = 2 << 20;

/// Part of a mapping that its owner will use soon.
#[derive(Debug)]
pub(crate) struct Upcoming {
    /// Kept alive until its part is ready.
    pub(crate) mapping: Arc<Mapping>,
    /// First address, and number of bytes.
    pub(crate) start: usize,
    pub(crate) bytes: usize,
}

/// Makes the memory of arenas ready, on a thread that ends with the last clone of this. Nobody waits for it, and nothing depends on it but
/// speed.
#[derive(Clone, Debug)]
pub struct MemoryPreparer {
    upcoming: SyncSender<Upcoming>,
    /// Bytes that an arena has ready beyond what it uses.
    pub(crate) ahead_bytes: usize,
}

impl MemoryPreparer {
    /// Starts the thread. Each arena has up to `ahead_bytes` ready beyond what it uses, and at most 8 MiB; no budget counts them.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(ahead_bytes: usize) -> std::io::Result<MemoryPreparer> {
        let (upcoming, asked) = sync_channel(MOST_WAITING);
        std::thread::Builder::new().name("duet-memory".to_owned()).spawn(move || prepare(&asked))?;
        Ok(MemoryPreparer { upcoming, ahead_bytes: ahead_bytes.min(MOST_AHEAD_BYTES) })
    }

    /// Asks for a part of a mapping.
    pub(crate) fn prepare(&self, upcoming: Upcoming) {
        // With a full queue, or without the thread, the owner finds memory when it touches it.
        let _ = self.upcoming.try_send(upcoming);
    }
}

fn prepare(asked: &Receiver<Upcoming>) {
    while let Ok(upcoming) = asked.recv() {
        for offset in (0..upcoming.bytes).step_by(STEP_BYTES) {
            let bytes = STEP_BYTES.min(upcoming.bytes - offset);
            upcoming.mapping.populate(upcoming.start + offset, bytes);
        }
    }
}
