//! What happened, as a hash over everything and as text for the last events.

use crate::queue::{MICROSECOND, Time};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::FrameView;
use duet_protocol::signal::error_reply::ErrorReply;
use duet_protocol::signal::refuse_link::RefuseLink;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Events kept for the report of a failure.
const RECENT_EVENTS: usize = 400;

/// Number of a process in the run.
pub type ProcessNumber = u16;

/// Kinds of events in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// A connection was accepted; the number is the connection.
    Accepted = 1,
    /// A wanted connection is open.
    Connected,
    /// A wanted connection could not be opened; the number is the token of the request.
    ConnectFailed,
    /// A frame arrived.
    Frame,
    /// The process was told that a connection closed by its peer.
    ClosedByPeer,
    /// The process was told that a connection closed on its own side.
    ClosedLocally,
    /// Timers of the process ran.
    Tick,
    /// Timers that the process asked for ran.
    Wake,
    /// The process ended a burst; the number counts the bytes that it sent.
    Flush,
    /// Bytes of the process became durable; the number is that of the write.
    Persisted,
    /// The process was paused; the number is the length in nanoseconds.
    Pause,
    /// The process goes on.
    Resume,
    /// The process was killed.
    Kill,
    /// The process was started.
    Start,
    /// A fault in the network; the number is the connection.
    Reset,
    /// Messages from this process to another one are held up; the number is the other process.
    Stall,
    /// The run entered another phase.
    Phase,
    /// The clock of the process jumps ahead by this many nanoseconds.
    Jump,
}

struct Entry {
    time: Time,
    process: ProcessNumber,
    what: What,
    number: u64,
    bytes: Vec<u8>,
}

/// Collects the trace of one run.
pub struct Trace {
    hash: u64,
    events: u64,
    recent: VecDeque<Entry>,
    names: Vec<String>,
    print: bool,
}

impl Trace {
    /// An empty trace; with `print` every event is written to standard output as it happens.
    pub fn new(print: bool) -> Trace {
        Trace { hash: 0, events: 0, recent: VecDeque::with_capacity(RECENT_EVENTS), names: Vec::new(), print }
    }

    /// Gives the next process number its name.
    pub fn name_process(&mut self, name: String) {
        self.names.push(name);
    }

    /// Name of a process.
    pub fn process_name(&self, process: ProcessNumber) -> &str {
        &self.names[usize::from(process)]
    }

    /// The hash of everything up to now.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of events up to now.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Notes one event; `bytes` are those of a frame. Returns a buffer to use again.
    pub fn note(
        &mut self,
        time: Time,
        process: ProcessNumber,
        what: What,
        number: u64,
        bytes: Vec<u8>,
    ) -> Vec<u8> {
        self.events += 1;
        let mut head = [0u8; 24];
        head[..8].copy_from_slice(&time.to_le_bytes());
        head[8..16].copy_from_slice(&number.to_le_bytes());
        head[16..18].copy_from_slice(&process.to_le_bytes());
        head[18] = what as u8;
        self.hash = xxh3_64_with_seed(&head, self.hash);
        if !bytes.is_empty() {
            self.hash = xxh3_64_with_seed(&bytes, self.hash);
        }
        let entry = Entry { time, process, what, number, bytes };
        if self.print {
            // A reader that has seen enough (`duet sim --trace | head`) ends the printing, not the run.
            self.print = writeln!(stdout().lock(), "{}", self.describe(&entry)).is_ok();
        }
        let oldest = if self.recent.len() == RECENT_EVENTS { self.recent.pop_front() } else { None };
        self.recent.push_back(entry);
        oldest.map(|entry| entry.bytes).unwrap_or_default()
    }

    /// Mixes the state of something at rest into the hash.
    pub fn fold(&mut self, value: u64) {
        self.hash = xxh3_64_with_seed(&value.to_le_bytes(), self.hash);
    }

    /// The last `count` events as text, ticks left out.
    pub fn recent(&self, count: usize) -> String {
        let shown: Vec<_> = self
            .recent
            .iter()
            .rev()
            .filter(|entry| entry.what != What::Tick && !(entry.what == What::Flush && entry.number == 0))
            .take(count)
            .map(|entry| self.describe(entry))
            .collect();
        shown.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn describe(&self, entry: &Entry) -> String {
        let mut line = format!(
            "{:>12.3} ms {:<10} {:?} {}",
            (entry.time / MICROSECOND) as f64 / 1000.0,
            self.process_name(entry.process),
            entry.what,
            entry.number
        );
        if !entry.bytes.is_empty() {
            describe_frame(&mut line, &entry.bytes);
        }
        line
    }
}

fn describe_frame(line: &mut String, bytes: &[u8]) {
    let Ok(frame) = FrameView::new_checked(bytes) else {
        line.push_str(" damaged");
        return;
    };
    let envelope = frame.envelope();
    let _ = write!(line, " from {} view {} epoch {}", envelope.sender, envelope.view, envelope.epoch);
    if let Some(lane) = envelope.lane {
        let _ = write!(line, " lane {} #{} ack {}", lane.lane, lane.number, lane.acknowledged);
    }
    for (index, signal) in frame.signals().enumerate() {
        if index == 6 {
            let _ = write!(line, " … {} signals", frame.signal_count());
            break;
        }
        let _ = write!(line, " {:?}({})", signal.signal_type(), signal.request_id());
        let code = match (signal.body::<ErrorReply>(), signal.body::<RefuseLink>()) {
            (Some(body), _) => body.code.get(),
            (_, Some(body)) => body.code.get(),
            (None, None) => continue,
        };
        let name = ErrorCode::from_number(code).map_or("unknown", ErrorCode::name);
        let _ = write!(line, "={name} {:?}", String::from_utf8_lossy(signal.section(0)));
    }
}
