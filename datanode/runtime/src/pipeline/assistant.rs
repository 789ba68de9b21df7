//! Send assistance: a thread that sends on links whose receiver is another thread.
//!
//! The receiver owns the link. The assistant sends as long as the system takes everything; what it does not take, and all
//! that follows, is passed to the owner, which knows how to wait for room. When the owner has sent it all it says how many
//! messages that were; if the assistant has not passed on more meanwhile it may send itself again. Two threads therefore
//! never write to one stream at the same time, and bytes keep their order.

use super::message::ToAssistant;
use duet_datanode_core::LinkId;
use duet_memory::Section;
use socket2::Socket;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Assisted {
    generation: u32,
    /// None until the owner has said that the link is open.
    socket: Option<Arc<Socket>>,
    /// Messages passed to the owner.
    passed: u64,
    /// Whether the owner has sent all of them.
    direct: bool,
}

/// Links that this thread sends on, by slot.
#[derive(Default)]
pub(crate) struct Assistant {
    links: BTreeMap<u32, Assisted>,
}

impl Assistant {
    /// What an owner says of a link.
    pub fn told(&mut self, message: ToAssistant) {
        match message {
            ToAssistant::Opened(link, socket) => {
                let known = self.entry(link);
                known.socket = Some(socket);
                known.direct = known.passed == 0;
            }
            ToAssistant::Resume(link, taken) => {
                let known = self.entry(link);
                known.direct = known.passed == taken && known.socket.is_some();
            }
            ToAssistant::Removed(link) => {
                if self.links.get(&link.slot).is_some_and(|known| known.generation == link.generation) {
                    self.links.remove(&link.slot);
                }
            }
        }
    }

    /// The entry of a link; an earlier link of the same slot is forgotten.
    fn entry(&mut self, link: LinkId) -> &mut Assisted {
        let LinkId { slot, generation } = link;
        let new = || Assisted { generation, socket: None, passed: 0, direct: false };
        let known = self.links.entry(slot).or_insert_with(new);
        if known.generation != generation {
            *known = new();
        }
        known
    }

    /// Sends bytes, or returns what the owner must send.
    pub fn send(&mut self, link: LinkId, bytes: &Section) -> Option<Section> {
        let known = self.entry(link);
        let mut sent = 0;
        if known.direct
            && let Some(socket) = &known.socket
        {
            // An error is met by the owner again, who closes the link.
            sent = socket.send_with_flags(bytes, libc::MSG_NOSIGNAL).unwrap_or(0);
        }
        if sent == bytes.len() {
            return None;
        }
        known.direct = false;
        known.passed += 1;
        Some(bytes.slice(sent..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duet_memory::SectionPool;
    use std::io::Read;

    fn section(pool: &SectionPool, bytes: &[u8]) -> Section {
        let mut section = pool.take(bytes.len());
        section.extend_from_slice(bytes);
        section.freeze()
    }

    #[test]
    fn what_the_system_does_not_take_is_passed_on_until_the_owner_has_caught_up() {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let pool = SectionPool::new(4, 1 << 10);
        let link = LinkId { slot: 3, generation: 1 };
        let mut assistant = Assistant::default();
        assert!(assistant.send(link, &section(&pool, b"early")).is_some(), "not known yet: the owner's");
        let socket = Arc::new(Socket::from(std::os::fd::OwnedFd::from(near)));
        assistant.told(ToAssistant::Opened(link, Arc::clone(&socket)));
        assistant.told(ToAssistant::Resume(link, 1));
        let large = section(&pool, &vec![7; 64 << 20]);
        let rest = assistant.send(link, &large).expect("more than the system takes");
        assert!(rest.len() < large.len(), "a part of it was sent");
        assert_eq!(assistant.send(link, &section(&pool, b"b")).as_deref(), Some(&b"b"[..]), "order is kept");
        assistant.told(ToAssistant::Resume(link, 2));
        assert!(assistant.send(link, &section(&pool, b"c")).is_some(), "the owner still has two to send");
        let mut taken = vec![0; large.len() - rest.len()];
        far.read_exact(&mut taken).unwrap();
        assistant.told(ToAssistant::Resume(link, 4));
        assert!(assistant.send(link, &section(&pool, b"d")).is_none());
        let mut last = [0];
        far.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"d");
        assistant.told(ToAssistant::Removed(link));
        assert!(assistant.links.is_empty());
    }
}
