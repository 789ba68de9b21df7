//! The loop of the batch pipeline.

use crate::clock::boot_nanoseconds;
use crate::driven::{Driven, TICK_EVERY};
use crate::link::{Backlog, Phase};
use crate::links::{Event, LISTENER_TOKEN, LinkIo, Links, Readiness, TICKER_TOKEN, WAKER_TOKEN};
use crate::mailbox::LoopBell;
use crate::output::{Failure, Sending, reason_of};
use crate::poll::{Ticker, Waker};
use crate::receive::{Outcome, Received, receive, resume};
use crate::resolve::Resolver;
use crate::responsiveness::Responsiveness;
use crate::snapshot::{LinkCounters, Snapshot, SnapshotReader};
use crate::socket::{Listener, set_options};
use crate::spin::Spin;
use crate::table::{LinkTable, from_token};
use crate::thread::{LEAVE, RuntimeError, STOP};
use crate::warnings::Warnings;
use duet_datanode_core::{CloseReason, Command, LinkId, Nanoseconds};
use duet_protocol::error::ErrorCode;
use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const MILLISECOND: Nanoseconds = 1_000_000;
/// Ticks without need for the next one so soon, after which they become rarer.
const CALM_TICKS: u32 = 10;
/// A snapshot of the counters is published this often.
const PUBLISH_EVERY: Nanoseconds = 100 * MILLISECOND;
/// Idle buffers are freed and silent links closed this often.
const SWEEP_EVERY: Nanoseconds = 1_000 * MILLISECOND;
/// How long the listener rests when the process has no descriptors left.
const LISTENER_REST: Nanoseconds = 100 * MILLISECOND;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Commands obeyed before events are looked at again.
const COMMANDS_PER_ROUND: usize = 1_024;
/// Times that a burst's end may cause another flush before events are looked at again.
const SETTLE_ROUNDS: usize = 8;

/// Pauses between two looks at sockets and mailboxes while spinning.
const SPINS_PER_LOOK: usize = 16;

/// Bounds of the loop.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most links at once; slots are smaller than this.
    pub max_links: usize,
    /// Links of `max_links` that only connections opened by this node may take.
    pub reserved_links: usize,
    /// What a connection beyond these bounds is told before it is closed; may be empty.
    pub refusal: Vec<u8>,
    /// Most unsent bytes of one link; above it the link is closed.
    pub backlog_bytes: usize,
    /// Most unsent bytes of all links; above it the link that holds the most is closed.
    pub total_backlog_bytes: usize,
    /// Most bytes read from one link in one turn.
    pub read_bytes: usize,
    /// Bytes read in one turn after which replies are written before more is read.
    pub burst_bytes: usize,
    /// What the bounds of bursts, here and between threads, are chosen by.
    pub responsiveness: Responsiveness,
    /// Time for opening a connection.
    pub connect_within: Nanoseconds,
    /// Time for the first whole frame of a link.
    pub first_frame_within: Nanoseconds,
    /// Time for sending the last bytes of a link that is being closed, and again for the other side to follow.
    pub close_within: Nanoseconds,
}

impl Limits {
    /// The usual bounds for this many links.
    pub fn new(max_links: usize) -> Limits {
        Limits {
            max_links,
            reserved_links: (max_links / 4).min(256),
            refusal: Vec::new(),
            backlog_bytes: 16 << 20,
            total_backlog_bytes: 1 << 30,
            read_bytes: 256 << 10,
            burst_bytes: Responsiveness::default().burst_bytes(),
            responsiveness: Responsiveness::default(),
            connect_within: 2_000 * MILLISECOND,
            first_frame_within: 10_000 * MILLISECOND,
            close_within: 1_000 * MILLISECOND,
        }
    }

    /// These bounds with bursts of this level.
    #[must_use]
    pub fn with_responsiveness(self, responsiveness: Responsiveness) -> Limits {
        let burst_bytes = responsiveness.burst_bytes();
        Limits { burst_bytes, read_bytes: self.read_bytes.min(burst_bytes), responsiveness, ..self }
    }
}

