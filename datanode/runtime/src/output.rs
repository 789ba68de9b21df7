//! Writing what the kernel hands out: with epoll directly where the system takes it, otherwise into the link's backlog; with
//! io_uring into the backlog, from where the call that ends the turn sends it.

use crate::batch::Limits;
use crate::link::Link;
use crate::snapshot::LinkCounters;
use crate::table::LinkTable;
use crate::uring::Ring;
use duet_datanode_core::{CloseReason, LinkId};
use socket2::Socket;
use std::io;

/// Why a link cannot be used any more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The system or the other side ended it.
    Io(io::Error),
    /// The other side does not read.
    BacklogFull,
    /// All links together hold too many unsent bytes, and this one holds the most.
    TotalBacklogFull,
}

impl Failure {
    /// Only a proof that the other side ended the connection counts as its act.
    pub fn reason(&self) -> CloseReason {
        match self {
            Failure::Io(error) => reason_of(error),
            Failure::BacklogFull | Failure::TotalBacklogFull => CloseReason::Local,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Io(error) => write!(f, "{error}"),
            Failure::BacklogFull => f.write_str("the other side does not read, and its backlog is full"),
            Failure::TotalBacklogFull => {
                f.write_str("the backlogs of all links are full, and this is the largest")
            }
        }
    }
}

/// A reset proves that the other side ended the connection; a time-out or a route that is gone does not.
pub(crate) fn reason_of(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            CloseReason::ByPeer
        }
        _ => CloseReason::Local,
    }
}

/// Bytes that may wait for the call that ends the turn.
const SUBMIT_ABOVE_BYTES: usize = 256 << 10;

/// What sending left to be done when the kernel is free again.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// Links whose backlog changed.
    pub changed: Vec<LinkId>,
    /// Links that failed.
    pub failed: Vec<(LinkId, Failure)>,
    /// Bytes in all backlogs.
    pub total_backlog: usize,
    /// Whether output waits for the call that submits it (io_uring).
    pub deferred: bool,
    /// Links whose backlog that call sends.
    queued: Vec<LinkId>,
    /// Those of them that it could not send completely; see [`Ring::next_unsent`].
    unsent: Vec<(LinkId, i32)>,
    /// Bytes handed out since the last such call.
    queued_bytes: usize,
}

impl Sending {
    /// Nothing to be sent yet, by a loop on io_uring if `deferred`.
    pub fn new(deferred: bool) -> Sending {
        Sending { deferred, ..Sending::default() }
    }

    /// Sends bytes that the kernel handed out.
    pub fn send(
        &mut self,
        table: &mut LinkTable,
        counters: &mut LinkCounters,
        limits: &Limits,
        id: LinkId,
        bytes: &[u8],
    ) {
        // The kernel hands out bytes only of links that it believes to be open; one that failed in this burst is not.
        let Some(link) = table.get_mut(id).filter(|link| link.is_open() && !link.deaf) else { return };
        let mut left = bytes;
        if !self.deferred && link.backlog.is_empty() {
            match write(&link.socket, bytes, counters) {
                Ok(count) => left = &bytes[count..],
                Err(error) => {
                    self.failed.push((id, Failure::Io(error)));
                    return;
                }
            }
        }
        link.active = true;
        if left.is_empty() {
            return;
        }
        if link.backlog.len() + left.len() > limits.backlog_bytes {
            self.failed.push((id, Failure::BacklogFull));
            return;
        }
        if self.deferred {
            self.queued_bytes += left.len();
            if link.backlog.is_empty() {
                self.queued.push(id);
            }
        }
        link.backlog.push(left);
        self.total_backlog += left.len();
        self.changed.push(id);
    }

    /// Sends from the backlog of a link that can be written again.
    pub fn send_backlog(&mut self, link: &mut Link, counters: &mut LinkCounters) {
        if self.deferred {
            // Never twice: the same bytes would be sent twice.
            if std::mem::take(&mut link.blocked) {
                self.queued.push(link.id);
            }
            return;
        }
        while !link.backlog.is_empty() {
            let offered = link.backlog.front().len();
            match write(&link.socket, link.backlog.front(), counters) {
                Ok(count) => {
                    self.taken(link, count);
                    if count < offered {
                        return;
                    }
                }
                Err(error) => return self.failed.push((link.id, Failure::Io(error))),
            }
        }
    }

