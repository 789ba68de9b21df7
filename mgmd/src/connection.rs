//! One socket: bytes into frames for the node, and the node's bytes out.

use crate::shell::{SharedShell, pump};
use duet_mgmd_core::{CloseReason, LinkId};
use duet_protocol::frame::announced_length;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// Bytes asked of the system at once.
const READ_BYTES: usize = 64 << 10;
/// A buffer that has grown beyond this is given back when it is empty.
const KEEP_BUFFER_BYTES: usize = 1 << 20;
/// Time for the other side of a closed connection to read the last words and close too.
const LINGER: Duration = Duration::from_millis(500);
/// Time for the last words to be accepted by the system.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// Unacknowledged bytes for so long mean that the other machine is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the shell knows of an open socket.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its name.
    pub(crate) link: LinkId,
    /// Bytes to send.
    pub(crate) output: Vec<u8>,
    /// Send what is there, then close.
    pub(crate) closing: bool,
    /// There is something to send, or the connection closes.
    pub(crate) has_output: Rc<Notify>,
    /// Reading may go on.
    pub(crate) may_read: Rc<Notify>,
    /// Bytes that the writer has taken and the system has not.
    in_writer: usize,
}

impl Connection {
    /// A connection with nothing to send.
    pub(crate) fn new(link: LinkId) -> Connection {
        Connection {
            link,
            output: Vec::new(),
            closing: false,
            has_output: Rc::new(Notify::new()),
            may_read: Rc::new(Notify::new()),
            in_writer: 0,
        }
    }

    /// Bytes that the system has not accepted.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.output.len() + self.in_writer
    }
}

/// Serves a connection until either side closes it.
pub(crate) async fn serve(shared: SharedShell, stream: TcpStream, link: LinkId) {
    if let Err(error) = configure(&stream) {
        tracing::debug!("socket options: {error}");
    }
    let (reader, writer) = stream.into_split();
    let reason = tokio::select! {
        reason = read(&shared, reader, link) => reason,
        reason = write(&shared, writer, link) => reason,
    };
    shared.borrow_mut().remove_connection(link, reason);
    pump(&shared);
}

fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(USER_TIMEOUT).with_interval(Duration::from_secs(1)),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

async fn read(shared: &SharedShell, mut reader: OwnedReadHalf, link: LinkId) -> CloseReason {
    let mut buffer = Vec::new();
    loop {
        if !wait_until_readable(shared, link).await {
            return CloseReason::Local;
        }
        buffer.reserve(READ_BYTES);
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return CloseReason::ByPeer,
            Ok(_) => {}
        }
        consume(shared, link, &mut buffer);
        pump(shared);
    }
}

/// Waits while answers pile up; `false` when the connection is gone. A closing connection is read and ignored, so that
/// its last words are not lost to a reset.
async fn wait_until_readable(shared: &SharedShell, link: LinkId) -> bool {
    loop {
        let may_read = {
            let mut shell = shared.borrow_mut();
            let wanted = shell.node.wants_input(link);
            match shell.connection(link) {
                Some(connection) if wanted || connection.closing => return true,
                Some(connection) => Rc::clone(&connection.may_read),
                None => return false,
            }
        };
        may_read.notified().await;
    }
}

fn consume(shared: &SharedShell, link: LinkId, buffer: &mut Vec<u8>) {
    let mut shell = shared.borrow_mut();
    let now = shell.now();
    let mut done = 0;
    loop {
        if shell.connection(link).is_none_or(|connection| connection.closing) {
            done = buffer.len();
            break;
        }
        let rest = &buffer[done..];
        match announced_length(rest, shell.node.frame_limit(link)) {
            Ok(Some(length)) if length <= rest.len() => {
                shell.node.frame(now, link, &rest[..length]);
                done += length;
            }
            Ok(Some(_) | None) => break,
            Err(code) => {
                shell.node.damaged(now, link, code);
                done = buffer.len();
                break;
            }
        }
    }
    buffer.drain(..done);
    if buffer.is_empty() && buffer.capacity() > KEEP_BUFFER_BYTES {
        *buffer = Vec::new();
    }
}

async fn write(shared: &SharedShell, mut writer: OwnedWriteHalf, link: LinkId) -> CloseReason {
    let mut bytes = Vec::new();
    loop {
        let (has_output, closing) = {
            let mut shell = shared.borrow_mut();
            let Some(connection) = shell.connection(link) else { return CloseReason::Local };
            std::mem::swap(&mut bytes, &mut connection.output);
            connection.in_writer = bytes.len();
            (Rc::clone(&connection.has_output), connection.closing)
        };
        if bytes.is_empty() {
            if closing {
                // An error here means that the other side is gone already.
                let _ = writer.shutdown().await;
                tokio::time::sleep(LINGER).await;
                return CloseReason::Local;
            }
            has_output.notified().await;
            continue;
        }
        let sending = writer.write_all(&bytes);
        let sent = if closing {
            tokio::time::timeout(LAST_WORDS_TIMEOUT, sending)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            tokio::select! {
                sent = sending => sent,
                () = closed_for_long(shared, link) => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        if sent.is_err() {
            return CloseReason::ByPeer;
        }
        bytes.clear();
        if bytes.capacity() > KEEP_BUFFER_BYTES {
            bytes = Vec::new();
        }
        accepted(shared, link);
    }
}

/// The system has taken what the writer had.
fn accepted(shared: &SharedShell, link: LinkId) {
    let mut shell = shared.borrow_mut();
    let Some(connection) = shell.connection(link) else { return };
    connection.in_writer = 0;
    let unsent = connection.unsent_bytes();
    let may_read = Rc::clone(&connection.may_read);
    shell.node.set_backlog(link, unsent);
    if shell.node.wants_input(link) {
        may_read.notify_one();
    }
}

/// Returns when the connection has been closing for so long that its last words are given up.
async fn closed_for_long(shared: &SharedShell, link: LinkId) {
    let mut closing_for = Duration::ZERO;
    while closing_for < LAST_WORDS_TIMEOUT {
        tokio::time::sleep(LINGER).await;
        if shared.borrow_mut().connection(link).is_none_or(|connection| connection.closing) {
            closing_for += LINGER;
        }
    }
}
