//! Links on io_uring: one system call a turn submits everything that is to be sent, unless that is much, and waits for what arrives.
//!
//! Each link has a *port*: a direct descriptor of the ring, and what is under way for it. A port outlives its link until the
//! last of its operations has ended, so a completion never meets another link. Receives are multishot into [`Buffers`];
//! they end when no buffer was free, when they are cancelled, or with the stream, and are started again as long as the
//! link wants input. Sends never wait in the system (see `send!`), so they are over when the call that submits them
//! returns, and the bytes need to stay only that long; what the system does not take then waits for a poll.

mod buffers;
mod check;
mod release;

use crate::link::{Link, Phase};
use crate::links::{Event, LISTENER_TOKEN, Readiness, TICKER_TOKEN, WAKER_TOKEN, ready};
use crate::poll::{Ticker, Waker};
use crate::socket::Listener;
use buffers::Buffers;
use duet_datanode_core::LinkId;
use io_uring::types::{CancelBuilder, Fd, Fixed, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};

/// Submissions that fit the ring; when it is full they are submitted early.
const SUBMISSIONS: u32 = 512;
/// Completions that fit the ring; the system keeps what does not.
const COMPLETIONS: u32 = 4_096;
/// Ports beyond the number of links, for those that are gone but for their operations.
const SPARE_PORTS: usize = 256;
/// Times that a call is repeated for which the system has no memory now.
const ATTEMPTS: u32 = 1_000;
/// Time that ending all receives may take when the ring is closed.
const CLOSE_SECONDS: u64 = 2;

/// Why there is no ring.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What the system refused.
    pub what: &'static str,
    pub error: io::Error,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// What a receive brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub link: LinkId,
    /// Number of bytes, 0 at the end of the stream, or a negated error number.
    pub result: i32,
    /// Where they are; to be given back.
    pub buffer: Option<u16>,
}

/// Kinds of operations, in the upper byte of their user data; the rest is the port, or a token.
mod kind {
    pub const RECEIVE: u64 = 1 << 56;
    pub const WRITABLE: u64 = 2 << 56;
    pub const BROKEN: u64 = 3 << 56;
    pub const SEND: u64 = 4 << 56;
    pub const CANCEL: u64 = 5 << 56;
    pub const TOKEN: u64 = 6 << 56;
    pub const ALL: u64 = 0xFF << 56;
}

/// What is under way for one link.
#[derive(Debug)]
struct Port {
    link: LinkId,
    /// The link is gone; the port is free when nothing is under way any more.
    removed: bool,
    /// A multishot receive.
    receiving: bool,
    /// It was told to end.
    cancelling: bool,
    /// A poll for room to write, or for a finished connection.
    awaiting_room: bool,
    /// A poll for a failure of a link that is not received from.
    watching: bool,
}

impl Port {
    fn new(link: LinkId) -> Port {
        Port {
            link,
            removed: false,
            receiving: false,
            cancelling: false,
            awaiting_room: false,
            watching: false,
        }
    }

    fn is_idle(&self) -> bool {
        !self.receiving && !self.awaiting_room && !self.watching
    }
}

