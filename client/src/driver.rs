//! The task that owns the core and its sockets.
//!
//! All work of a client is done by this one task: it takes what the handles left, reads and writes the sockets, and
//! completes batches. What is submitted by several tasks in the same turn of the runtime is sent in one frame,
//! because the task lets the others run once before it takes what they left.

use crate::input::Input;
use crate::network::{Stream, connect, is_deaf};
use crate::shared::{JobRequest, Shared, Snapshot, Waiter, lock};
use crate::{Batch, Result};
use duet_client_core::{ClientCore, CloseReason, Command, JobId, JobResult, LinkId, Nanoseconds};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// Time within which a connection must be opened.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Reads of one socket before the others have their turn.
const READS_PER_TURN: usize = 16;
/// Turns before the other tasks of the runtime have theirs.
const TURNS: usize = 8;
/// With so many batches waiting nothing is gained by letting other tasks run first.
const ENOUGH_BATCHES: usize = 64;

/// An open socket.
struct Socket {
    link: LinkId,
    stream: Stream,
    input: Input,
    /// Bytes that the system has not accepted.
    pending: Vec<u8>,
    /// How much of that the system has taken.
    taken: usize,
    broken: bool,
    /// The other side takes nothing any more; what it has sent is read to its end.
    deaf: bool,
}

/// The task of a client.
pub(crate) struct Driver {
    core: ClientCore,
    shared: Arc<Shared>,
    started: Instant,
    sockets: Vec<Socket>,
    next_generation: u32,
    /// Waiters of the batches under way, by tag.
    waiters: Vec<Option<Arc<Waiter>>>,
    free_waiters: Vec<usize>,
    jobs: BTreeMap<JobId, oneshot::Sender<Result<JobResult>>>,
    taken: Vec<(Box<Batch>, Arc<Waiter>)>,
    timer: Pin<Box<Sleep>>,
    /// When the timer goes off, in the core's time.
    armed: Nanoseconds,
    /// The other tasks had their turn since something was submitted.
    yielded: bool,
    /// A socket was added in this turn.
    attached: bool,
    published: u64,
}

impl Driver {
    pub(crate) fn new(core: ClientCore, shared: Arc<Shared>) -> Driver {
        Driver {
            core,
            shared,
            started: Instant::now(),
            sockets: Vec::new(),
            next_generation: 0,
            waiters: Vec::new(),
            free_waiters: Vec::new(),
            jobs: BTreeMap::new(),
            taken: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: Nanoseconds::MAX,
            yielded: false,
            attached: false,
            published: 0,
        }
    }

    fn now(&self) -> Nanoseconds {
        self.started.elapsed().as_nanos() as Nanoseconds
    }

