//! The batch pipeline: one thread that receives, runs the kernel and sends.

use crate::clock::boot_nanoseconds;
use crate::link::{LinkState, Progress};
use crate::poll::{Event, Interest, Poller, Waker};
use crate::socket;
use core_affinity::CoreId;
use duet_datanode_core::{
    CloseReason, Command, Kernel, LinkId, Nanoseconds, NodeConfiguration, NodeCounters, Target,
};
use duet_protocol::frame::announced_length;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

const MILLISECOND: Nanoseconds = 1_000_000;
/// Time between two ticks of the kernel.
const TICK_EVERY: Nanoseconds = 10 * MILLISECOND;
/// Time between two publications of the counters.
const PUBLISH_EVERY: Nanoseconds = 100 * MILLISECOND;
/// Time that a connection attempt may take.
const CONNECT_WITHIN: Nanoseconds = 2_000 * MILLISECOND;
/// Time that a closed link has to send its last words.
const CLOSE_WITHIN: Nanoseconds = 1_000 * MILLISECOND;
/// Bytes read from one link in one turn, so that a flood does not starve others.
const READ_PER_TURN: usize = 256 << 10;
/// Connections accepted in one turn.
const ACCEPT_PER_TURN: usize = 64;
/// Pause of accepting after the system ran out of descriptors.
const ACCEPT_PAUSE: Nanoseconds = 100 * MILLISECOND;

const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

/// Counters of the links of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkCounters {
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// System calls that read.
    pub reads: u64,
    /// System calls that write.
    pub writes: u64,
    /// Returns from waiting.
    pub wakeups: u64,
    /// Links given up because the other side did not read.
    pub links_not_read: u64,
}

/// What a node last published of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// Counters of the kernel.
    pub node: NodeCounters,
    /// Counters of the links.
    pub links: LinkCounters,
}

/// What a node is started with.
#[derive(Debug)]
pub struct Node {
    /// Configuration of the kernel.
    pub configuration: NodeConfiguration,
    /// Where clients and nodes connect.
    pub listener: TcpListener,
    /// CPU to pin the thread to, if any.
    pub cpu: Option<usize>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    waker: Waker,
    snapshot: Mutex<Snapshot>,
}

/// A running node.
#[derive(Debug)]
pub struct NodeHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl NodeHandle {
    /// What the node last published; at most 100 ms old.
    pub fn snapshot(&self) -> Snapshot {
        *self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of snapshots for another thread.
    pub fn snapshots(&self) -> impl Fn() -> Snapshot + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || *shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the node to end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.waker.wake();
    }

    /// Something that asks the node to end, for another thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            shared.stop.store(true, Ordering::Release);
            shared.waker.wake();
        }
    }

    /// Waits for the node's end.
    ///
    /// # Errors
    /// The sentence that says why it ended, if nobody asked for it.
    pub fn join(mut self) -> Result<(), String> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err("the pipeline thread panicked; see the log".to_owned()))
    }
}

/// Starts a node on a thread of its own.
///
/// # Errors
/// A sentence when the kernel, the poller or the thread cannot be made.
pub fn start(node: Node) -> Result<NodeHandle, String> {
    let sentence = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let waker = Waker::new().map_err(sentence("cannot make a waker"))?;
    let shared =
        Arc::new(Shared { stop: AtomicBool::new(false), waker, snapshot: Mutex::new(Snapshot::default()) });
    let cpu = node.cpu;
    let mut event_loop = EventLoop::new(node, Arc::clone(&shared))?;
    let run = move || {
        if let Some(id) = cpu {
            let pinned = core_affinity::set_for_current(CoreId { id });
            if pinned {
                tracing::info!(cpu = id, "pipeline thread pinned");
            } else {
                tracing::warn!(cpu = id, "the system refuses to pin the pipeline thread; it runs unpinned");
            }
        }
        event_loop.run()
    };
    let thread = std::thread::Builder::new().name("duet-batch".to_owned()).spawn(run);
    let thread = thread.map_err(sentence("cannot start the pipeline thread"))?;
    Ok(NodeHandle { shared, thread: Some(thread) })
}

