//! How a part hands out messages, and how a coordinator hands requests to the data parts.

use super::message::{RequestPlace, RequestPlaces, ToCoordinator, ToData};
use super::{Queue, manager_of_lane};
use crate::coordinator::DataPort;
use crate::interface::LinkId;
use crate::ldm::{Context, Job};
use crate::map::ClusterMap;
use crate::outbox::ReplyTo;
use duet_memory::Section;
use duet_protocol::signal::SignalView;
use duet_protocol::signal::resolve::Resolve;
use duet_protocol::signal::scan::Scan;

/// Messages that wait for their mailboxes.
#[derive(Debug)]
pub struct Outgoing {
    pub to_data: Vec<Queue<ToData>>,
    pub to_coordinators: Vec<Queue<ToCoordinator>>,
}

impl Outgoing {
    pub fn new(coordinators: usize, managers: usize) -> Outgoing {
        Outgoing {
            to_data: (0..managers).map(|_| Queue::new()).collect(),
            to_coordinators: (0..coordinators).map(|_| Queue::new()).collect(),
        }
    }

    /// A message to every data part.
    pub fn all_data(&mut self, message: impl Fn() -> ToData) {
        for queue in &mut self.to_data {
            queue.push_back(message());
        }
    }

    /// A message to every coordinator but one.
    pub fn coordinators_except(&mut self, except: Option<usize>, message: impl Fn() -> ToCoordinator) {
        for (index, queue) in self.to_coordinators.iter_mut().enumerate() {
            if Some(index) != except {
                queue.push_back(message());
            }
        }
    }

    /// Number of messages that wait.
    pub fn len(&self) -> usize {
        let data: usize = self.to_data.iter().map(Queue::len).sum();
        data + self.to_coordinators.iter().map(Queue::len).sum::<usize>()
    }
}

/// The data parts as the coordinator sees them while it works through one frame.
pub struct Remote<'a> {
    queues: &'a mut [Queue<ToData>],
    link: LinkId,
    frame: &'a Section,
    map: &'a ClusterMap,
    open: u128,
}

impl<'a> Remote<'a> {
    /// Hands on requests of `frame`, which are answered on `link`.
    pub fn new(
        queues: &'a mut [Queue<ToData>],
        link: LinkId,
        frame: &'a Section,
        map: &'a ClusterMap,
    ) -> Remote<'a> {
        Remote { queues, link, frame, map, open: 0 }
    }

    #[inline]
    fn hand_on(&mut self, signal: &SignalView<'_>, partition: u16, table: usize, hash: u64) {
        // The signal lies in the frame, so the difference of their addresses is its offset.
        let offset = signal.bytes().as_ptr().addr() - self.frame.as_ptr().addr();
        let place = RequestPlace { offset: offset as u32, partition, table: table as u16, hash };
        let manager = manager_of_lane(self.map.partitions[usize::from(partition)].lane, self.queues.len());
        let queue = &mut self.queues[manager];
        if self.open & (1 << manager) == 0 {
            self.open |= 1 << manager;
            queue.push_back(ToData::Frame { link: self.link, frame: self.frame.clone() });
        } else if let Some(ToData::Requests(places)) = queue.back_mut()
            && places.add(place)
        {
            return;
        }
        queue.push_back(ToData::Requests(RequestPlaces::one(place)));
    }
}

impl DataPort for Remote<'_> {
    fn prefetch_bucket(&self, _partition: u16, _table: usize, _hash: u64) {}

    fn execute(&mut self, _context: &mut Context<'_>, jobs: &[Option<Job<'_>>]) {
        for job in jobs.iter().flatten() {
            self.hand_on(&job.signal, job.partition, job.table, job.hash);
        }
    }

    fn resolve(
        &mut self,
        _context: &mut Context<'_>,
        _reply: ReplyTo,
        signal: &SignalView<'_>,
        _body: &Resolve,
        partition: u16,
    ) {
        self.hand_on(signal, partition, 0, 0);
    }

    fn scan(
        &mut self,
        _context: &mut Context<'_>,
        _reply: ReplyTo,
        signal: &SignalView<'_>,
        body: &Scan,
        table: usize,
    ) {
        self.hand_on(signal, body.partition.get(), table, 0);
    }
}