/// The sockets of one loop among those of its process.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Where others connect to.
    pub listener: Option<Listener>,
    /// Number of this loop among those that have links.
    pub number: u32,
    /// Number of loops that have links.
    pub of: u32,
    /// Whether to look for work for a while before going to sleep.
    pub may_spin: bool,
    /// How to talk to links.
    pub io: LinkIo,
}

/// The state of the loop.
pub(crate) struct Batch<K> {
    pub kernel: K,
    pub limits: Limits,
    pub links: Links,
    pub table: LinkTable,
    pub resolver: Resolver,
    bell: Option<LoopBell>,
    spin: Spin,
    pub counters: LinkCounters,
    /// Links that have a deadline: being opened or being closed.
    pub hurried: Vec<LinkId>,
    pub now: Nanoseconds,
    listener: Option<Listener>,
    listener_rests_until: Option<Nanoseconds>,
    ticker: Ticker,
    /// Time between two ticks now, and how many of them could have come later.
    ticking: Nanoseconds,
    calm_ticks: u32,
    stop: Arc<AtomicU8>,
    told_to_leave: bool,
    snapshots: SnapshotReader,
    sending: Sending,
    scratch: Box<[u8]>,
    paused: Vec<LinkId>,
    /// Memory for those of them that are to come last; empty in between.
    resuming: Vec<LinkId>,
    /// Links to be closed when the refusal that the kernel queued is sent.
    damaged: Vec<LinkId>,
    pub burst_bytes: usize,
    unsettled: bool,
    tick_at: Nanoseconds,
    publish_at: Nanoseconds,
    sweep_at: Nanoseconds,
    warnings: Warnings,
}

impl<K: Driven> Batch<K> {
    pub fn new(
        kernel: K,
        sockets: Sockets,
        limits: Limits,
        waker: Waker,
        stop: Arc<AtomicU8>,
        snapshots: SnapshotReader,
    ) -> Result<Batch<K>, RuntimeError> {
        let Sockets { listener, number, of, may_spin, io } = sockets;
        let ticker = Ticker::every(TICK_EVERY).map_err(|error| RuntimeError::system("timerfd", error))?;
        let max_links = if listener.is_some() { limits.max_links } else { 0 };
        let mut links = Links::open(io, max_links, &waker, &ticker)?;
        if let Some(listener) = &listener {
            links
                .add_listener(listener)
                .map_err(|error| RuntimeError::system("waiting for connections", error))?;
        }
        let deferred = links.defers_output();
        let scratch_bytes = if deferred { 0 } else { limits.read_bytes };
        Ok(Batch {
            links,
            table: LinkTable::new(limits.max_links, number, of),
            bell: kernel.bell(),
            spin: Spin::new(if may_spin { limits.responsiveness.spin_worth() } else { 0 }),
            resolver: Resolver::new(waker),
            counters: LinkCounters::default(),
            hurried: Vec::new(),
            now: 0,
            listener,
            listener_rests_until: None,
            ticker,
            ticking: TICK_EVERY,
            calm_ticks: 0,
            stop,
            told_to_leave: false,
            snapshots,
            sending: Sending::new(deferred),
            scratch: vec![0; scratch_bytes].into_boxed_slice(),
            paused: Vec::new(),
            resuming: Vec::new(),
            damaged: Vec::new(),
            burst_bytes: 0,
            unsettled: false,
            tick_at: 0,
            publish_at: 0,
            sweep_at: 0,
            warnings: Warnings::default(),
            kernel,
            limits,
        })
    }

