//! Links of both clients: over the network, or within the machine where the system has sockets of the Unix domain.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// What the bytes of the asynchronous client go through.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Connection for S {}

/// A link of the asynchronous client.
pub(crate) type Stream = Box<dyn Connection>;

/// What the bytes of the blocking client go through.
pub(crate) trait BlockingConnection: Read + Write + Send {}

impl<S: Read + Write + Send> BlockingConnection for S {}

/// A link of the blocking client.
pub(crate) type BlockingStream = Box<dyn BlockingConnection>;

/// Whether a write failed because the other side takes nothing any more; what it has sent may still be read to its end.
pub(crate) fn is_deaf(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Opens a link to an address, which may be a name.
pub(crate) async fn connect(address: &str) -> io::Result<Stream> {
    let addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    #[cfg(unix)]
    for address in &addresses {
        // Whatever is in the way, the network remains.
        if let Ok(path) = within_machine::path(*address)
            && let Ok(stream) = tokio::net::UnixStream::connect(path).await
        {
            return Ok(Box::new(stream));
        }
    }
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Opens a link to an address, which may be a name, and lets no call of it wait longer than `turn`.
pub(crate) fn connect_blocking(
    address: &str,
    within: Duration,
    turn: Duration,
) -> io::Result<BlockingStream> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    #[cfg(unix)]
    for address in &addresses {
        if let Ok(stream) = within_machine::connect_blocking(*address, turn) {
            return Ok(Box::new(stream));
        }
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the address names no host");
    for address in &addresses {
        match std::net::TcpStream::connect_timeout(address, within) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(turn))?;
                stream.set_write_timeout(Some(turn))?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(unix)]
mod within_machine {
    use duet_protocol::local::{is_private_folder, local_folder, local_socket};
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::io;
    use std::net::SocketAddr;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The socket of who listens on an address of this machine, if that is a process of this user.
    pub(super) fn path(address: SocketAddr) -> io::Result<String> {
        let user = std::fs::metadata("/proc/self")?.uid();
        let folder = std::fs::symlink_metadata(local_folder(user))?;
        if !is_private_folder(folder.uid(), folder.mode(), user) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let network = std::fs::metadata("/proc/self/ns/net")?.ino();
        Ok(local_socket(user, network, address))
    }

    /// A link to that socket.
    pub(super) fn connect_blocking(address: SocketAddr, turn: Duration) -> io::Result<UnixStream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose queue is full would be waited for without end.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path(address)?)?)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(turn))?;
        socket.set_write_timeout(Some(turn))?;
        Ok(socket.into())
    }
}