    /// Reads what has arrived. True when there may be more.
    fn read(&mut self, now: Nanoseconds, context: &mut Context<'_>) -> bool {
        let mut more = false;
        for socket in &mut self.sockets {
            for turn in 0..READS_PER_TURN {
                let mut buffer = ReadBuf::new(socket.input.room());
                match Pin::new(&mut socket.stream).poll_read(context, &mut buffer) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        let length = buffer.filled().len();
                        socket.broken |= !socket.input.received(length, now, socket.link, &mut self.core);
                    }
                    Poll::Ready(Ok(()) | Err(_)) => {
                        self.core.link_closed(now, socket.link, CloseReason::ByPeer);
                        socket.broken = true;
                    }
                }
                if socket.broken {
                    break;
                }
                more |= turn == READS_PER_TURN - 1;
            }
        }
        self.sockets.retain(|socket| !socket.broken);
        more
    }

    /// Takes what the handles left. False when the last handle is gone.
    fn take_submissions(&mut self, now: Nanoseconds, context: &mut Context<'_>) -> bool {
        let (jobs, connects, begun, forgotten, closed) = {
            let mut queue = lock(&self.shared.queue);
            if queue.driver.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                queue.driver = Some(context.waker().clone());
            }
            let wait = !self.yielded && !queue.batches.is_empty() && queue.batches.len() < ENOUGH_BATCHES;
            if wait {
                self.yielded = true;
                context.waker().wake_by_ref();
            } else {
                self.yielded = false;
                std::mem::swap(&mut queue.batches, &mut self.taken);
            }
            // Those of a batch that stays in the queue may be taken before it, but not behind it.
            let begun = std::mem::take(&mut queue.begun);
            let forgotten = std::mem::take(&mut queue.forgotten);
            let (jobs, connects) = (std::mem::take(&mut queue.jobs), std::mem::take(&mut queue.connects));
            (jobs, connects, begun, forgotten, queue.closed)
        };
        for (transaction, tries) in begun {
            self.core.begin_as(transaction, tries);
        }
        for (target, connected) in connects {
            match connected {
                Ok(stream) => {
                    let link = self.new_link();
                    let input = Input::new();
                    self.sockets.push(Socket {
                        link,
                        stream,
                        input,
                        pending: Vec::new(),
                        taken: 0,
                        broken: false,
                        deaf: false,
                    });
                    self.attached = true;
                    self.core.link_connected(now, link, target);
                }
                Err(error) => {
                    self.core.connect_failed_because(now, target, crate::address::reason(&error));
                }
            }
        }
        for (request, sender) in jobs {
            let job = match request {
                JobRequest::CreateTable(definition) => self.core.create_table(now, 0, &definition),
                JobRequest::AddColumn { table, column } => self.core.add_column(now, 0, &table, &column),
                JobRequest::CreateIndex { table, name, kind, columns, within } => {
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    let timeout = Nanoseconds::try_from(within.as_nanos()).unwrap_or(Nanoseconds::MAX);
                    self.core.create_index(now, timeout.max(1), &table, &name, kind, &columns)
                }
                JobRequest::DropIndex { table, name } => self.core.drop_index(now, 0, &table, &name),
                JobRequest::DropTable { database, name } => self.core.drop_table(now, 0, &database, &name),
                JobRequest::ChangeUser(change) => self.core.change_user(now, 0, &change),
                JobRequest::Leave(wanted) => self.core.ask_to_leave(now, 0, &wanted),
                JobRequest::EndManagement(wanted) => self.core.end_management(now, 0, &wanted),
                JobRequest::StatusOf(node) => self.core.fetch_status_of(now, 0, node),
                JobRequest::ChangeManagement(change) => self.core.change_management(now, 0, &change),
                JobRequest::Users { known } => self.core.fetch_users(now, 0, known),
                JobRequest::Status => self.core.fetch_status(now, 0),
                JobRequest::Refresh => self.core.refresh(now, 0),
            };
            self.jobs.insert(job, sender);
        }
        for (mut batch, waiter) in self.taken.drain(..) {
            let tag = self.free_waiters.pop().unwrap_or_else(|| {
                self.waiters.push(None);
                self.waiters.len() - 1
            });
            self.waiters[tag] = Some(waiter);
            batch.tag = tag as u64;
            self.core.submit(now, batch);
        }
        for transaction in forgotten {
            self.core.forget(now, transaction);
        }
        !closed
    }

    fn new_link(&mut self) -> LinkId {
        self.next_generation = self.next_generation.wrapping_add(1);
        let used = |slot: u32| self.sockets.iter().any(|socket| socket.link.slot == slot);
        let slot = (0..).find(|slot| !used(*slot)).unwrap_or_default();
        LinkId { slot, generation: self.next_generation }
    }

    /// Sends what the core and earlier turns left.
    fn write(&mut self, now: Nanoseconds, context: &mut Context<'_>) {
        self.core.flush(now);
        let sockets = &mut self.sockets;
        self.core.drain_output(|link, bytes| {
            let Some(socket) = sockets.iter_mut().find(|socket| socket.link == link) else { return };
            let mut rest = bytes;
            if socket.pending.is_empty() {
                rest = write_some(socket, rest, context);
            }
            socket.pending.extend_from_slice(rest);
        });
        for socket in &mut self.sockets {
            if !socket.pending.is_empty() && !socket.broken {
                let pending = std::mem::take(&mut socket.pending);
                let rest = write_some(socket, &pending[socket.taken..], context).len();
                socket.pending = pending;
                socket.taken = socket.pending.len() - rest;
                // What is left is moved only when it is the lesser part.
                if socket.taken > socket.pending.len() / 2 {
                    socket.pending.drain(..socket.taken);
                    socket.taken = 0;
                }
            }
            if socket.broken {
                self.core.link_closed(now, socket.link, CloseReason::Local);
            }
        }
        self.sockets.retain(|socket| !socket.broken);
    }

    fn obey(&mut self) {
        while let Some(command) = self.core.next_command() {
            match command {
                Command::Close { link } => self.sockets.retain(|socket| socket.link != link),
                Command::Connect { target, address } => {
                    let shared = Arc::clone(&self.shared);
                    tokio::spawn(async move {
                        let connecting = tokio::time::timeout(CONNECT_WITHIN, connect(&address));
                        let connected = connecting.await.unwrap_or_else(|elapsed| Err(elapsed.into()));
                        if let Err(error) = &connected {
                            tracing::debug!(address, %error, "no connection");
                        }
                        shared.enqueue(|queue| queue.connects.push((target, connected)));
                    });
                }
            }
        }
    }

    fn deliver(&mut self) {
        let version = self.core.state().map_or(0, |state| state.version);
        if version != self.published {
            self.published = version;
            let snapshot =
                Snapshot { state: self.core.state().cloned(), tables: self.core.tables().to_vec() };
            *lock(&self.shared.snapshot) = snapshot;
            // Behind the snapshot: who sees this number finds tables that are at least as new.
            self.shared.version.store(version, Ordering::Release);
        }
        while let Some(batch) = self.core.next_completed() {
            let tag = batch.tag as usize;
            if let Some(waiter) = self.waiters.get_mut(tag).and_then(Option::take) {
                self.free_waiters.push(tag);
                waiter.complete(batch);
            }
        }
        while let Some((job, result)) = self.core.next_finished_job() {
            if let Some(sender) = self.jobs.remove(&job) {
                // Who asked may have gone away.
                let _ = sender.send(result);
            }
        }
    }

    /// Arms the timer. False when it is due already.
    fn arm(&mut self, now: Nanoseconds, context: &mut Context<'_>) -> bool {
        let Some(due) = self.core.next_timer(now) else { return true };
        if due <= now {
            return false;
        }
        if due < self.armed || self.armed <= now {
            self.armed = due;
            let at = self.started + Duration::from_nanos(due);
            self.timer.as_mut().reset(at.into());
        }
        if self.timer.as_mut().poll(context).is_ready() {
            self.armed = Nanoseconds::MAX;
            return false;
        }
        true
    }
}