    /// Waits for events or mail; the number of events. Never sleeps while there is mail: whoever brings some after the
    /// last look rings the bell, which ends the sleep.
    fn wait(&mut self) -> io::Result<usize> {
        if self.unsettled {
            return self.look(false);
        }
        let Some(bell) = self.bell.clone() else { return self.look(true) };
        if self.kernel.has_mail() {
            return self.look(false);
        }
        let idle_since = boot_nanoseconds();
        let budget = self.spin.budget();
        while budget > 0 && boot_nanoseconds() - idle_since < budget {
            for _ in 0..SPINS_PER_LOOK {
                std::hint::spin_loop();
            }
            let ready = self.look(false)?;
            if ready > 0 || self.kernel.has_mail() {
                self.spin.idle_was(boot_nanoseconds() - idle_since);
                return Ok(ready);
            }
        }
        let asleep = bell.prepare();
        let blocking = !self.kernel.has_mail() && !self.may_resume();
        let ready = self.look(blocking);
        drop(asleep);
        self.spin.idle_was(boot_nanoseconds() - idle_since);
        ready
    }

    /// Takes what has happened and, if `blocking`, waits for something: the ticker ends the wait in time. With io_uring this
    /// also sends what waits for it.
    fn look(&mut self, blocking: bool) -> io::Result<usize> {
        match &mut self.links {
            Links::Epoll(poll) => poll.wait(if blocking { -1 } else { 0 }),
            Links::Uring(ring) => {
                // A link that is paused for its backlog, or closed behind it, may go on as soon as that is sent.
                let free = self.paused.is_empty() && self.hurried.is_empty();
                let blocking = blocking && (free || self.sending.is_submitted());
                self.sending.submit(ring, &mut self.table, &mut self.counters, blocking)?;
                Ok(ring.next_turn())
            }
        }
    }

    /// Sends what waits to be submitted, with io_uring. What became of it is told to the kernel by [`Batch::after_output`].
    fn submit(&mut self) -> Result<(), RuntimeError> {
        let Links::Uring(ring) = &mut self.links else { return Ok(()) };
        loop {
            self.sending
                .submit(ring, &mut self.table, &mut self.counters, false)
                .map_err(|error| RuntimeError::system("io_uring", error))?;
            if self.sending.is_submitted() {
                return Ok(());
            }
        }
    }

