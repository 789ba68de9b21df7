//! Links of the asynchronous client: over the network, or within the machine.

use duet_protocol::local::{local_folder, local_socket};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// A link.
#[derive(Debug)]
pub(crate) enum Stream {
    Network(TcpStream),
    Local(UnixStream),
}

/// Opens a link to an address, which may be a name.
pub(crate) async fn connect(address: &str) -> io::Result<Stream> {
    let addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    for address in &addresses {
        // Whatever is in the way, the network remains.
        if let Ok(stream) = connect_locally(*address).await {
            return Ok(Stream::Local(stream));
        }
    }
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::Network(stream))
}

/// A link to who listens on an address of this machine, if that is a process of this user.
async fn connect_locally(address: SocketAddr) -> io::Result<UnixStream> {
    let user = std::fs::metadata("/proc/self")?.uid();
    let folder = std::fs::symlink_metadata(local_folder(user))?;
    if !folder.is_dir() || folder.uid() != user || folder.mode() & 0o077 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let network = std::fs::metadata("/proc/self/ns/net")?.ino();
    UnixStream::connect(local_socket(user, network, address)).await
}

impl Stream {
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Network(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Local(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Network(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Local(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }
}
