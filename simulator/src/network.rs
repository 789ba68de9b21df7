//! Connections between processes: frames in flight, delays, stalls and resets.
//!
//! A connection is two flows, one towards each end. The frames of a flow arrive in order, each after a random
//! delay; different flows know nothing of each other, so lanes and clients overtake one another freely. A reset
//! lets a random prefix of what is in flight arrive, loses the rest and tells both ends at different times.

use crate::event::Event;
use crate::plan::NetworkPlan;
use crate::queue::{EventQueue, MICROSECOND, Time};
use crate::random::Random;
use crate::trace::ProcessNumber;
use std::collections::{BTreeMap, VecDeque};

/// Name of a connection in one process, as given to its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Small number, used again.
    pub slot: u32,
    /// Raised whenever the slot is used again.
    pub generation: u32,
}

/// What arrives of that which was on its way from a process when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// A random prefix on every connection.
    Some,
    /// All.
    All,
}

/// Number of a connection in the run, never used again.
pub type ConnectionNumber = u32;

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The process.
    pub process: ProcessNumber,
    /// Its life when the connection was made.
    pub life: u32,
    /// The process's name for the connection; `None` until it has been told of it.
    pub link: Option<Link>,
    /// Whether the process was told that the connection is gone, or died.
    pub closed: bool,
}

#[derive(Default)]
struct Flow {
    frames: VecDeque<(Time, Vec<u8>)>,
    bytes_in_flight: usize,
    last_arrival: Time,
    opened: Time,
    /// No frame arrives before this time, whatever its own is.
    held_until: Time,
    lost: bool,
    nanoseconds_per_byte: Time,
    base_delay: Time,
}

/// A connection: end 0 asked for it, end 1 accepts it.
pub struct Connection {
    /// The two sides.
    pub ends: [End; 2],
    /// What the connecting process wants to hear with the answer.
    pub token: u64,
    flows: [Flow; 2],
    /// It breaks as soon as somebody sends something over it, honestly or not.
    armed: Option<bool>,
}

#[derive(Default)]
struct LinkTable {
    slots: Vec<(u32, Option<(ConnectionNumber, usize)>)>,
    free: Vec<u32>,
}

impl LinkTable {
    fn open(&mut self, connection: ConnectionNumber, end: usize) -> Link {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        entry.0 += 1;
        entry.1 = Some((connection, end));
        Link { slot, generation: entry.0 }
    }

    fn find(&self, link: Link) -> Option<(ConnectionNumber, usize)> {
        let (generation, place) = self.slots.get(link.slot as usize)?;
        if *generation == link.generation { *place } else { None }
    }

    fn close(&mut self, link: Link) {
        if self.find(link).is_some() {
            self.slots[link.slot as usize].1 = None;
            self.free.push(link.slot);
        }
    }
}

/// All connections of the run.
pub struct Network {
    /// What is to come.
    pub queue: EventQueue<Event>,
    connections: Vec<Option<Box<Connection>>>,
    open: Vec<ConnectionNumber>,
    tables: Vec<LinkTable>,
    lives: Vec<Option<u32>>,
    addresses: BTreeMap<String, ProcessNumber>,
    stalls: BTreeMap<(ProcessNumber, ProcessNumber), Time>,
    spare: Vec<Vec<u8>>,
    plan: NetworkPlan,
    random: Random,
    calm: bool,
}

impl Network {
    /// A network without processes.
    pub fn new(plan: NetworkPlan, random: Random) -> Network {
        Network {
            queue: EventQueue::default(),
            connections: Vec::new(),
            open: Vec::new(),
            tables: Vec::new(),
            lives: Vec::new(),
            addresses: BTreeMap::new(),
            stalls: BTreeMap::new(),
            spare: Vec::new(),
            plan,
            random,
            calm: false,
        }
    }

    /// Gives the next process number its address.
    pub fn add_process(&mut self, address: String) {
        self.addresses.insert(address, self.tables.len() as ProcessNumber);
        self.tables.push(LinkTable::default());
        self.lives.push(None);
    }