    /// Runs until told to stop, or until the kernel or the system gives up.
    pub fn run(&mut self) -> Result<(), RuntimeError> {
        loop {
            let ready = self.wait().map_err(|error| RuntimeError::system("waiting for events", error))?;
            self.counters.wakeups += 1;
            self.now = boot_nanoseconds();
            if self.sending.deferred {
                self.after_output();
            }
            for index in 0..ready {
                let event = self.links.event(index);
                self.handle(event);
                if self.is_burst_full() {
                    self.end_burst()?;
                    self.submit()?;
                    // What follows must not be held back for replies that are sent.
                    self.after_output();
                    self.now = boot_nanoseconds();
                }
            }
            self.end_burst()?;
            match self.stop.load(Ordering::Acquire) {
                LEAVE if !std::mem::replace(&mut self.told_to_leave, true) => self.kernel.leave(self.now),
                STOP => {
                    self.submit()?;
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let event = match event {
            Event::Ready(event) => event,
            Event::Arrived(arrival) => return self.arrived(arrival),
        };
        match event.token {
            LISTENER_TOKEN => {
                self.accept();
                if let Some(listener) = &self.listener {
                    self.links.listener_seen(listener);
                }
            }
            WAKER_TOKEN => self.connect_resolved(),
            TICKER_TOKEN => self.ticked(),
            token => self.link_event(from_token(token), event),
        }
    }

    fn ticked(&mut self) {
        self.ticker.clear();
        let enough = self.kernel.tick_every();
        self.calm_ticks = if enough > self.ticking { self.calm_ticks + 1 } else { 0 };
        if self.calm_ticks >= CALM_TICKS {
            self.set_ticker(enough);
        }
    }

    /// Changes the time between ticks; they stay as they are if the system refuses.
    fn set_ticker(&mut self, every: Nanoseconds) {
        if self.ticker.set(every).is_ok() {
            self.ticking = every;
        }
        self.calm_ticks = 0;
    }

    fn link_event(&mut self, id: LinkId, event: Readiness) {
        let Some(link) = self.table.get_mut(id) else { return };
        match link.phase {
            Phase::Connecting { .. } => self.connect_finished(id),
            Phase::Open { .. } => {
                if event.writable && !link.backlog.is_empty() {
                    self.sending.send_backlog(link, &mut self.counters);
                }
                if event.readable && !link.paused {
                    self.read(id, event.broken);
                } else if event.broken {
                    self.lose_broken(id);
                }
            }
            Phase::Closing { .. } => {
                if event.broken {
                    self.lose_broken(id);
                } else if event.writable {
                    self.sending.send_backlog(link, &mut self.counters);
                }
            }
            Phase::Lingering { .. } => self.discard(id, event.broken),
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else { return };
            let (socket, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        self.warnings.warn(self.now, || {
                            tracing::warn!(%error, "cannot accept connections; trying again soon");
                        });
                        let rest = self.links.listen(listener, false);
                        if rest.is_ok() {
                            self.listener_rests_until = Some(self.now + LISTENER_REST);
                        }
                        return;
                    }
                    // The connection was gone before it was accepted.
                    _ => continue,
                },
            };
            if self.table.is_full()
                || self.table.accepted() >= self.limits.max_links - self.limits.reserved_links
            {
                self.counters.accepts_refused += 1;
                // The buffer of a new connection has room for it; whoever is gone already misses nothing.
                let _ = socket.send_with_flags(&self.limits.refusal, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT);
                let most = self.limits.max_links;
                self.warnings.warn(self.now, || {
                    tracing::warn!(%address, max_links = most, "connection closed: too many connections");
                });
                continue;
            }
            let phase = Phase::Open { since: self.now };
            let inserted = set_options(&socket)
                .and_then(|()| self.table.insert(&mut self.links, socket, address, true, phase));
            match inserted {
                Ok(id) => {
                    self.counters.links_accepted += 1;
                    tracing::debug!(%address, slot = id.slot, "connection accepted");
                    if let Some(link) = self.table.get_mut(id) {
                        self.kernel.link_opened(id, &link.socket);
                    }
                    self.kernel.link_accepted(self.now, id);
                }
                Err(error) => tracing::debug!(%address, %error, "connection lost while it was accepted"),
            }
        }
    }

    fn read(&mut self, id: LinkId, broken: bool) {
        let Some(link) = self.table.get_mut(id) else { return };
        if !self.kernel.wants_input(id) {
            return self.pause(id);
        }
        self.counters.read_calls += 1;
        let frames = &mut self.counters.frames_delivered;
        match receive(&mut self.kernel, link, &mut self.scratch, self.now, frames) {
            Ok(Received::Bytes(count, outcome)) => {
                link.active = true;
                self.counters.bytes_received += count as u64;
                self.burst_bytes += count;
                match outcome {
                    Outcome::Drained => {}
                    Outcome::Held => self.pause(id),
                    Outcome::Damaged => self.close_damaged(id),
                }
            }
            Ok(Received::End) => self.lose(id, CloseReason::ByPeer, &"the other side closed it"),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock if broken => self.lose_broken(id),
                io::ErrorKind::WouldBlock => {}
                _ => self.lose(id, reason_of(&error), &error),
            },
        }
    }

    pub fn pause(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        if !std::mem::replace(&mut link.paused, true) {
            self.paused.push(id);
            self.links.update(link);
        }
    }

    /// Whether there is a link that the kernel wants to hear again.
    fn may_resume(&mut self) -> bool {
        let Batch { kernel, table, paused, .. } = self;
        let mut open = paused.iter().filter(|id| table.get_mut(**id).is_some_and(|link| link.is_open()));
        open.any(|id| kernel.wants_input(*id))
    }