struct EventLoop {
    kernel: Kernel,
    max_links: usize,
    listener: TcpListener,
    accept_again_at: Option<Nanoseconds>,
    poller: Poller,
    shared: Arc<Shared>,
    links: Vec<Option<LinkState>>,
    free: Vec<u32>,
    /// Generation of the last link in each slot.
    generations: Vec<u32>,
    /// Links whose interest may have changed in this turn.
    touched: Vec<LinkId>,
    counters: LinkCounters,
}

impl EventLoop {
    fn new(node: Node, shared: Arc<Shared>) -> Result<EventLoop, String> {
        let sentence = |error: io::Error| format!("cannot poll: {error}");
        node.listener.set_nonblocking(true).map_err(sentence)?;
        let poller = Poller::new().map_err(sentence)?;
        let read = Interest { read: true, write: false };
        poller.add(node.listener.as_raw_fd(), LISTENER, read).map_err(sentence)?;
        poller.add(shared.waker.descriptor(), WAKER, read).map_err(sentence)?;
        let max_links = node.configuration.max_links as usize;
        Ok(EventLoop {
            kernel: Kernel::new(node.configuration, boot_nanoseconds())?,
            max_links,
            listener: node.listener,
            accept_again_at: None,
            poller,
            shared,
            links: Vec::new(),
            free: Vec::new(),
            generations: Vec::new(),
            touched: Vec::new(),
            counters: LinkCounters::default(),
        })
    }

    fn run(&mut self) -> Result<(), String> {
        let mut ready: Vec<Event> = Vec::new();
        let mut now = boot_nanoseconds();
        let (mut tick_at, mut publish_at) = (now, now);
        while !self.shared.stop.load(Ordering::Acquire) {
            let wait = tick_at.saturating_sub(now).div_ceil(MILLISECOND).min(TICK_EVERY / MILLISECOND);
            ready.clear();
            self.poller.wait(wait as i32, &mut ready).map_err(|error| format!("cannot poll: {error}"))?;
            self.counters.wakeups += 1;
            now = boot_nanoseconds();
            for event in &ready {
                match event.token {
                    LISTENER => self.accept(now),
                    WAKER => self.shared.waker.drain(),
                    slot => self.ready(now, slot as u32, *event),
                }
            }
            if now >= tick_at {
                tick_at = now + TICK_EVERY;
                self.kernel.tick(now);
                self.time_out(now);
            }
            self.send(now)?;
            if now >= publish_at {
                publish_at = now + PUBLISH_EVERY;
                let snapshot = Snapshot { node: self.kernel.counters(), links: self.counters };
                *self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
            }
        }
        Ok(())
    }

