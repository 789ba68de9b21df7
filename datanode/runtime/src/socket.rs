//! Sockets: listening, accepting, connecting, and the options that all links share.

use crate::poll::{Interest, Poll};
use duet_protocol::local::{is_private_folder, local_folder, local_socket};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;
/// Bytes on their way to a process of this machine, if the system allows so many.
const LOCAL_BUFFER_BYTES: usize = 1 << 20;
/// Age of a file of a socket that nobody has open, after which it is removed.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(60);
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

/// Where connections come in, not blocking. Clones are the same for other threads.
#[derive(Clone, Debug)]
pub struct Listener {
    sockets: Arc<Listening>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Listening {
    /// For links from this machine; it goes before the port does.
    local: Option<Local>,
    network: Socket,
    /// Ready when one of them is.
    any: Poll,
}

/// A socket of the Unix domain with its file.
#[derive(Debug)]
struct Local {
    socket: Socket,
    path: String,
}

impl Listener {
    /// Listens on an address; port 0 takes a free port. `locally`: also for links from this machine at a socket of the Unix domain, where that can
    /// be opened and the address is not that of every interface.
    ///
    /// # Errors
    /// A [`ListenError`], which is a sentence for people.
    pub fn bind(address: SocketAddr, locally: bool) -> Result<Listener, ListenError> {
        let open = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            // Accepted connections inherit it.
            set_congestion_control(&socket, address);
            socket.bind(&address.into())?;
            socket.listen(LISTEN_BACKLOG)?;
            let bound = socket.local_addr()?.as_socket().unwrap_or(address);
            let any = Poll::new()?;
            any.add(&socket, 0, Interest::READ)?;
            let local =
                if locally && !bound.ip().is_unspecified() { Local::listen(bound, &any) } else { None };
            Ok(Listener { sockets: Arc::new(Listening { network: socket, local, any }), address: bound })
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

    /// The next waiting connection, not blocking. One from this machine has the address that is listened on.
    pub(crate) fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let accept = |socket: &Socket| socket.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        let local = self.sockets.local.as_ref().map(|local| accept(&local.socket));
        let (socket, address) = match local {
            Some(Ok(accepted)) => accepted,
            _ => accept(&self.sockets.network)?,
        };
        let address = address.as_socket().unwrap_or(self.address);
        Ok((socket, address))
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.sockets.any.as_raw_fd()
    }
}

impl Local {
    /// Listens for links from this machine, if the system lets us. Who has the port owns the name.
    fn listen(address: SocketAddr, any: &Poll) -> Option<Local> {
        let open = || {
            let folder = local_folder(user()?);
            let _ = DirBuilder::new().mode(0o700).create(&folder);
            let path = local_path(address)?;
            // Files are small; some may stay.
            let _ = remove_leftovers(&folder);
            let _ = std::fs::remove_file(&path);
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::unix(&path)?)?;
            let local = Local { socket, path };
            local.socket.listen(LISTEN_BACKLOG)?;
            any.add(&local.socket, 1, Interest::READ)?;
            Ok(local)
        };
        open()
            .inspect_err(|error: &io::Error| tracing::info!(%address, %error, "no links within the machine"))
            .ok()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Without it nothing connects, which is what its absence says, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the files of processes of this network that were killed: nobody has them open, and not since just now.
fn remove_leftovers(folder: &str) -> io::Result<()> {
    let prefix = format!("{}-", network()?);
    let mut old = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        // One that is gone meanwhile is as new as can be.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
        if age > LEFT_OVER_AFTER && entry.file_name().to_string_lossy().starts_with(&prefix) {
            old.push(entry.path());
        }
    }
    let table = std::fs::read_to_string("/proc/net/unix")?;
    let open: BTreeSet<&Path> = table.split_ascii_whitespace().map(Path::new).collect();
    for path in old.iter().filter(|path| !open.contains(path.as_path())) {
        // Others may do the same.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// The network namespace that this process runs in.
fn network() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/self/ns/net")?.ino())
}

/// The user that this process runs as.
fn user() -> io::Result<u32> {
    Ok(std::fs::metadata("/proc/self")?.uid())
}

/// Where processes of this user listen for links from this machine, if only they can.
fn local_path(address: SocketAddr) -> io::Result<String> {
    let user = user()?;
    let folder = std::fs::symlink_metadata(local_folder(user))?;
    if !is_private_folder(folder.uid(), folder.mode(), user) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(local_socket(user, network()?, address))
}

/// A link to who listens on an address of this machine, if that is a process of this user.
fn connect_locally(address: SocketAddr) -> io::Result<Socket> {
    let path = SockAddr::unix(local_path(address)?)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&path)?;
    set_options(&socket)?;
    Ok(socket)
}

/// Starts a connection; it is open when the socket becomes writable without an error.
pub(crate) fn start_connect(address: SocketAddr) -> io::Result<Socket> {
    // Whatever is in the way, the network remains.
    if let Ok(socket) = connect_locally(address) {
        return Ok(socket);
    }
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
    if here.is_some() && here == there {
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

/// Buffer sizes are left to the system, which grows them with the measured bandwidth; not those of links within the machine.
pub(crate) fn set_options(socket: &Socket) -> io::Result<()> {
    if socket.domain()? == Domain::UNIX {
        return socket.set_send_buffer_size(LOCAL_BUFFER_BYTES);
    }
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    socket.set_tcp_keepalive(&keep_alive)?;
    SockRef::from(socket).set_tcp_user_timeout(Some(USER_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;

    #[test]
    fn a_port_in_use_is_said_in_a_sentence() {
        let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
        let error = Listener::bind(first.address(), true).unwrap_err();
        assert!(matches!(error, ListenError::InUse(_)));
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }

    fn connected(listener: &Listener) -> (Socket, Socket) {
        let socket = start_connect(listener.address()).unwrap();
        let accepted = std::iter::repeat_with(|| listener.accept())
            .find(|accepted| !matches!(accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock));
        let accepted = accepted.unwrap().unwrap();
        assert_eq!(finish_connect(&socket).map_err(|error| error.kind()), Ok(()));
        set_options(&accepted.0).unwrap();
        (socket, accepted.0)
    }

    #[test]
    fn links_within_the_machine_are_local_where_somebody_listens_for_them() {
        for locally in [true, false] {
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), locally).unwrap();
            let (socket, accepted) = connected(&listener);
            for socket in [&socket, &accepted] {
                assert_eq!(socket.domain().unwrap() == Domain::UNIX, locally);
            }
            (&socket).write_all(b"here").unwrap();
            accepted.set_nonblocking(false).unwrap();
            let mut bytes = [0; 4];
            (&accepted).read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"here");
            let address = listener.address();
            drop(listener);
            assert!(connect_locally(address).is_err(), "the name ends with who listens");
        }
    }

    #[test]
    fn a_file_that_a_killed_process_left_is_replaced() {
        let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
        let address = first.address();
        let path = local_path(address).unwrap();
        drop(first);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(
            connect_locally(address).map_err(|error| error.kind()).unwrap_err(),
            io::ErrorKind::ConnectionRefused
        );
        let listener = Listener::bind(address, true).unwrap();
        let (socket, _) = connected(&listener);
        assert_eq!(socket.domain().unwrap(), Domain::UNIX);
        drop(std::os::unix::net::UnixListener::bind(format!("{path}-old")).unwrap());
        let age = |path: &str| {
            let touched = std::process::Command::new("touch").args(["-d", "2 minutes ago", path]).status();
            assert!(touched.unwrap().success());
        };
        age(&path);
        age(&format!("{path}-old"));
        remove_leftovers(&local_folder(user().unwrap())).unwrap();
        assert!(Path::new(&path).exists(), "it is open");
        assert!(!Path::new(&format!("{path}-old")).exists());
        drop(listener);
        assert!(!Path::new(&path).exists());
    }
}
