//! Links between processes of one machine.

use std::net::SocketAddr;

/// The name of the Unix-domain socket, in Linux's abstract namespace, at which a process that listens on an address takes links from its own
/// machine: bytes cost half as much there as over the loopback interface. The namespace is that of the network, so nobody sees a name of
/// another machine's; nor is one left when a process ends. It begins with a zero byte, as the system wants it.
pub fn local_name(address: SocketAddr) -> String {
    format!("\0duet/{address}")
}