    /// Whether so much was read, or is to be sent, that it should be handed on before more is taken up.
    fn is_burst_full(&self) -> bool {
        self.burst_bytes >= self.limits.burst_bytes || self.kernel.has_burst()
    }

    /// Goes on with the links that the kernel wants to hear again. They take turns, for there may be room for one only:
    /// who waits longest comes first, and who could not say everything comes last the next time.
    fn resume_paused(&mut self) {
        let last = std::mem::take(&mut self.resuming);
        let mut waiting = std::mem::replace(&mut self.paused, last);
        waiting.retain(|id| self.stays_paused(*id));
        waiting.append(&mut self.paused);
        self.resuming = std::mem::replace(&mut self.paused, waiting);
    }

    /// Gives a paused link its turn. Whether it must wait for one still.
    fn stays_paused(&mut self, id: LinkId) -> bool {
        if self.is_burst_full() {
            return true;
        }
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_open()) else { return false };
        if !self.kernel.wants_input(id) {
            return true;
        }
        self.burst_bytes += link.partial.filled;
        match resume(&mut self.kernel, link, self.now, &mut self.counters.frames_delivered) {
            Outcome::Held => self.paused.push(id),
            Outcome::Damaged => self.close_damaged(id),
            Outcome::Drained => {
                link.paused = false;
                // With epoll the rest is in the socket, and a later event may find the room taken by others again.
                if let Links::Epoll(_) = self.links {
                    self.read(id, false);
                }
                if let Some(link) = self.table.get_mut(id) {
                    self.links.update(link);
                }
            }
        }
        false
    }

    /// Everything that follows the events of a burst: timers, replies, commands.
    fn end_burst(&mut self) -> Result<(), RuntimeError> {
        self.burst_bytes = 0;
        self.resume_paused();
        if self.now >= self.tick_at {
            self.tick_at = self.now + TICK_EVERY;
            self.kernel.tick(self.now);
            self.check_deadlines();
        }
        self.settle()?;
        // What the links that were held back have said is handed on as well.
        self.burst_bytes = 0;
        if self.ticking > TICK_EVERY {
            let enough = self.kernel.tick_every();
            if enough < self.ticking {
                self.set_ticker(enough);
            }
        }
        // A link may be heard again since something was sent or handed on: nothing else would end the next wait.
        self.unsettled |= self.may_resume();
        if self.now >= self.publish_at {
            self.publish_at = self.now + PUBLISH_EVERY;
            self.publish();
        }
        Ok(())
    }

    /// Flushes, writes and obeys until the kernel has nothing more to say.
    fn settle(&mut self) -> Result<(), RuntimeError> {
        for _ in 0..SETTLE_ROUNDS {
            // Read again: what the kernel lets out now must be judged by the time after the last row was looked at.
            self.kernel.flush(boot_nanoseconds());
            self.write_output();
            if self.sending.is_much() {
                self.submit()?;
            }
            let gone = self.after_output();
            let obeyed = self.obey()?;
            let damaged = !self.damaged.is_empty();
            while let Some(id) = self.damaged.pop() {
                self.close(id);
            }
            if !gone && !obeyed && !damaged {
                self.unsettled = false;
                return Ok(());
            }
        }
        self.unsettled = true;
        Ok(())
    }

    fn write_output(&mut self) {
        let Batch { kernel, table, sending, counters, limits, .. } = self;
        kernel.drain_output(|id, bytes| sending.send(table, counters, limits, id, bytes));
    }

    /// Tells the kernel of changed backlogs and failed links. Whether it was told of links that are gone.
    fn after_output(&mut self) -> bool {
        let mut gone = false;
        if self.sending.total_backlog > self.limits.total_backlog_bytes {
            let largest = self.table.iter_mut().max_by_key(|link| link.backlog.len());
            if let Some(link) = largest {
                self.sending.failed.push((link.id, Failure::TotalBacklogFull));
            }
        }
        while let Some(id) = self.sending.changed.pop() {
            let Some(link) = self.table.get_mut(id) else { continue };
            if link.is_open() {
                self.kernel.set_backlog(id, link.backlog.len());
            }
            self.links.update(link);
            if matches!(link.phase, Phase::Closing { .. }) && link.backlog.is_empty() {
                self.linger(id);
                gone = true;
            }
        }
        gone |= !self.sending.failed.is_empty();
        while let Some((id, failure)) = self.sending.failed.pop() {
            if matches!(failure, Failure::BacklogFull | Failure::TotalBacklogFull)
                && let Some(link) = self.table.get_mut(id)
            {
                self.counters.backlog_overflows += 1;
                let (address, waiting_bytes) = (link.address, link.backlog.len());
                self.warnings.warn(self.now, || {
                    tracing::warn!(%address, waiting_bytes, "link closed: {failure}");
                });
            }
            if !self.reads_on(id, &failure) {
                self.lose(id, failure.reason(), &failure);
            }
        }
        gone
    }

    /// Whether a link that cannot be written any more, because the other side has closed it, is only read to its end: what it has sent before may
    /// still be there. With io_uring, where sends are under way, it is lost at once.
    fn reads_on(&mut self, id: LinkId, failure: &Failure) -> bool {
        let Failure::Io(error) = failure else { return false };
        let is_closed = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if !is_closed || self.sending.deferred {
            return false;
        }
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_open() && !link.deaf) else {
            return false;
        };
        link.deaf = true;
        self.sending.total_backlog -= link.backlog.len();
        link.backlog = Backlog::default();
        self.kernel.set_backlog(id, 0);
        self.links.update(link);
        true
    }

    /// Obeys the kernel's commands. Whether there were any.
    fn obey(&mut self) -> Result<bool, RuntimeError> {
        for obeyed in 0..COMMANDS_PER_ROUND {
            match self.kernel.next_command() {
                None => return Ok(obeyed > 0),
                Some(Command::Connect { target, address }) => self.connect(target, &address),
                Some(Command::Close { link, refused }) => {
                    self.tell_refusal(link, refused);
                    self.close(link);
                }
                Some(Command::Warn { text }) => self.warnings.warn(self.now, || tracing::warn!("{text}")),
                Some(Command::Stop { reason }) => {
                    self.kernel.flush(boot_nanoseconds());
                    self.write_output();
                    self.submit()?;
                    return Err(RuntimeError::Stopped(reason));
                }
                Some(Command::End { restarts, reason }) => {
                    self.kernel.flush(boot_nanoseconds());
                    self.write_output();
                    self.submit()?;
                    return Err(RuntimeError::Left { restarts, reason });
                }
            }
        }
        Ok(true)
    }

    pub fn close_damaged(&mut self, id: LinkId) {
        if let Some(link) = self.table.get_mut(id) {
            // Nothing more is read.
            link.paused = true;
            self.links.update(link);
            if self.kernel.closes_damaged_links() {
                return;
            }
        }
        self.damaged.push(id);
    }

    /// Sends what has been handed out, then ends the link.
    fn close(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id).filter(|link| link.is_open()) else { return };
        self.hurried.push(id);
        if link.backlog.is_empty() {
            return self.linger(id);
        }
        link.phase = Phase::Closing { until: self.now + self.limits.close_within };
        self.links.update(link);
    }

    /// Somebody should look at what strangers and other versions want here; a node that is not where another one thinks it is
    /// will be tried again.
    fn tell_refusal(&mut self, id: LinkId, refused: Option<ErrorCode>) {
        let (Some(code), Some(link)) = (refused, self.table.get_mut(id)) else { return };
        let address = link.address;
        if code.is_retryable() || code == ErrorCode::NotInView {
            return tracing::debug!(%address, "link refused: {code}");
        }
        self.warnings.warn(self.now, || tracing::warn!(%address, "link refused: {code}"));
    }

    /// Ends our direction of the stream and waits for the other side to end its own.
    fn linger(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        if let Err(error) = link.socket.shutdown(Shutdown::Write) {
            return self.lose(id, reason_of(&error), &error);
        }
        link.phase = Phase::Lingering { until: self.now + self.limits.close_within };
        link.partial = Default::default();
        self.links.update(link);
        self.kernel.link_closed(self.now, id, CloseReason::Local);
    }

    /// Reads and drops what a link that was closed here still sends.
    fn discard(&mut self, id: LinkId, broken: bool) {
        let Some(link) = self.table.get_mut(id) else { return };
        self.counters.read_calls += 1;
        match (&*link.socket).read(&mut self.scratch) {
            Ok(count) if count > 0 => self.burst_bytes += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !broken => {}
            _ => {
                self.kernel.link_removed(id);
                drop(self.table.remove(&mut self.links, id));
            }
        }
    }

    /// Epoll reported an error or a reset of a link.
    pub fn lose_broken(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        match link.socket.take_error() {
            Ok(Some(error)) | Err(error) => self.lose(id, reason_of(&error), &error),
            Ok(None) => self.lose(id, CloseReason::ByPeer, &"the other side closed it"),
        }
    }

    /// A link is gone; the kernel hears of it unless it has forgotten it already.
    pub fn lose(&mut self, id: LinkId, reason: CloseReason, why: &dyn std::fmt::Display) {
        if reason == CloseReason::Local {
            self.kernel.link_ending(id);
        }
        let Some(link) = self.table.remove(&mut self.links, id) else { return };
        self.sending.total_backlog -= link.backlog.len();
        match link.phase {
            Phase::Connecting { target, .. } => {
                self.counters.connects_failed += 1;
                self.kernel.connect_failed(self.now, target);
            }
            Phase::Open { .. } | Phase::Closing { .. } => {
                tracing::debug!(address = %link.address, ?reason, "link closed: {why}");
                self.kernel.link_closed(self.now, id, reason);
            }
            Phase::Lingering { .. } => {}
        }
        self.kernel.link_removed(id);
    }

    fn check_deadlines(&mut self) {
        let now = self.now;
        if self.listener_rests_until.is_some_and(|until| now >= until)
            && let Some(listener) = &self.listener
            && self.links.listen(listener, true).is_ok()
        {
            self.listener_rests_until = None;
        }
        let mut index = 0;
        while index < self.hurried.len() {
            let id = self.hurried[index];
            let until = self.table.get_mut(id).and_then(|link| match link.phase {
                Phase::Connecting { until, .. } | Phase::Closing { until } | Phase::Lingering { until } => {
                    Some(until)
                }
                Phase::Open { .. } => None,
            });
            if until.is_some_and(|until| now < until) {
                index += 1;
                continue;
            }
            self.hurried.swap_remove(index);
            if until.is_some() {
                self.lose(id, CloseReason::Local, &"it took too long");
            }
        }
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_EVERY;
            self.sweep();
        }
    }

    /// Frees idle buffers and closes links from which no whole frame ever came.
    fn sweep(&mut self) {
        let (now, within) = (self.now, self.limits.first_frame_within);
        let mut silent = Vec::new();
        for link in self.table.iter_mut() {
            link.shrink();
            if let Phase::Open { since } = link.phase
                && !link.spoke
                && now.saturating_sub(since) > within
            {
                silent.push(link.id);
            }
        }
        for id in silent {
            self.counters.links_silent += 1;
            self.lose(id, CloseReason::Local, &"no whole frame came in time");
        }
    }

    /// Shows the counters to other threads.
    pub fn publish(&mut self) {
        self.counters.backlog_bytes = self.sending.total_backlog as u64;
        self.counters.partial_bytes =
            self.table.iter_mut().map(|link| link.partial.bytes.capacity() as u64).sum();
        self.counters.sockets = self.table.count() as u64;
        self.counters.links_paused = self.paused.len() as u64;
        self.snapshots.publish(Snapshot { node: self.kernel.counters(), links: self.counters });
    }
}
