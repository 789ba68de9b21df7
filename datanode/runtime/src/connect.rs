//! Opening the connections that the kernel asks for.

use crate::batch::Batch;
use crate::driven::Driven;
use crate::link::Phase;
use crate::socket::{finish_connect, start_connect};
use duet_datanode_core::{LinkId, Nanoseconds, Target};
use std::io;
use std::net::SocketAddr;

impl<K: Driven> Batch<K> {
    /// Starts what a `Connect` command asks for. An address that is a name is looked up by another thread first.
    pub fn connect(&mut self, target: Target, address: &str) {
        let until = self.now + self.limits.connect_within;
        if let Ok(address) = address.parse::<SocketAddr>() {
            return self.connect_next(target, vec![address], until);
        }
        if let Err(reason) = self.resolver.submit(target, address, until) {
            self.connect_failed(target, &address, &reason);
        }
    }

    /// Names were looked up.
    pub fn connect_resolved(&mut self) {
        while let Some(answer) = self.resolver.next_answer() {
            match answer.addresses {
                Ok(mut addresses) => {
                    addresses.reverse();
                    self.connect_next(answer.target, addresses, answer.until);
                }
                Err(error) => self.connect_failed(answer.target, &answer.address, &error),
            }
        }
    }

    /// Tries addresses of one target from the end of the list until one can be tried at all.
    fn connect_next(&mut self, target: Target, mut others: Vec<SocketAddr>, until: Nanoseconds) {
        let mut failure = (None, io::Error::from(io::ErrorKind::NotFound));
        while let Some(address) = others.pop() {
            if self.table.is_full() {
                return self.connect_failed(target, &address, &"this node has as many links as it may");
            }
            let attempt = start_connect(address).and_then(|socket| {
                let phase = Phase::Connecting { target, others: others.clone(), until };
                self.table.insert(&mut self.links, socket, address, false, phase)
            });
            match attempt {
                Ok(id) => return self.hurried.push(id),
                Err(error) => failure = (Some(address), error),
            }
        }
        match failure {
            (Some(address), error) => self.connect_failed(target, &address, &error),
            (None, error) => self.connect_failed(target, &"a name without addresses", &error),
        }
    }

    /// A connection is open, or could not be opened.
    pub fn connect_finished(&mut self, id: LinkId) {
        let Some(link) = self.table.get_mut(id) else { return };
        let Phase::Connecting { target, ref mut others, until } = link.phase else { return };
        match finish_connect(&link.socket) {
            Ok(()) => {
                link.phase = Phase::Open { since: self.now };
                link.active = true;
                self.links.update(link);
                tracing::debug!(address = %link.address, ?target, slot = id.slot, "connected");
                self.counters.links_connected += 1;
                self.kernel.link_opened(id, &link.socket);
                self.kernel.link_connected(self.now, id, target);
            }
            // A spurious event: the connection is neither open nor refused.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => self.links.update(link),
            Err(error) => {
                let (others, address) = (std::mem::take(others), link.address);
                drop(self.table.remove(&mut self.links, id));
                if others.is_empty() {
                    self.connect_failed(target, &address, &error);
                } else {
                    self.connect_next(target, others, until);
                }
            }
        }
    }

    fn connect_failed(
        &mut self,
        target: Target,
        address: &dyn std::fmt::Display,
        error: &dyn std::fmt::Display,
    ) {
        tracing::debug!(?target, "cannot connect to {address}: {error}");
        self.counters.connects_failed += 1;
        self.kernel.connect_failed(self.now, target);
    }
}
