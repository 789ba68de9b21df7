//! The process of the yardstick server: one thread, one epoll loop.

use super::echo;
use super::store::Store;
use crate::connection::Endpoint;
use crate::options::Say;
use anyhow::{Context, Result};
use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most connections at a time.
const MOST_CONNECTIONS: usize = 1024;
const INPUT_BYTES: usize = 256 * 1024;
/// No more requests are executed for a connection while so many bytes wait to be sent to it.
const MOST_OUTPUT_BYTES: usize = 256 * 1024;
const LISTENER: Token = Token(MOST_CONNECTIONS);

/// Size of the yardstick server's table.
#[derive(Debug, Clone, clap::Args)]
pub struct FloorServerOptions {
    /// Most rows.
    #[arg(long)]
    pub rows: u64,
    /// Bytes of a value.
    #[arg(long)]
    pub value_bytes: usize,
    /// Listen at this socket of the Unix domain, which must not exist, instead of a port.
    #[arg(long)]
    pub unix: Option<PathBuf>,
    /// End when standard input ends.
    #[arg(long)]
    pub parent_pipe: bool,
}

/// Runs the server on free loopback ports until the process is killed, after one line on standard output:
/// `{"ready":"floor","listen":"127.0.0.1:4567","echo":"127.0.0.1:4568"}`; `listen` is null with a socket of the Unix domain.
///
/// # Errors
/// A port cannot be opened or the event loop fails.
pub fn serve(options: &FloorServerOptions, say: Say<'_>) -> Result<()> {
    if options.parent_pipe {
        std::thread::spawn(|| {
            // Whether it ends or breaks, the parent is gone.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(0);
        });
    }
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let echo = echo::start_server(loopback)?;
    let store = Store::new(options.rows, options.value_bytes).context("the table")?;
    let endpoint = options.unix.clone().map_or(Endpoint::Tcp(loopback), Endpoint::Unix);
    let server = Server::bind(&endpoint, store)?;
    let ready = serde_json::json!({ "ready": "floor", "listen": server.address()?, "echo": echo });
    say(format_args!("{ready}"))?;
    server.run()
}

/// The event loop.
pub(super) struct Server {
    poll: Poll,
    listener: Listener,
    store: Store,
    connections: Vec<Option<Connection>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // A connection that was closed already ends at its first read.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept()?.0)),
        }
    }
}

trait Stream: Read + Write + Source + Send {}

impl<S: Read + Write + Source + Send> Stream for S {}

struct Connection {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// Bytes of `input` that are filled.
    filled: usize,
    output: Vec<u8>,
    /// Bytes of `output` that are sent.
    sent: usize,
}

impl Server {
    pub(super) fn bind(endpoint: &Endpoint, store: Store) -> Result<Self> {
        let poll = Poll::new().context("epoll")?;
        let registry = poll.registry();
        let refused = || format!("cannot listen on {endpoint}");
        let listener = match endpoint {
            Endpoint::Tcp(address) => {
                let mut listener = TcpListener::bind(*address).with_context(refused)?;
                registry.register(&mut listener, LISTENER, Interest::READABLE).context("epoll")?;
                Listener::Tcp(listener)
            }
            Endpoint::Unix(path) => {
                let mut listener = UnixListener::bind(path).with_context(refused)?;
                registry.register(&mut listener, LISTENER, Interest::READABLE).context("epoll")?;
                Listener::Unix(listener)
            }
        };
        Ok(Self { poll, listener, store, connections: Vec::new() })
    }

    /// The port, unless it listens in the Unix domain.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().map(Some).context("the listener has no address"),
            Listener::Unix(_) => Ok(None),
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("epoll"),
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept();
                    continue;
                }
                let Some(slot) = self.connections.get_mut(event.token().0) else { continue };
                if slot.as_mut().is_some_and(|connection| connection.turn(&mut self.store).is_err()) {
                    // Closed by dropping it.
                    *slot = None;
                }
            }
        }
    }

    fn accept(&mut self) {
        // Anything but a connection ends the round; the listener reports again.
        while let Ok(stream) = self.listener.accept() {
            let free = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
            if free == MOST_CONNECTIONS {
                continue;
            }
            let Ok(connection) = Connection::register(stream, self.poll.registry(), Token(free)) else {
                continue;
            };
            if free == self.connections.len() {
                self.connections.push(None);
            }
            self.connections[free] = Some(connection);
        }
    }
}

/// The connection ended, failed or sent garbage.
struct Closed;

impl Connection {
    fn register(mut stream: Box<dyn Stream>, registry: &Registry, token: Token) -> std::io::Result<Self> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let output = Vec::with_capacity(MOST_OUTPUT_BYTES);
        Ok(Self { stream, input: vec![0; INPUT_BYTES], filled: 0, output, sent: 0 })
    }

    /// Receives, executes and sends until the socket has no more for us or takes no more from us.
    fn turn(&mut self, store: &mut Store) -> Result<(), Closed> {
        loop {
            if !self.flush()? {
                return Ok(());
            }
            let done = store.execute(&self.input[..self.filled], &mut self.output, MOST_OUTPUT_BYTES);
            let done = done.map_err(|_| Closed)?;
            self.input.copy_within(done..self.filled, 0);
            self.filled -= done;
            if done > 0 {
                continue;
            }
            let room = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(Closed),
                Ok(count) => {
                    self.filled += count;
                    if count < room {
                        // A short read of a stream means that nothing is left, so another read is saved; what comes
                        // later is a new event (epoll(7), question 9).
                        return self.answer(store);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Executes what was received and sends the replies as far as the socket takes them.
    fn answer(&mut self, store: &mut Store) -> Result<(), Closed> {
        loop {
            let done = store.execute(&self.input[..self.filled], &mut self.output, MOST_OUTPUT_BYTES);
            let done = done.map_err(|_| Closed)?;
            self.input.copy_within(done..self.filled, 0);
            self.filled -= done;
            if done == 0 || !self.flush()? {
                return Ok(());
            }
        }
    }

    /// Sends the output; `false` if the socket takes no more.
    fn flush(&mut self) -> Result<bool, Closed> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(Closed),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(true)
    }
}