/// A send of bytes. It is not to wait (`MSG_DONTWAIT`), so the system takes what there is room for while it is submitted and
/// is done with the bytes then. Only if that was not all (`MSG_WAITALL` makes that a failure) there is a completion, with
/// the number of bytes taken, or an error if there were none: what succeeds costs none, and a failure ends a wait.
macro_rules! send {
    ($descriptor:expr, $bytes:expr) => {
        opcode::Send::new($descriptor, $bytes.as_ptr(), $bytes.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
    };
}
use send;

/// A ring and the links on it. It belongs to the thread that opened it.
pub(crate) struct Ring {
    uring: ManuallyDrop<IoUring>,
    /// None in a loop without links.
    buffers: ManuallyDrop<Option<Buffers>>,
    ports: Vec<Port>,
    free: Vec<u32>,
    most_ports: usize,
    waker: RawFd,
    ticker: RawFd,
    /// Events of the turn.
    events: Vec<Event>,
    /// Events of the next turn.
    arrived: Vec<Event>,
    /// Links and results of sends that were not taken completely.
    unsent: Vec<(LinkId, i32)>,
    /// Receives that are not over.
    receiving: usize,
    listening: bool,
    wants_listener: bool,
    /// What the system refused outside of a wait.
    failure: Option<io::Error>,
}

impl Ring {
    /// Opens a ring for so many links and asks for the wake-ups and ticks of its thread.
    pub fn open(max_links: usize, waker: &Waker, ticker: &Ticker) -> Result<Ring, Refused> {
        let refused = |what| move |error| Refused { what, error };
        let mut uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .map_err(refused("io_uring_setup"))?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe).map_err(refused("asking for its operations"))?;
        let needed =
            [opcode::Recv::CODE, opcode::Send::CODE, opcode::PollAdd::CODE, opcode::AsyncCancel::CODE];
        if !needed.iter().all(|code| probe.is_supported(*code)) {
            let error = io::Error::from(io::ErrorKind::Unsupported);
            return Err(Refused { what: "an operation that is needed", error });
        }
        let (mut buffers, mut most_ports) = (None, 0);
        if max_links > 0 {
            check::check_sends(&mut uring)?;
            buffers = Some(Buffers::register(&uring)?);
            // The system has no more direct descriptors than descriptors.
            most_ports = (max_links + max_links / 4 + SPARE_PORTS).min(descriptor_limit());
            uring
                .submitter()
                .register_files_sparse(most_ports as u32)
                .map_err(refused("registering descriptors"))?;
            release::check_release(&mut uring)?;
        }
        let mut ring = Ring {
            uring: ManuallyDrop::new(uring),
            buffers: ManuallyDrop::new(buffers),
            ports: Vec::new(),
            free: Vec::new(),
            most_ports,
            waker: waker.as_raw_fd(),
            ticker: ticker.as_raw_fd(),
            events: Vec::with_capacity(COMPLETIONS as usize),
            arrived: Vec::with_capacity(COMPLETIONS as usize),
            unsent: Vec::new(),
            receiving: 0,
            listening: false,
            wants_listener: false,
            failure: None,
        };
        ring.poll(ring.waker, WAKER_TOKEN, true);
        ring.poll(ring.ticker, TICKER_TOKEN, true);
        Ok(ring)
    }

    /// Event number `index` of the last wait.
    #[inline]
    pub fn event(&self, index: usize) -> Event {
        self.events[index]
    }

    /// The bytes of an arrival.
    pub fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        self.buffers.as_ref().map_or(&[], |buffers| buffers.bytes(buffer, count))
    }

    /// Lets the system use a buffer again.
    #[inline]
    pub fn give_back(&mut self, buffer: u16) {
        if let Some(buffers) = &mut *self.buffers {
            buffers.give_back(buffer);
        }
    }

    /// The system had no buffer for an arrival.
    pub fn add_buffer(&mut self) {
        if let Some(buffers) = &mut *self.buffers {
            buffers.add();
        }
    }

    /// A send of the last submission that was not taken completely: its link, and the number of bytes taken or a negated
    /// error number.
    pub fn next_unsent(&mut self) -> Option<(LinkId, i32)> {
        self.unsent.pop()
    }

    /// Waits for connections of a listener, or no more.
    pub fn listen(&mut self, listener: &Listener, on: bool) {
        self.wants_listener = on;
        if on && !self.listening {
            self.listening = true;
            self.poll(listener.as_raw_fd(), LISTENER_TOKEN, false);
        }
    }

    /// Waits for further connections, if any are wanted.
    pub fn listen_again(&mut self, listener: &Listener) {
        self.listen(listener, self.wants_listener);
    }

    /// Gives a link a port and starts what it wants.
    pub fn add(&mut self, link: &mut Link) -> io::Result<()> {
        let port = match self.free.pop() {
            Some(port) => port,
            None if self.ports.len() < self.most_ports => {
                self.ports.push(Port::new(link.id));
                self.ports.len() as u32 - 1
            }
            None => return Err(io::Error::from_raw_os_error(libc::EMFILE)),
        };
        let registered = self.uring.submitter().register_files_update(port, &[link.socket.as_raw_fd()]);
        if let Err(error) = registered {
            self.free.push(port);
            return Err(error);
        }
        self.ports[port as usize] = Port::new(link.id);
        link.port = port;
        self.update(link);
        Ok(())
    }

    /// Starts or ends operations, so that they are what a link wants now.
    #[inline]
    pub fn update(&mut self, link: &Link) {
        let port = &mut self.ports[link.port as usize];
        let number = u64::from(link.port);
        let wanted = link.wanted_interest();
        if wanted.read {
            if !port.receiving {
                port.receiving = true;
                self.receiving += 1;
                let receive = opcode::RecvMulti::new(Fixed(link.port), buffers::GROUP).build();
                self.push(&receive.user_data(kind::RECEIVE | number));
            }
            return self.await_room(link);
        }
        if port.receiving && !port.cancelling {
            port.cancelling = true;
            self.cancel(kind::RECEIVE | number);
        }
        self.await_room(link);
        // Without a receive nothing else tells of a reset.
        let port = &mut self.ports[link.port as usize];
        if link.is_open() && !port.watching {
            port.watching = true;
            let watch = opcode::PollAdd::new(Fixed(link.port), 0).build();
            self.push(&watch.user_data(kind::BROKEN | number));
        }
    }

    fn await_room(&mut self, link: &Link) {
        let port = &mut self.ports[link.port as usize];
        let connecting = matches!(link.phase, Phase::Connecting { .. });
        if (connecting || link.blocked) && !port.awaiting_room {
            port.awaiting_room = true;
            let poll = opcode::PollAdd::new(Fixed(link.port), libc::POLLOUT as u32).build();
            self.push(&poll.user_data(kind::WRITABLE | u64::from(link.port)));
        }
    }

    /// Ends everything that is under way for a link; its descriptor can be closed.
    pub fn remove(&mut self, link: &Link) {
        // Operations under way keep the socket for themselves. Clearing an entry that was set needs nothing.
        let _ = self.uring.submitter().register_files_update(link.port, &[-1]);
        let number = u64::from(link.port);
        let port = &mut self.ports[link.port as usize];
        port.removed = true;
        let (receiving, awaiting_room, watching) =
            (port.receiving && !port.cancelling, port.awaiting_room, port.watching);
        if port.is_idle() {
            self.free.push(link.port);
        }
        if receiving {
            self.cancel(kind::RECEIVE | number);
        }
        if awaiting_room {
            self.cancel(kind::WRITABLE | number);
        }
        if watching {
            self.cancel(kind::BROKEN | number);
        }
    }

    fn cancel(&mut self, user_data: u64) {
        let cancel = opcode::AsyncCancel::new(user_data).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&cancel.user_data(kind::CANCEL));
    }

    fn poll(&mut self, descriptor: RawFd, token: u64, multishot: bool) {
        let poll = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).multi(multishot).build();
        self.push(&poll.user_data(kind::TOKEN | token));
    }

    /// Queues an operation that refers to no memory of its own.
    fn push(&mut self, entry: &squeue::Entry) {
        for _ in 0..ATTEMPTS {
            // SAFETY: polls and cancellations refer to no memory, and receives to that of `buffers`, which stays until
            // they are over (see `drop`). Descriptors are direct ones or stay open as long as the loop.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            if self.failure.is_some() {
                return;
            }
            if let Err(error) = self.enter(0) {
                self.failure = Some(error);
                return;
            }
        }
        self.failure = Some(io::Error::from_raw_os_error(libc::EBUSY));
    }

    /// Submits what is queued and these sends (ports and bytes), and waits for something to happen if `blocking` and
    /// nothing has happened yet. Returns when the sends are over; those that were not taken completely are told by
    /// [`Ring::next_unsent`]. What happens is an event of the next turn.
    pub fn submit<'a>(
        &mut self,
        sends: impl Iterator<Item = (u32, &'a [u8])>,
        blocking: bool,
    ) -> io::Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(self.fail(error));
        }
        for (port, bytes) in sends {
            let entry = send!(Fixed(port), bytes).user_data(kind::SEND | u64::from(port));
            // SAFETY: `bytes` stays as it is for the duration of this call, which does not return before the send was
            // submitted, and then it is over (see `send!`). If the ring fails before that, it is never entered again.
            while unsafe { self.uring.submission().push(&entry) }.is_err() {
                self.enter_or_fail(0)?;
            }
        }
        self.reap();
        if blocking && self.arrived.is_empty() {
            self.enter_or_fail(1)?;
        } else if self.needs_enter() {
            self.enter_or_fail(0)?;
        }
        // Usually all was submitted by now, and every completion fitted the ring.
        let mut attempts = 0;
        while self.is_behind() {
            attempts += 1;
            if attempts > ATTEMPTS {
                return Err(self.fail(io::Error::from_raw_os_error(libc::EBUSY)));
            }
            self.enter_or_fail(0)?;
        }
        Ok(())
    }

    /// Makes what has happened the events of a new turn; their number.
    pub fn next_turn(&mut self) -> usize {
        self.events.clear();
        std::mem::swap(&mut self.events, &mut self.arrived);
        self.events.len()
    }

    /// Whether anything is to be submitted, or to be done by the system in our name.
    fn needs_enter(&mut self) -> bool {
        self.uring.submission().taskrun() || self.is_behind()
    }

    /// Whether anything is not submitted yet, or a completion is kept back by the system.
    fn is_behind(&mut self) -> bool {
        let submission = self.uring.submission();
        !submission.is_empty() || submission.cq_overflow()
    }

    fn enter_or_fail(&mut self, least: u32) -> io::Result<()> {
        self.enter(least).map_err(|error| self.fail(error))
    }

    /// The ring is not used any more: sends may be queued whose bytes do not stay.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.failure = Some(io::Error::from_raw_os_error(libc::EIO));
        error
    }

    /// Submits what is queued, waits for at least so many completions, and takes all of them.
    fn enter(&mut self, mut least: u32) -> io::Result<()> {
        let mut attempts = 0;
        loop {
            let queued = self.uring.submission().len() as u32;
            let flags = EnterFlags::GETEVENTS.bits();
            // SAFETY: no argument is passed; what the queued operations refer to stays (see `push` and `submit`).
            let entered =
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, least, flags, None) };
            self.reap();
            match entered.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) | Err((Some(libc::EINTR), _)) => return Ok(()),
                // Too many completions wait, or there is no memory now.
                Err((Some(libc::EBUSY | libc::EAGAIN), _)) if attempts < ATTEMPTS => {
                    attempts += 1;
                    // What it was to wait for may have been taken by now.
                    least = 0;
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Takes all completions.
    fn reap(&mut self) {
        let (mut waker_ended, mut ticker_ended) = (false, false);
        let Ring { uring, buffers, ports, free, arrived, unsent, receiving, listening, .. } = self;
        for completion in uring.completion() {
            let (user_data, result, flags) =
                (completion.user_data(), completion.result(), completion.flags());
            let (of_kind, number) = (user_data & kind::ALL, user_data & !kind::ALL);
            if of_kind == kind::TOKEN {
                let ended = !cqueue::more(flags);
                match number {
                    LISTENER_TOKEN => *listening = false,
                    WAKER_TOKEN => waker_ended |= ended,
                    _ => ticker_ended |= ended,
                }
                let event = Readiness { token: number, readable: true, writable: false, broken: false };
                arrived.push(Event::Ready(event));
                continue;
            }
            if of_kind == kind::CANCEL {
                continue;
            }
            let Some(port) = ports.get_mut(number as usize) else { continue };
            match of_kind {
                kind::SEND => {
                    unsent.push((port.link, result));
                    continue;
                }
                kind::RECEIVE => {
                    let buffer = cqueue::buffer_select(flags);
                    if !cqueue::more(flags) {
                        (port.receiving, port.cancelling) = (false, false);
                        *receiving -= 1;
                    }
                    if !port.removed {
                        arrived.push(Event::Arrived(Arrival { link: port.link, result, buffer }));
                    } else if let (Some(buffer), Some(buffers)) = (buffer, &mut **buffers) {
                        buffers.give_back(buffer);
                    }
                }
                kind::WRITABLE => {
                    port.awaiting_room = false;
                    if !port.removed {
                        // Should the link have failed, writing to it tells how.
                        arrived.push(ready(port.link, true, false));
                    }
                }
                _ => {
                    port.watching = false;
                    // A receive that is under way tells why.
                    if !port.removed && !port.receiving {
                        arrived.push(ready(port.link, false, true));
                    }
                }
            }
            if port.removed && port.is_idle() {
                free.push(number as u32);
            }
        }
        if waker_ended {
            self.poll(self.waker, WAKER_TOKEN, true);
        }
        if ticker_ended {
            self.poll(self.ticker, TICKER_TOKEN, true);
        }
    }
}

impl Drop for Ring {
    /// The system may write to the buffers until every receive is over, so all are cancelled and waited for; should that
    /// fail, the buffers are never freed.
    fn drop(&mut self) {
        if self.failure.is_none() {
            let _ = self.enter(0);
            let timeout = Timespec::new().sec(CLOSE_SECONDS);
            let cancelled =
                self.uring.submitter().register_sync_cancel(Some(timeout), CancelBuilder::any().all());
            let mut attempts = 0;
            while cancelled.is_ok() && self.receiving > 0 && attempts < ATTEMPTS {
                attempts += 1;
                if self.enter(0).is_err() {
                    break;
                }
            }
        }
        // SAFETY: both are dropped once, here, and not used afterwards. The buffers are unmapped only when no receive is
        // under way, and after the ring was closed.
        unsafe {
            ManuallyDrop::drop(&mut self.uring);
            if self.receiving == 0 {
                ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}

/// Most descriptors of the process.
fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call overwrites.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 1_024 }
}