    /// The system took so many bytes from a backlog; the same number.
    fn taken(&mut self, link: &mut Link, count: usize) -> u64 {
        if count > 0 {
            link.active = true;
            link.backlog.consume(count);
            self.total_backlog -= count;
            self.changed.push(link.id);
        }
        count as u64
    }

    /// Whether nothing waits to be submitted.
    pub fn is_submitted(&self) -> bool {
        self.queued.is_empty()
    }

    /// Whether so much waits that it should be submitted before the turn ends.
    pub fn is_much(&self) -> bool {
        self.queued_bytes > SUBMIT_ABOVE_BYTES
    }

    /// Sends what waits in backlogs, and waits for events if `blocking`; see [`Ring::submit`].
    pub fn submit(
        &mut self,
        ring: &mut Ring,
        table: &mut LinkTable,
        counters: &mut LinkCounters,
        blocking: bool,
    ) -> io::Result<()> {
        let links = || self.queued.iter().filter_map(|id| table.get(*id));
        // What is too long for one call goes on with the next one, which nothing else may bring about.
        let is_all = links().all(|link| link.backlog.front().len() == link.backlog.len());
        ring.submit(links().map(|link| (link.port, link.backlog.front())), blocking && is_all)?;
        while let Some(unsent) = ring.next_unsent() {
            self.unsent.push(unsent);
        }
        self.unsent.sort_unstable();
        let mut again = 0;
        for index in 0..self.queued.len() {
            let id = self.queued[index];
            let Some(link) = table.get_mut(id) else { continue };
            counters.write_calls += 1;
            let all = link.backlog.front().len();
            let unsent = self.unsent.binary_search_by_key(&id, |(id, _)| *id);
            let result = unsent.ok().map(|index| self.unsent[index].1);
            match result {
                None => counters.bytes_sent += self.taken(link, all),
                Some(result) => match usize::try_from(result) {
                    Ok(count) => {
                        counters.bytes_sent += self.taken(link, count);
                        link.blocked = true;
                        self.changed.push(id);
                    }
                    Err(_) if result == -libc::EAGAIN => {
                        link.blocked = true;
                        self.changed.push(id);
                    }
                    Err(_) if result == -libc::EINTR => {}
                    Err(_) => {
                        let error = io::Error::from_raw_os_error(-result);
                        self.failed.push((id, Failure::Io(error)));
                        continue;
                    }
                },
            }
            if !link.blocked && !link.backlog.is_empty() {
                self.queued[again] = id;
                again += 1;
            }
        }
        self.unsent.clear();
        self.queued.truncate(again);
        self.queued_bytes = 0;
        Ok(())
    }
}

/// Writes once; 0 when the system takes nothing now.
fn write(socket: &Socket, bytes: &[u8], counters: &mut LinkCounters) -> io::Result<usize> {
    counters.write_calls += 1;
    match socket.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
        Ok(count) => {
            counters.bytes_sent += count as u64;
            Ok(count)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Phase;
    use socket2::{Domain, Type};
    use std::sync::Arc;

    #[test]
    fn a_link_that_is_told_twice_of_room_is_sent_on_once() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let id = LinkId { slot: 1, generation: 1 };
        let address = ([127, 0, 0, 1], 1).into();
        let mut link = Link::new(id, Arc::new(socket), address, true, Phase::Open { since: 0 });
        link.backlog.push(b"rest");
        link.blocked = true;
        let (mut sending, mut counters) = (Sending::new(true), LinkCounters::default());
        // Polls of two turns may tell of the same room.
        sending.send_backlog(&mut link, &mut counters);
        sending.send_backlog(&mut link, &mut counters);
        assert_eq!(sending.queued, [id]);
        assert!(!link.blocked);
    }
}
