//! Links between processes of one machine.

use std::net::SocketAddr;

/// The folder of the Unix-domain sockets of a user's processes; see [`is_private_folder`].
pub fn local_folder(user: u32) -> String {
    format!("/tmp/duet-{user}")
}

/// Whether what is found there, with its owner and its mode as the system tells them (`st_uid` and `st_mode`, links not followed), is a folder
/// that is the user's alone, so that nobody else connects to the sockets in it or pretends to be one.
pub fn is_private_folder(owner: u32, mode: u32, user: u32) -> bool {
    let (kind, others) = (mode & 0o170_000, mode & 0o077);
    owner == user && kind == 0o040_000 && others == 0
}

/// The Unix-domain socket at which a process that listens on an address takes links from its own machine: bytes cost half as much there as
/// over the loopback interface. `network` is the inode of the network namespace (`/proc/self/ns/net`), in which the address means something.
pub fn local_socket(user: u32, network: u64, address: SocketAddr) -> String {
    format!("{}/{network}-{address}", local_folder(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_of_the_user_alone_is_private() {
        assert!(is_private_folder(7, 0o040_700, 7));
        for (owner, mode) in [(0, 0o040_700), (7, 0o100_700), (7, 0o120_777), (7, 0o040_750), (7, 0o040_701)]
        {
            assert!(!is_private_folder(owner, mode, 7), "{owner} {mode:o}");
        }
    }
}
