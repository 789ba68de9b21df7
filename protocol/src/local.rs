//! Links between processes of one machine.

use std::net::SocketAddr;

/// The folder of the Unix-domain sockets of a user's processes. It must be the user's alone (mode 700), so that nobody else connects to
/// them or pretends to be one.
pub fn local_folder(user: u32) -> String {
    format!("/tmp/duet-{user}")
}

/// The Unix-domain socket at which a process that listens on an address takes links from its own machine: bytes cost half as much there as
/// over the loopback interface. `network` is the inode of the network namespace (`/proc/self/ns/net`), in which the address means something.
pub fn local_socket(user: u32, network: u64, address: SocketAddr) -> String {
    format!("{}/{network}-{address}", local_folder(user))
}