    /// A process starts to listen, in a new life.
    pub fn process_started(&mut self, process: ProcessNumber, life: u32) {
        self.lives[usize::from(process)] = Some(life);
    }

    /// Ends all disturbances of the network: no refused connections, no stalls, plain delays.
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.stalls.clear();
        for connection in self.connections.iter_mut().flatten() {
            for flow in &mut connection.flows {
                flow.nanoseconds_per_byte = 0;
            }
        }
    }

    /// A process asks for a connection to `address`; it hears of the result under `token`.
    pub fn connect(&mut self, process: ProcessNumber, address: &str, token: u64) {
        let delay = self.plan.connect_delay + self.random.below(self.plan.connect_delay + 1);
        let refused = !self.calm && self.random.chance(self.plan.refuse_connection_per_million);
        let life = self.lives[usize::from(process)].unwrap_or(0);
        let target = self.addresses.get(address).copied();
        let target = target.and_then(|target| Some((target, self.lives[usize::from(target)]?)));
        let now = self.queue.now();
        let Some((target, target_life)) = target.filter(|_| !refused) else {
            self.queue.push(now + 2 * delay, Event::ConnectFailed { process, life, token });
            return;
        };
        let number = self.connections.len() as ConnectionNumber;
        let flow = |random: &mut Random, plan: &NetworkPlan, calm: bool| Flow {
            nanoseconds_per_byte: if !calm && random.chance(plan.slow_flow_per_million) {
                random.between(10, plan.slow_nanoseconds_per_byte)
            } else {
                0
            },
            base_delay: random.between(plan.delay_low, plan.delay_high),
            ..Flow::default()
        };
        let flows =
            [flow(&mut self.random, &self.plan, self.calm), flow(&mut self.random, &self.plan, self.calm)];
        let end = |process, life| End { process, life, link: None, closed: false };
        self.connections.push(Some(Box::new(Connection {
            ends: [end(process, life), end(target, target_life)],
            token,
            flows,
            armed: None,
        })));
        self.open.push(number);
        self.queue.push(now + delay, Event::Accept { connection: number });
    }

    /// The acceptor's system has the connection; the connecting side hears of it after another delay.
    pub fn accepted(&mut self, number: ConnectionNumber) -> Option<Link> {
        let now = self.queue.now();
        let delay = self.plan.connect_delay;
        let connection = self.connections[number as usize].as_mut()?;
        if connection.ends[1].closed {
            return None;
        }
        let link = self.tables[usize::from(connection.ends[1].process)].open(number, 1);
        connection.ends[1].link = Some(link);
        connection.flows[1].opened = now;
        let flow = &mut connection.flows[0];
        flow.opened = now + delay;
        flow.last_arrival = flow.opened;
        self.queue.push(flow.opened, Event::Connected { connection: number });
        Some(link)
    }

    /// The connecting side hears of its connection.
    pub fn connected(&mut self, number: ConnectionNumber) -> Option<Link> {
        let connection = self.connections[number as usize].as_mut()?;
        if connection.ends[0].closed {
            return None;
        }
        let link = self.tables[usize::from(connection.ends[0].process)].open(number, 0);
        connection.ends[0].link = Some(link);
        Some(link)
    }

    /// The connection, unless both ends have left it.
    pub fn connection(&self, number: ConnectionNumber) -> Option<&Connection> {
        self.connections[number as usize].as_deref()
    }

    /// Sends whole frames; returns the bytes that the sender's system has not accepted yet.
    pub fn send(&mut self, process: ProcessNumber, link: Link, mut bytes: &[u8]) -> usize {
        let Some((number, end)) = self.tables[usize::from(process)].find(link) else { return 0 };
        let Some(connection) = self.connections[number as usize].as_mut() else { return 0 };
        let now = self.queue.now();
        let towards = 1 - end;
        let receiver = connection.ends[towards].process;
        if connection.ends[end].closed || connection.ends[towards].closed || connection.flows[towards].lost {
            return 0;
        }
        let stalled = self.stalls.get(&(process, receiver)).copied().unwrap_or(0);
        let flow = &mut connection.flows[towards];
        while !bytes.is_empty() {
            let length = match duet_protocol::frame::announced_length(bytes, usize::MAX) {
                Ok(Some(length)) => length.min(bytes.len()),
                Ok(None) | Err(_) => bytes.len(),
            };
            let (frame, rest) = bytes.split_at(length);
            bytes = rest;
            let mut delay = flow.base_delay + self.random.below(self.plan.jitter + 1);
            if !self.calm && self.random.chance(self.plan.spike_per_million) {
                delay += self.random.below(self.plan.spike + 1);
            }
            let transfer = flow.nanoseconds_per_byte * length as Time;
            let arrival = (now + delay).max(flow.last_arrival).max(stalled) + transfer;
            flow.last_arrival = arrival;
            flow.bytes_in_flight += length;
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(frame);
            flow.frames.push_back((arrival, buffer));
            self.queue.push(arrival, Event::Deliver { connection: number, end: towards });
        }
        let backlog = flow.bytes_in_flight.saturating_sub(self.plan.socket_buffer_bytes);
        if let Some(honest) = connection.armed {
            self.reset(number, honest);
        }
        backlog
    }

    /// Lets a connection break when something is sent over it next, so that there is something to lose.
    pub fn arm(&mut self, number: ConnectionNumber, honest: bool) {
        if let Some(connection) = self.connections[number as usize].as_mut() {
            connection.armed = Some(honest);
        }
    }

    /// The time before which nothing arrives at `end`.
    pub fn held_until(&self, number: ConnectionNumber, end: usize) -> Time {
        self.connections[number as usize].as_ref().map_or(0, |connection| connection.flows[end].held_until)
    }

    /// Takes the next frame towards `end` out of flight. Also returns the sender with its new backlog, where it had one.
    #[allow(clippy::type_complexity)]
    pub fn take_frame(
        &mut self,
        number: ConnectionNumber,
        end: usize,
    ) -> Option<(Vec<u8>, Option<(ProcessNumber, Link, usize)>)> {
        let connection = self.connections[number as usize].as_mut()?;
        let flow = &mut connection.flows[end];
        let (_, bytes) = flow.frames.pop_front()?;
        let before = flow.bytes_in_flight;
        flow.bytes_in_flight -= bytes.len();
        let sender = connection.ends[1 - end];
        let buffer = self.plan.socket_buffer_bytes;
        let news = (before > buffer && !sender.closed)
            .then_some(sender.link)
            .flatten()
            .map(|link| (sender.process, link, flow.bytes_in_flight.saturating_sub(buffer)));
        Some((bytes, news))
    }

    /// Takes a buffer back for later frames.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() > 0 && self.spare.len() < 1024 {
            self.spare.push(bytes);
        }
    }

    /// A process closes its link: what it has sent still arrives, or a prefix of it when data towards it is lost.
    pub fn close(&mut self, process: ProcessNumber, link: Link) {
        let Some((number, end)) = self.tables[usize::from(process)].find(link) else { return };
        let Some(connection) = self.connections[number as usize].as_mut() else { return };
        if connection.flows[end].lost {
            return;
        }
        let now = self.queue.now();
        let unread = !connection.flows[end].frames.is_empty();
        lose(&mut connection.flows[end], 0);
        self.queue.push(now, Event::Closed { connection: number, end, by_peer: false });
        let other = &mut connection.flows[1 - end];
        if !other.lost {
            let kept = if unread && self.random.chance(500_000) {
                self.random.below(other.frames.len() as u64 + 1) as usize
            } else {
                other.frames.len()
            };
            let last = lose(other, kept).max(now + self.plan.delay_low);
            self.queue.push(last, Event::Closed { connection: number, end: 1 - end, by_peer: true });
        }
    }

    /// Breaks a connection from outside: each end gets a random prefix of what is on its way, one end believes
    /// that the other closed, the other that its own system gave up; an `honest` one tells both the latter.
    pub fn reset(&mut self, number: ConnectionNumber, honest: bool) {
        let Some(connection) = self.connections[number as usize].as_mut() else { return };
        if connection.ends[1].link.is_none() {
            return;
        }
        let now = self.queue.now();
        let blamed = self.random.below(2) as usize;
        for end in 0..2 {
            let flow = &mut connection.flows[end];
            if flow.lost {
                continue;
            }
            let kept = self.random.below(flow.frames.len() as u64 + 1) as usize;
            if self.random.chance(self.plan.late_prefix_per_million) {
                // What the receiver's system holds is read late, perhaps after what was sent again elsewhere.
                flow.held_until = now + self.random.below(self.plan.late_prefix + 1);
            }
            let told = now + self.random.below(20_000 * MICROSECOND);
            let last = lose(flow, kept).max(told).max(flow.held_until + 1);
            self.queue
                .push(last, Event::Closed { connection: number, end, by_peer: !honest && end == blamed });
        }
    }

    /// The end of a dead process: its connections break, the others are told soon, or with `silent` late. `kept` says what of that
    /// which it has sent still arrives.
    pub fn process_died(&mut self, process: ProcessNumber, silent: bool, kept: Kept) {
        let now = self.queue.now();
        for number in self.open.clone() {
            let Some(connection) = self.connections[number as usize].as_mut() else { continue };
            for end in 0..2 {
                if connection.ends[end].process != process || connection.ends[end].closed {
                    continue;
                }
                lose(&mut connection.flows[end], 0);
                connection.ends[end].closed = true;
                let survivor = &mut connection.ends[1 - end];
                let other = &mut connection.flows[1 - end];
                if survivor.closed {
                    continue;
                }
                if end == 1 && other.opened == 0 {
                    survivor.closed = true;
                    let End { process, life, .. } = *survivor;
                    let token = connection.token;
                    self.queue.push(now, Event::ConnectFailed { process, life, token });
                } else if end == 0 && survivor.link.is_none() {
                    survivor.closed = true;
                } else if !other.lost {
                    let kept = match kept {
                        Kept::Nothing => 0,
                        Kept::Some => self.random.below(other.frames.len() as u64 + 1) as usize,
                        Kept::All => other.frames.len(),
                    };
                    let wait = if silent { self.plan.silent_death } else { self.plan.delay_high };
                    let last = lose(other, kept).max(now + self.random.below(wait + 1));
                    let event = Event::Closed { connection: number, end: 1 - end, by_peer: !silent };
                    self.queue.push(last, event);
                }
            }
        }
        self.tables[usize::from(process)] = LinkTable::default();
        self.lives[usize::from(process)] = None;
    }

    /// Forgets an end after its process was told; returns the link, when the process knew one.
    pub fn closed(&mut self, number: ConnectionNumber, end: usize) -> Option<Link> {
        let connection = self.connections[number as usize].as_mut()?;
        if connection.ends[end].closed {
            return None;
        }
        connection.ends[end].closed = true;
        let link = connection.ends[end].link;
        if let Some(link) = link {
            self.tables[usize::from(connection.ends[end].process)].close(link);
        }
        if connection.ends.iter().all(|end| end.closed) {
            self.connections[number as usize] = None;
            self.open.retain(|open| *open != number);
        }
        link
    }

    /// Holds up everything from one process to another until `until`.
    pub fn stall(&mut self, from: ProcessNumber, to: ProcessNumber, until: Time) {
        self.stalls.insert((from, to), until);
    }

    /// Open connections that `wanted` accepts, in order of their making.
    pub fn open_connections(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<ConnectionNumber> {
        self.open
            .iter()
            .copied()
            .filter(|number| self.connections[*number as usize].as_deref().is_some_and(&wanted))
            .collect()
    }
}

/// Loses all but the first `kept` frames of a flow; returns the arrival of the last one kept.
fn lose(flow: &mut Flow, kept: usize) -> Time {
    flow.lost = true;
    while flow.frames.len() > kept {
        if let Some((_, bytes)) = flow.frames.pop_back() {
            flow.bytes_in_flight -= bytes.len();
        }
    }
    flow.frames.back().map_or(flow.opened, |(arrival, _)| *arrival)
}
