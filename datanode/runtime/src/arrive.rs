//! What io_uring has received.

use crate::batch::Batch;
use crate::driven::Driven;
use crate::link::Phase;
use crate::links::Links;
use crate::output::reason_of;
use crate::receive::{Outcome, take};
use crate::uring::Arrival;
use duet_datanode_core::{CloseReason, LinkId};
use std::io;

impl<K: Driven> Batch<K> {
    /// Takes what a receive brought, gives its buffer back, and starts the receive again if it has ended and the link still
    /// wants input.
    pub fn arrived(&mut self, arrival: Arrival) {
        let Arrival { link: id, result, buffer } = arrival;
        match (usize::try_from(result), buffer) {
            (Ok(count), Some(buffer)) if count > 0 => self.take_bytes(id, buffer, count),
            (Ok(_), _) => self.stream_ended(id),
            (Err(_), _) => self.receive_failed(id, -result),
        }
        if let (Some(buffer), Links::Uring(ring)) = (buffer, &mut self.links) {
            ring.give_back(buffer);
        }
        if let Some(link) = self.table.get_mut(id) {
            self.links.update(link);
        }
    }

    fn take_bytes(&mut self, id: LinkId, buffer: u16, count: usize) {
        self.burst_bytes += count;
        let Batch { links: Links::Uring(ring), table, kernel, counters, .. } = self else { return };
        // What still arrives on a link that is being closed is dropped.
        let Some(link) = table.get_mut(id).filter(|link| link.is_open()) else { return };
        let bytes = ring.bytes(buffer, count);
        counters.read_calls += 1;
        counters.bytes_received += count as u64;
        link.active = true;
        if link.paused {
            // The receive ends soon. What it brings until then is bounded by the number of buffers.
            return link.partial.park(bytes);
        }
        if !kernel.wants_input(id) {
            link.partial.park(bytes);
            return self.pause(id);
        }
        match take(kernel, link, bytes, self.now, &mut counters.frames_delivered) {
            Outcome::Drained => {}
            Outcome::Held => self.pause(id),
            Outcome::Damaged => self.close_damaged(id),
        }
    }

    fn stream_ended(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        match link.phase {
            // Frames that were held back come first; then the end is met again.
            Phase::Open { .. } if link.paused => {}
            // There are bytes to be sent yet.
            Phase::Closing { .. } => {}
            Phase::Open { .. } | Phase::Connecting { .. } | Phase::Lingering { .. } => {
                self.lose(id, CloseReason::ByPeer, &"the other side closed it");
            }
        }
    }

    fn receive_failed(&mut self, id: LinkId, number: i32) {
        match number {
            libc::ENOBUFS => {
                if let Links::Uring(ring) = &mut self.links {
                    ring.add_buffer();
                }
            }
            // It was told to end, or may be tried again.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            _ => {
                let error = io::Error::from_raw_os_error(number);
                self.lose(id, reason_of(&error), &error);
            }
        }
    }
}