    fn accept(&mut self, now: Nanoseconds) {
        for _ in 0..ACCEPT_PER_TURN {
            match self.listener.accept() {
                Ok((stream, address)) => {
                    if self.links.len() - self.free.len() >= self.max_links {
                        tracing::warn!(%address, limit = self.max_links, "connection refused: too many connections");
                        continue;
                    }
                    if let Err(error) = socket::prepare(&stream) {
                        tracing::warn!(%address, %error, "connection refused by the system");
                        continue;
                    }
                    let interest = Interest { read: true, write: false };
                    if let Some(link) = self.open(stream, Progress::Open, interest) {
                        self.kernel.link_accepted(now, link);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) =>
                {
                    tracing::warn!(%error, "cannot accept connections for a moment");
                    self.accept_again_at = Some(now + ACCEPT_PAUSE);
                    self.listen(false);
                    return;
                }
                // The connection was gone before it was accepted.
                Err(_) => {}
            }
        }
    }

    fn listen(&self, read: bool) {
        let interest = Interest { read, write: false };
        if let Err(error) = self.poller.change(self.listener.as_raw_fd(), LISTENER, interest) {
            tracing::error!(%error, "cannot change the listener");
        }
    }

    fn open(&mut self, stream: TcpStream, progress: Progress, interest: Interest) -> Option<LinkId> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.generations.push(0);
            (self.links.len() - 1) as u32
        });
        let generation = self.generations[slot as usize].wrapping_add(1);
        self.generations[slot as usize] = generation;
        let id = LinkId { slot, generation };
        if let Err(error) = self.poller.add(stream.as_raw_fd(), u64::from(slot), interest) {
            tracing::warn!(%error, "cannot poll a new connection");
            self.free.push(slot);
            return None;
        }
        self.links[slot as usize] = Some(LinkState::new(id, stream, progress, interest));
        Some(id)
    }

    fn ready(&mut self, now: Nanoseconds, slot: u32, event: Event) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let id = link.id;
        self.touched.push(id);
        match link.progress {
            Progress::Connecting { target, .. } => self.connected(now, slot, target),
            Progress::Open => {
                if event.writable
                    && let Err(error) = link.send_backlog()
                {
                    return self.lost(now, id, &error);
                }
                if event.readable {
                    self.read(now, slot);
                }
            }
            Progress::Closing { .. } => {
                let mut gone = link.send_backlog().is_err();
                if link.backlog() == 0 {
                    gone |= link.stream.shutdown(Shutdown::Write).is_err();
                }
                link.discard_input();
                if event.readable {
                    gone |= !matches!(link.read(), Ok(None | Some((1.., _))));
                }
                if gone {
                    self.forget(slot);
                }
            }
        }
    }

    fn connected(&mut self, now: Nanoseconds, slot: u32, target: Target) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let result = match link.stream.take_error() {
            Ok(None) => socket::prepare(&link.stream),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        let id = link.id;
        match result {
            Ok(()) => {
                link.progress = Progress::Open;
                self.kernel.link_connected(now, id, target);
            }
            Err(error) => {
                tracing::debug!(?target, %error, "connection failed");
                self.forget(slot);
                self.kernel.connect_failed(now, target);
            }
        }
    }

    /// Reads what has come, within limits, and hands whole frames to the kernel.
    fn read(&mut self, now: Nanoseconds, slot: u32) {
        let Some(Some(link)) = self.links.get_mut(slot as usize) else { return };
        let (id, mut taken) = (link.id, 0);
        while taken < READ_PER_TURN && self.kernel.wants_input(id) {
            self.counters.reads += 1;
            match link.read() {
                Ok(None) => break,
                Ok(Some((0, _))) => {
                    self.forget(slot);
                    return self.kernel.link_closed(now, id, CloseReason::ByPeer);
                }
                Ok(Some((count, filled))) => {
                    taken += count;
                    self.counters.bytes_received += count as u64;
                    consume_frames(&mut self.kernel, now, link);
                    if !filled {
                        break;
                    }
                }
                Err(error) => return self.lost(now, id, &error),
            }
        }
    }

    /// A link failed.
    fn lost(&mut self, now: Nanoseconds, id: LinkId, error: &io::Error) {
        tracing::debug!(slot = id.slot, %error, "link lost");
        if error.kind() == io::ErrorKind::StorageFull {
            self.counters.links_not_read += 1;
            tracing::warn!(slot = id.slot, "link closed: the other side does not read");
        }
        self.forget(id.slot);
        let by_peer = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        self.kernel.link_closed(now, id, if by_peer { CloseReason::ByPeer } else { CloseReason::Local });
    }

    /// Closes the socket of a slot. The poller forgets a closed descriptor by itself.
    fn forget(&mut self, slot: u32) {
        if self.links[slot as usize].take().is_some() {
            self.free.push(slot);
        }
    }

    /// Gives up what took too long.
    fn time_out(&mut self, now: Nanoseconds) {
        if self.accept_again_at.is_some_and(|at| now >= at) {
            self.accept_again_at = None;
            self.listen(true);
        }
        for slot in 0..self.links.len() {
            let Some(link) = &mut self.links[slot] else { continue };
            match link.progress {
                Progress::Connecting { target, until } if now >= until => {
                    self.forget(slot as u32);
                    self.kernel.connect_failed(now, target);
                }
                Progress::Closing { until } if now >= until => self.forget(slot as u32),
                Progress::Open => link.shrink_input(),
                Progress::Connecting { .. } | Progress::Closing { .. } => {}
            }
        }
    }

    /// Ends a turn: what the kernel has to say goes out, its commands are obeyed.
    fn send(&mut self, now: Nanoseconds) -> Result<(), String> {
        loop {
            self.kernel.flush(now);
            let (links, touched, counters) = (&mut self.links, &mut self.touched, &mut self.counters);
            let mut failed: Vec<(LinkId, io::Error)> = Vec::new();
            self.kernel.drain_output(|id, bytes| {
                let Some(Some(link)) = links.get_mut(id.slot as usize) else { return };
                if link.id != id {
                    return;
                }
                touched.push(id);
                counters.bytes_sent += bytes.len() as u64;
                match link.send(bytes) {
                    Ok(calls) => counters.writes += u64::from(calls),
                    Err(error) => failed.push((id, error)),
                }
            });
            for (id, error) in failed {
                self.lost(now, id, &error);
            }
            self.update_interests();
            let mut obeyed = false;
            while let Some(command) = self.kernel.next_command() {
                obeyed = true;
                self.obey(now, command)?;
            }
            if !obeyed {
                return Ok(());
            }
        }
    }

    fn update_interests(&mut self) {
        for id in self.touched.drain(..) {
            let Some(Some(link)) = self.links.get_mut(id.slot as usize) else { continue };
            if link.id != id {
                continue;
            }
            self.kernel.set_backlog(id, link.backlog());
            let interest = match link.progress {
                Progress::Connecting { .. } => Interest { read: false, write: true },
                Progress::Open => Interest { read: self.kernel.wants_input(id), write: link.backlog() > 0 },
                Progress::Closing { .. } => Interest { read: true, write: link.backlog() > 0 },
            };
            if interest != link.interest {
                link.interest = interest;
                if let Err(error) = self.poller.change(link.stream.as_raw_fd(), u64::from(id.slot), interest)
                {
                    tracing::error!(%error, "cannot poll a link");
                }
            }
        }
    }

    fn obey(&mut self, now: Nanoseconds, command: Command) -> Result<(), String> {
        match command {
            Command::Connect { target, address } => {
                let progress = Progress::Connecting { target, until: now + CONNECT_WITHIN };
                let interest = Interest { read: false, write: true };
                let opened = match socket::start_connecting(&address) {
                    Ok(stream) => self.open(stream, progress, interest),
                    Err(error) => {
                        tracing::debug!(?target, address, %error, "cannot connect");
                        None
                    }
                };
                if opened.is_none() {
                    self.kernel.connect_failed(now, target);
                }
            }
            Command::Close { link } => {
                self.kernel.link_closed(now, link, CloseReason::Local);
                if let Some(Some(state)) = self.links.get_mut(link.slot as usize)
                    && state.id == link
                {
                    state.progress = Progress::Closing { until: now + CLOSE_WITHIN };
                    if state.backlog() == 0 && state.stream.shutdown(Shutdown::Write).is_err() {
                        self.forget(link.slot);
                    }
                    self.touched.push(link);
                }
            }
            Command::Stop { reason } => return Err(reason),
        }
        Ok(())
    }
}

/// Hands every whole frame that a link has received to the kernel, in place.
fn consume_frames(kernel: &mut Kernel, now: Nanoseconds, link: &mut LinkState) {
    loop {
        let received = link.received();
        match announced_length(received, kernel.frame_limit(link.id)) {
            Ok(Some(length)) if received.len() >= length => {
                kernel.frame(now, link.id, &received[..length]);
                link.consume(length);
            }
            Ok(Some(length)) => return link.reserve_input(length),
            Ok(None) => return,
            Err(code) => {
                kernel.damaged(now, link.id, code);
                return link.discard_input();
            }
        }
    }
}
