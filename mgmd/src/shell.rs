//! The management node and everything it drives, shared by the tasks of one thread.
//!
//! A task borrows the shell, hands an event to the node, and calls [`pump`], which does what the node asks for. No borrow
//! lives across an `await`.

use crate::connection::{self, Connection};
use crate::directory::LogFile;
use crate::metrics::SharedGauges;
use duet_mgmd_core::{CloseReason, Command, LinkId, LogLevel, ManagementNode, Nanoseconds, Persist};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Time for a connection to another management node to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Looks whether everything is sent before the process ends, and the time between them.
const SENT_LOOKS: u32 = 50;
const SENT_LOOK_EVERY: Duration = Duration::from_millis(10);

/// The shell as its tasks hold it.
pub(crate) type SharedShell = Rc<RefCell<Shell>>;

/// A management node with its sockets and its log.
pub(crate) struct Shell {
    /// The node.
    pub(crate) node: ManagementNode,
    /// Tells the main task that [`Shell::stop_reason`] is set.
    pub(crate) stopped: Rc<Notify>,
    started: Instant,
    connections: Vec<Option<Connection>>,
    generation: u32,
    /// Absent while a write is under way.
    log: Option<LogFile>,
    gauges: SharedGauges,
    stop_reason: Option<String>,
    /// Whether the process is to start again, once it was told to end.
    restarts: Option<bool>,
}

impl Shell {
    /// A shell without connections.
    pub(crate) fn new(
        node: ManagementNode,
        log: LogFile,
        started: Instant,
        gauges: SharedGauges,
    ) -> SharedShell {
        Rc::new(RefCell::new(Shell {
            node,
            stopped: Rc::new(Notify::new()),
            started,
            connections: Vec::new(),
            generation: 0,
            log: Some(log),
            gauges,
            stop_reason: None,
            restarts: None,
        }))
    }

    /// The time as the node is told.
    pub(crate) fn now(&self) -> Nanoseconds {
        elapsed(self.started)
    }

    /// Why the process must end, if it must.
    pub(crate) fn stop_reason(&self) -> Option<&str> {
        self.stop_reason.as_deref()
    }

    /// Whether the process is to start again, once it was told to end.
    pub(crate) fn restarts(&self) -> Option<bool> {
        self.restarts
    }

    /// Connections open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Gives a new connection its name.
    pub(crate) fn add_connection(&mut self) -> LinkId {
        let free = self.connections.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let link = LinkId { slot: slot as u32, generation: self.generation };
        self.connections[slot] = Some(Connection::new(link));
        link
    }

    /// The connection of this name, if it is still there.
    pub(crate) fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        self.connections.get_mut(link.slot as usize)?.as_mut().filter(|connection| connection.link == link)
    }

    /// The connection is gone.
    pub(crate) fn remove_connection(&mut self, link: LinkId, reason: CloseReason) {
        if self.connection(link).is_some() {
            self.connections[link.slot as usize] = None;
            let now = self.now();
            self.node.link_closed(now, link, reason);
        }
    }

    /// Publishes the gauges.
    pub(crate) fn publish_gauges(&self) {
        let gauges = self.node.gauges(self.now());
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }

    fn stop(&mut self, reason: String) {
        if self.stop_reason.is_none() {
            self.stop_reason = Some(reason);
            self.stopped.notify_one();
        }
    }

    fn hand_out_output(&mut self) {
        let connections = &mut self.connections;
        let mut touched = Vec::new();
        self.node.drain_output(|link, bytes| {
            let slot = connections.get_mut(link.slot as usize).and_then(Option::as_mut);
            if let Some(connection) = slot.filter(|connection| connection.link == link) {
                connection.output.extend_from_slice(bytes);
                connection.has_output.notify_one();
                touched.push((link, connection.unsent_bytes()));
            }
        });
        for (link, unsent) in touched {
            self.node.set_backlog(link, unsent);
        }
    }
}

/// Nanoseconds since `started`.
pub(crate) fn elapsed(started: Instant) -> Nanoseconds {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Does what the node asks for after events.
pub(crate) fn pump(shared: &SharedShell) {
    loop {
        let mut shell = shared.borrow_mut();
        let now = shell.now();
        shell.node.flush(now);
        shell.hand_out_output();
        if let Some(write) = shell.node.next_persist() {
            match shell.log.take() {
                Some(log) => drop(tokio::task::spawn_local(persist(Rc::clone(shared), log, write))),
                None => shell.stop("two writes at once".to_owned()),
            }
        }
        let Some(command) = shell.node.next_command() else { return };
        obey(shared, &mut shell, command);
        while let Some(command) = shell.node.next_command() {
            obey(shared, &mut shell, command);
        }
    }
}

fn obey(shared: &SharedShell, shell: &mut Shell, command: Command) {
    match command {
        Command::Connect { node, address } => {
            tokio::task::spawn_local(connect(Rc::clone(shared), node, address));
        }
        Command::Close { link } => {
            if let Some(connection) = shell.connection(link) {
                connection.closing = true;
                connection.has_output.notify_one();
                connection.may_read.notify_one();
            }
        }
        Command::Log { level: LogLevel::Info, text } => tracing::info!("{text}"),
        Command::Log { level: LogLevel::Warning, text } => tracing::warn!("{text}"),
        Command::Stop { reason } => shell.stop(reason),
        Command::End { restarts } => {
            shell.restarts = Some(restarts);
            tokio::task::spawn_local(end_when_sent(Rc::clone(shared), Rc::clone(&shell.stopped)));
        }
    }
}

/// The process ends when everything was sent, or after a while.
async fn end_when_sent(shared: SharedShell, stopped: Rc<Notify>) {
    let is_sent = || shared.borrow().connections.iter().flatten().all(|found| found.unsent_bytes() == 0);
    for _ in 0..SENT_LOOKS {
        tokio::time::sleep(SENT_LOOK_EVERY).await;
        if is_sent() {
            break;
        }
    }
    stopped.notify_one();
}

async fn persist(shared: SharedShell, mut log: LogFile, write: Persist) {
    let written = tokio::task::spawn_blocking(move || {
        let result = log.write(&write);
        (log, write.number, result)
    })
    .await;
    match written {
        Ok((log, number, Ok(()))) => {
            let mut shell = shared.borrow_mut();
            shell.log = Some(log);
            let now = shell.now();
            shell.node.persisted(now, number);
        }
        Ok((_, _, Err(error))) => {
            shared.borrow_mut().stop(format!("the log cannot be made durable: {error}"));
        }
        Err(error) => shared.borrow_mut().stop(format!("the writer of the log failed: {error}")),
    }
    pump(&shared);
}

async fn connect(shared: SharedShell, node: u32, address: String) {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await {
        Ok(Ok(stream)) => {
            let link = {
                let mut shell = shared.borrow_mut();
                let link = shell.add_connection();
                let now = shell.now();
                shell.node.link_connected(now, link, node);
                link
            };
            pump(&shared);
            connection::serve(shared, stream, link).await;
        }
        Ok(Err(_)) | Err(_) => {
            {
                let mut shell = shared.borrow_mut();
                let now = shell.now();
                shell.node.connect_failed(now, node);
            }
            pump(&shared);
        }
    }
}
