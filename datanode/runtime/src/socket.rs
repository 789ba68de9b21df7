//! Sockets with the options that links want.

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A link whose data nobody acknowledges for this long is given up by the system. A stopped process does not count: its
/// kernel still acknowledges.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time before the system asks whether the other side still exists.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Buffers of the system for each direction of a link, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// Sets the options of a connected or accepted socket.
///
/// # Errors
/// Of the system calls.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(1)))?;
    // The system may allow less; it says so nowhere, and less is only slower.
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    Ok(())
}

/// Starts to connect without waiting.
///
/// # Errors
/// When the address cannot be resolved or the system refuses at once.
pub fn start_connecting(address: &str) -> io::Result<TcpStream> {
    let mut addresses = address.to_socket_addrs()?;
    let Some(address) = addresses.next() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}
