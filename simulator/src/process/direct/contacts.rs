//! The connections of a direct client: handshake, requests under way, frames.

use crate::network::Link;
use crate::process::Order;
use crate::queue::{MILLISECOND, Time};
use crate::random::Random;
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::{Envelope, FrameBuilder, FrameView, NO_LANE};
use duet_protocol::signal::hello::{Hello, ROLE_CLIENT};
use duet_protocol::signal::welcome::Welcome;
use duet_protocol::signal::{Sections, Signal};
use std::collections::BTreeMap;

/// Longest wait before a lost connection is tried again.
const RECONNECT_WITHIN: Time = 20 * MILLISECOND;

/// Whom a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Management node by its index in the configuration.
    Management(u32),
    /// Data node by id.
    Data(u32),
}

impl Peer {
    fn token(self) -> u64 {
        match self {
            Peer::Management(index) => u64::from(index),
            Peer::Data(node) => 1 << 32 | u64::from(node),
        }
    }

    /// The peer that a token stands for.
    pub fn of_token(token: u64) -> Peer {
        if token >> 32 == 0 { Peer::Management(token as u32) } else { Peer::Data(token as u32) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { until: Time },
    Connecting,
    Greeting(Link),
    Ready(Link),
}

struct Contact {
    address: String,
    state: State,
    builder: FrameBuilder,
}

/// All connections of a client.
#[derive(Default)]
pub struct Contacts {
    contacts: BTreeMap<Peer, Contact>,
    links: BTreeMap<Link, Peer>,
    process: [u8; 16],
    closing: Vec<Link>,
}

impl Contacts {
    /// No connection yet; `process` is the identity of the client.
    pub fn new(process: [u8; 16]) -> Contacts {
        Contacts { process, ..Contacts::default() }
    }

    /// Wants a connection to `peer` at `address`.
    pub fn want(&mut self, peer: Peer, address: &str) {
        self.contacts.entry(peer).or_insert_with(|| Contact {
            address: address.to_owned(),
            state: State::Closed { until: 0 },
            builder: FrameBuilder::new(),
        });
    }

    /// Whether requests can be sent to `peer`.
    pub fn is_ready(&self, peer: Peer) -> bool {
        self.contacts.get(&peer).is_some_and(|contact| matches!(contact.state, State::Ready(_)))
    }

    /// The peers that requests can be sent to.
    pub fn ready(&self, wanted: impl Fn(Peer) -> bool) -> Vec<Peer> {
        self.contacts.keys().copied().filter(|peer| wanted(*peer) && self.is_ready(*peer)).collect()
    }

    /// The peer of a link.
    pub fn peer_of(&self, link: Link) -> Option<Peer> {
        self.links.get(&link).copied()
    }

    /// Connections that are to be opened now.
    pub fn due(&mut self, now: Time, orders: &mut Vec<Order>) {
        for (peer, contact) in &mut self.contacts {
            if matches!(contact.state, State::Closed { until } if until <= now) {
                contact.state = State::Connecting;
                orders.push(Order::Connect { address: contact.address.clone(), token: peer.token() });
            }
        }
        orders.extend(self.closing.drain(..).map(|link| Order::Close { link }));
    }

    /// A connection is open: says hello.
    pub fn connected(&mut self, peer: Peer, link: Link) {
        self.links.insert(link, peer);
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.state = State::Greeting(link);
        contact.builder.clear();
        let body = Hello {
            role: ROLE_CLIENT.into(),
            lane: NO_LANE.into(),
            process: self.process,
            ..Hello::default()
        };
        contact.builder.push(0, 0, &body, Sections::two(&[], b"simulator"));
    }

    /// A connection is gone or could not be opened. The peer, if it was one of ours.
    pub fn lost(&mut self, now: Time, peer: Peer, link: Option<Link>, random: &mut Random) {
        if let Some(link) = link {
            self.links.remove(&link);
        }
        if let Some(contact) = self.contacts.get_mut(&peer) {
            contact.builder.clear();
            contact.state = State::Closed { until: now + random.below(RECONNECT_WITHIN) };
        }
    }

    /// The first frame of a link. False when it is no welcome.
    pub fn greeted(&mut self, peer: Peer, link: Link, frame: &FrameView<'_>) -> bool {
        let Some(contact) = self.contacts.get_mut(&peer) else { return false };
        if contact.state != State::Greeting(link) {
            return false;
        }
        if frame.signals().next().is_some_and(|signal| signal.body::<Welcome>().is_some()) {
            contact.state = State::Ready(link);
        } else {
            self.closing.push(link);
        }
        true
    }

    /// Appends a request for `peer`, which must be ready.
    pub fn push<S: Signal>(
        &mut self,
        peer: Peer,
        request: u64,
        body: &S,
        sections: Sections<'_>,
        envelope: &Envelope,
    ) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        if contact.builder.is_full() {
            contact.builder.seal(envelope);
        }
        contact.builder.push(0, request, body, sections);
    }

    /// Hands out all frames.
    pub fn flush(&mut self, envelope: &Envelope, send: &mut dyn FnMut(Link, &[u8])) {
        for contact in self.contacts.values_mut() {
            contact.builder.seal(envelope);
            if let State::Greeting(link) | State::Ready(link) = contact.state
                && !contact.builder.is_empty()
            {
                send(link, contact.builder.sealed());
            }
            contact.builder.clear();
        }
    }

    /// A link is of no use any more.
    pub fn leave(&mut self, link: Link) {
        self.closing.push(link);
    }

    /// A link whose bytes make no sense is closed.
    pub fn damaged(&mut self, link: Link, _code: ErrorCode) {
        self.closing.push(link);
    }
}