/// Writes until the system takes no more; returns what is left.
fn write_some<'b>(socket: &mut Socket, bytes: &'b [u8], context: &mut Context<'_>) -> &'b [u8] {
    let mut rest = bytes;
    if socket.deaf {
        return &[];
    }
    while !rest.is_empty() {
        match Pin::new(&mut socket.stream).poll_write(context, rest) {
            Poll::Ready(Ok(written)) if written > 0 => rest = &rest[written..],
            Poll::Ready(Err(error)) if is_deaf(&error) => {
                socket.deaf = true;
                return &[];
            }
            Poll::Ready(Ok(_) | Err(_)) => {
                socket.broken = true;
                return &[];
            }
            Poll::Pending => break,
        }
    }
    rest
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        for _ in 0..TURNS {
            let now = driver.now();
            let more = driver.read(now, context);
            if !driver.take_submissions(now, context) {
                return Poll::Ready(());
            }
            driver.core.tick(now);
            driver.write(now, context);
            driver.obey();
            driver.deliver();
            if std::mem::take(&mut driver.attached) {
                // A new socket is known to the runtime only after its first read.
                continue;
            }
            if more {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if driver.arm(now, context) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let left = {
            let mut queue = lock(&self.shared.queue);
            queue.ended = true;
            queue.jobs.clear();
            queue.connects.clear();
            std::mem::take(&mut queue.batches)
        };
        let waiting = self.taken.drain(..).chain(left).map(|(_, waiter)| waiter);
        for waiter in self.waiters.drain(..).flatten().chain(waiting) {
            waiter.abandon();
        }
    }
}
