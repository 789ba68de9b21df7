//! Sockets: listening, accepting, connecting, and the options that all links share.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;
/// Silence after which the system asks whether the other side is still there, and how often.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Time without any progress after which the system gives a connection up. Peers need at least twice their lease
/// of 500 ms; a peer that is stopped for minutes must still find its link when it goes on. Its receive window is
/// closed then, and Linux counts that as no progress although the probes are answered.
const USER_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error("the address {0} is in use by another process; choose another port, or port 0 for a free one")]
    InUse(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// A listening socket, not blocking.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes a free port.
    ///
    /// # Errors
    /// A [`ListenError`], which is a sentence for people.
    pub fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
        let open = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            // Accepted connections inherit it.
            set_congestion_control(&socket, address);
            socket.bind(&address.into())?;
            socket.listen(LISTEN_BACKLOG)?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            Ok(Listener { socket, address: bound })
        };
        open().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address),
            _ => ListenError::Other(address, error),
        })
    }

    /// The address with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same listening socket for another thread.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(crate) fn share(&self) -> io::Result<Listener> {
        Ok(Listener { socket: self.socket.try_clone()?, address: self.address })
    }

    /// The next waiting connection, not blocking.
    pub(crate) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (socket, address) = self.socket.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
        let address = address.as_socket().unwrap_or(self.address);
        Ok((socket, address))
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Starts a connection; it is open when the socket becomes writable without an error.
pub(crate) fn start_connect(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    set_options(&socket)?;
    set_congestion_control(&socket, address);
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// How a started connection ended.
pub(crate) fn finish_connect(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // A connection to a free local port may meet itself, because both ends draw from the same range of ports.
    let (here, there) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
    if here == there {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// Nothing is lost or queued inside a machine, so the simplest algorithm does; one that paces (BBR, a frequent default)
/// pays for timers there. Between machines the system's choice stays, and where this one is missing too.
fn set_congestion_control(socket: &Socket, address: SocketAddr) {
    if address.ip().is_loopback() {
        let _ = socket.set_tcp_congestion(b"reno");
    }
}

/// Buffer sizes are left to the system, which grows them with the measured bandwidth.
pub(crate) fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    socket.set_tcp_keepalive(&keep_alive)?;
    SockRef::from(socket).set_tcp_user_timeout(Some(USER_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_in_use_is_said_in_a_sentence() {
        let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let error = Listener::bind(first.address()).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)));
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
