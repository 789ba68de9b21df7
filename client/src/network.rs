//! Links of the asynchronous client: over the network, or within the machine where the system has sockets of the Unix domain.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// What bytes go through.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Connection for S {}

/// A link.
pub(crate) type Stream = Box<dyn Connection>;

/// Opens a link to an address, which may be a name.
pub(crate) async fn connect(address: &str) -> io::Result<Stream> {
    let addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    #[cfg(unix)]
    for address in &addresses {
        // Whatever is in the way, the network remains.
        if let Ok(stream) = within_machine::connect(*address).await {
            return Ok(Box::new(stream));
        }
    }
    let stream = TcpStream::connect(addresses.as_slice()).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
mod within_machine {
    use duet_protocol::local::{is_private_folder, local_folder, local_socket};
    use std::io;
    use std::net::SocketAddr;
    use std::os::unix::fs::MetadataExt;
    use tokio::net::UnixStream;

    /// A link to who listens on an address of this machine, if that is a process of this user.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<UnixStream> {
        let user = std::fs::metadata("/proc/self")?.uid();
        let folder = std::fs::symlink_metadata(local_folder(user))?;
        if !is_private_folder(folder.uid(), folder.mode(), user) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let network = std::fs::metadata("/proc/self/ns/net")?.ino();
        UnixStream::connect(local_socket(user, network, address)).await
    }
}
