//! A node on several threads: receive → transaction coordinator → data managers → send, joined by mailboxes.
//!
//! Every thread runs the same loop as the batch pipeline, with any of the four roles in front of it. A message between two
//! roles goes through a mailbox even when one thread has both, so that all plans run the same code.

mod assistant;
mod early;
mod inbound;
mod message;
mod outbound;
mod part;

use crate::affinity::pin_current_thread;
use crate::batch::{Batch, Limits, Sockets};
use crate::clock::boot_nanoseconds;
use crate::links::LinkIo;
use crate::mailbox::{LoopBell, mailbox};
use crate::poll::Waker;
use crate::snapshot::{Snapshot, SnapshotReader};
use crate::socket::Listener;
use crate::thread::{GO_ON, RuntimeError, Stopper, panic_text};
use assistant::Assistant;
use duet_datanode_core::{Kernel, NodeConfiguration, Shared};
use duet_memory::{Priority, SectionPool};
use early::EarlyHeartbeats;
use inbound::Inbound;
use outbound::Outbound;
use part::{PartPort, PartThread, ReceivePort, SendPort, Turn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Messages in flight between two roles.
const MAILBOX_MESSAGES: usize = 4_096;
/// The same from a coordinator to a data part. What is in it waits for whatever came before it, however large the answers are.
const REQUEST_MESSAGES: usize = 1_024;
/// Bytes of frames in flight from a receiver to a coordinator: whoever comes next waits for all requests in them.
const FRAME_BYTES: usize = 256 << 10;
/// Most and fewest buffers shared by the threads, and their size: a burst of a client fits one.
const MOST_POOL_BLOCKS: u64 = 2_048;
const FEWEST_POOL_BLOCKS: u64 = 32;
/// Share of the node's memory for these buffers; when all are in use, further ones come from the heap.
const POOL_SHARE: u64 = 16;
const POOL_BLOCK_BYTES: usize = 32 << 10;

/// What one thread does, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadRoles {
    /// Name of the thread, at most 15 bytes.
    pub name: String,
    /// Owns sockets and reads from them.
    pub receive: bool,
    /// Runs a coordinator part.
    pub coordinator: bool,
    /// Data parts that it runs.
    pub managers: usize,
    /// Sends for the receiving threads; without any such thread each sends on its own links.
    pub send: bool,
    /// CPU to pin the thread to.
    pub cpu: Option<usize>,
}

/// What a pipeline is started with.
#[derive(Debug)]
pub struct PipelineOptions {
    /// Its threads; at least one receives, one coordinates and one manages data.
    pub threads: Vec<ThreadRoles>,
    /// Where others connect to.
    pub listener: Listener,
    /// Bounds.
    pub limits: Limits,
    /// Whether threads may look for work for a while before they sleep: only when each has a CPU of its own.
    pub may_spin: bool,
    /// How to talk to links.
    pub io: LinkIo,
}

/// A running pipeline. Dropping it stops its threads and waits for them.
#[derive(Debug)]
pub struct Pipeline {
    wakers: Vec<Waker>,
    stop: Arc<AtomicU8>,
    snapshots: Vec<SnapshotReader>,
    handles: Vec<JoinHandle<Result<(), RuntimeError>>>,
    /// Says which thread has ended.
    ended: Receiver<()>,
}

impl Pipeline {
    /// Starts the threads. Data parts make their kernels on their own threads, so that their memory is near their CPU.
    ///
    /// # Errors
    /// A sentence when the roles cannot work together or the memory cannot be reserved; what the system refuses.
    pub fn start(
        options: PipelineOptions,
        configuration: &NodeConfiguration,
    ) -> Result<Pipeline, RuntimeError> {
        let PipelineOptions { threads, listener, limits, may_spin, io } = options;
        let count = |is: &dyn Fn(&ThreadRoles) -> usize| threads.iter().map(is).sum::<usize>();
        let receivers = count(&|thread| usize::from(thread.receive));
        let coordinators = count(&|thread| usize::from(thread.coordinator));
        let managers = count(&|thread| thread.managers);
        let assistants = count(&|thread| usize::from(thread.send));
        if receivers == 0 || coordinators == 0 || managers == 0 {
            let sentence = "a pipeline needs threads that receive, coordinate and manage data";
            return Err(RuntimeError::Start(sentence.to_owned()));
        }
        // The loops number their links together, so slots go a little beyond the number of links.
        let slots = configuration.max_links + receivers as u32;
        let shared = Shared::new(configuration.memory_bytes, slots, coordinators, managers)
            .map_err(RuntimeError::Start)?;
        let blocks = pool_blocks(configuration.memory_bytes);
        shared.budget.take(blocks * POOL_BLOCK_BYTES as u64, Priority::Recovery).map_err(|_| {
            let bytes = configuration.memory_bytes;
            RuntimeError::Start(format!(
                "{bytes} bytes of memory have no room for the buffers of several threads"
            ))
        })?;
        let pools = Pools::new(blocks as u32);
        let waker = |_: &ThreadRoles| Waker::new().map_err(|error| RuntimeError::system("eventfd", error));
        let wakers = threads.iter().map(waker).collect::<Result<Vec<_>, _>>()?;
        let bells: Vec<LoopBell> = wakers.iter().cloned().map(LoopBell::new).collect();
        let wiring = Wiring::new(&threads, &bells);
        let stop = Arc::new(AtomicU8::new(GO_ON));
        let (end_sender, ended) = sync_channel(threads.len());
        let mut pipeline = Pipeline { wakers, stop, snapshots: Vec::new(), handles: Vec::new(), ended };
        let (start_sender, started) = sync_channel(threads.len());
        let (mut number, mut coordinator, mut manager) = (0, 0, 0);
        for (index, (roles, ports)) in threads.iter().zip(wiring.finish(&threads)).enumerate() {
            let sockets = Sockets {
                listener: if roles.receive { Some(listener.clone()) } else { None },
                number,
                of: receivers as u32,
                may_spin,
                io,
            };
            number += u32::from(roles.receive);
            let first_manager = manager;
            manager += roles.managers;
            let first_coordinator = coordinator;
            coordinator += usize::from(roles.coordinator);
            let plan = ThreadPlan {
                roles: roles.clone(),
                ports,
                sockets,
                coordinator: first_coordinator,
                manager: first_manager,
                bell: bells[index].clone(),
                messages_per_turn: limits.responsiveness.messages_per_turn(),
                senders: if assistants > 0 { assistants } else { receivers },
                receivers,
            };
            pipeline.spawn(
                index,
                plan,
                &shared,
                &pools,
                limits.clone(),
                configuration,
                (start_sender.clone(), end_sender.clone()),
            )?;
        }
        drop(start_sender);
        for _ in 0..threads.len() {
            match started.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(pipeline.wait().err().unwrap_or_else(ended_at_once)),
            }
        }
        Ok(pipeline)
    }

    #[expect(clippy::too_many_arguments, reason = "what one thread needs to start")]
    fn spawn(
        &mut self,
        index: usize,
        plan: ThreadPlan,
        shared: &Shared,
        pools: &Pools,
        limits: Limits,
        configuration: &NodeConfiguration,
        (started, ended): (SyncSender<Result<(), RuntimeError>>, SyncSender<()>),
    ) -> Result<(), RuntimeError> {
        let (shared, pools, configuration) = (shared.clone(), pools.clone(), configuration.clone());
        let (waker, stop, snapshots) =
            (self.wakers[index].clone(), self.stop.clone(), SnapshotReader::default());
        self.snapshots.push(snapshots.clone());
        let name = plan.roles.name.clone();
        let run = move || {
            // Sent also when the thread panics.
            let _told = TellWhenDropped(ended);
            if let Some(cpu) = plan.roles.cpu {
                pin_current_thread(&plan.roles.name, cpu);
            }
            let loop_of = |plan: ThreadPlan| {
                let (thread, sockets) = plan.build(&shared, pools, &configuration)?;
                Batch::new(thread, sockets, limits, waker, stop, snapshots)
            };
            let mut batch = match loop_of(plan) {
                Ok(batch) => batch,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return Ok(());
                }
            };
            batch.publish();
            let _ = started.send(Ok(()));
            drop(started);
            batch.run()
        };
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(|error| RuntimeError::system("starting a thread", error))?;
        self.handles.push(handle);
        Ok(())
    }

    /// Ends all threads from another one.
    pub fn stopper(&self) -> Stopper {
        Stopper::of(self.wakers.clone(), self.stop.clone())
    }

    /// Reads the counters of all threads from another one.
    pub fn snapshots(&self) -> impl Fn() -> Snapshot + Send + Sync + 'static {
        let readers = self.snapshots.clone();
        move || {
            let mut sum = Snapshot::default();
            for reader in &readers {
                let snapshot = reader.read();
                sum.node.add(&snapshot.node);
                sum.links.add(&snapshot.links);
            }
            sum
        }
    }

    /// Waits until a thread ends by itself or all are stopped, then for the others.
    ///
    /// # Errors
    /// [`RuntimeError::Stopped`] when a kernel wants the process to end, and the others of [`RuntimeError`].
    pub fn join(mut self) -> Result<(), RuntimeError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), RuntimeError> {
        if self.handles.is_empty() {
            return Ok(());
        }
        let _ = self.ended.recv();
        self.stopper().stop();
        let mut result = Ok(());
        for handle in self.handles.drain(..) {
            let ended =
                handle.join().unwrap_or_else(|panic| Err(RuntimeError::Panicked(panic_text(&*panic))));
            if result.is_ok() {
                result = ended;
            }
        }
        result
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stopper().stop();
        let _ = self.wait();
    }
}

/// Buffers of a node with this much memory: a sixteenth of it, within bounds.
fn pool_blocks(memory_bytes: u64) -> u64 {
    (memory_bytes / POOL_SHARE / POOL_BLOCK_BYTES as u64).clamp(FEWEST_POOL_BLOCKS, MOST_POOL_BLOCKS)
}

/// The buffers that the threads of a pipeline hand to each other.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    /// For frames that arrive.
    pub frames: SectionPool,
    /// Bytes of frames beyond that pool up to which more is read from sockets.
    pub most_frame_bytes: usize,
    /// For frames that go out.
    pub replies: SectionPool,
    /// Heartbeats that overtake the frames.
    pub early: Arc<EarlyHeartbeats>,
}

impl Pools {
    /// Pools that have so many blocks together.
    pub fn new(blocks: u32) -> Pools {
        let half = blocks / 2;
        Pools {
            frames: SectionPool::new(half, POOL_BLOCK_BYTES),
            most_frame_bytes: half as usize * POOL_BLOCK_BYTES,
            replies: SectionPool::new(blocks - half, POOL_BLOCK_BYTES),
            early: Arc::default(),
        }
    }

    /// Whether the frames that arrived and are not processed yet are so many that no more should be read.
    pub fn are_flooded(&self) -> bool {
        self.frames.heap_bytes() > self.most_frame_bytes
    }
}

fn ended_at_once() -> RuntimeError {
    RuntimeError::Start("a thread ended at once".to_owned())
}

struct TellWhenDropped(SyncSender<()>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// What one thread is made of.
struct ThreadPlan {
    roles: ThreadRoles,
    ports: Ports,
    sockets: Sockets,
    coordinator: usize,
    manager: usize,
    bell: LoopBell,
    messages_per_turn: usize,
    senders: usize,
    receivers: usize,
}

impl ThreadPlan {
    fn build(
        self,
        shared: &Shared,
        pools: Pools,
        configuration: &NodeConfiguration,
    ) -> Result<(PartThread, Sockets), RuntimeError> {
        let now = boot_nanoseconds();
        let kernel = |kernel: Result<Kernel, String>| kernel.map_err(RuntimeError::Start);
        let Ports { receive, coordinator, data, send } = self.ports;
        let coordinator = match coordinator {
            Some((half, from_receivers)) => {
                let number = self.coordinator;
                let made = Kernel::coordinator(configuration.clone(), now, shared, number);
                Some((half.with(kernel(made)?), from_receivers))
            }
            None => None,
        };
        let mut managers = Vec::new();
        for (number, half) in (self.manager..).zip(data) {
            let made = Kernel::data(configuration.clone(), now, shared, number);
            managers.push(half.with(kernel(made)?));
        }
        let thread = PartThread {
            bell: self.bell,
            board: Arc::clone(&shared.board),
            leases: Arc::clone(&shared.leases),
            pools,
            messages_per_turn: self.messages_per_turn,
            receivers: self.receivers,
            senders: self.senders,
            receive,
            coordinator,
            data: managers,
            send,
        };
        Ok((thread, self.sockets))
    }
}

/// The mailboxes of a part that has no kernel yet.
struct PartHalf<M> {
    inbound: Vec<Inbound<M>>,
    to_data: Vec<Outbound<duet_datanode_core::ToData>>,
    to_coordinators: Vec<Outbound<duet_datanode_core::ToCoordinator>>,
    to_senders: Vec<Outbound<message::ToSender>>,
}

impl<M> PartHalf<M> {
    fn with(self, kernel: Kernel) -> PartPort<M> {
        let PartHalf { inbound, to_data, to_coordinators, to_senders } = self;
        PartPort { kernel, turn: Turn::default(), inbound, to_data, to_coordinators, to_senders }
    }
}

/// The mailboxes of one thread.
struct Ports {
    receive: Option<ReceivePort>,
    coordinator: Option<(PartHalf<duet_datanode_core::ToCoordinator>, Vec<Inbound<message::ToPart>>)>,
    data: Vec<PartHalf<duet_datanode_core::ToData>>,
    send: Option<SendPort>,
}

/// A mailbox for each pair of one sender and one receiver: `ends[sender]` and `heads[receiver]`.
struct Grid<T> {
    outbound: VecDeque<Vec<Outbound<T>>>,
    inbound: VecDeque<Vec<Inbound<T>>>,
}

impl<T: Send> Grid<T> {
    /// From sources to destinations that sleep behind these bells.
    fn new(sources: &[&LoopBell], destinations: &[&LoopBell], messages: usize) -> Grid<T> {
        let mut outbound: VecDeque<Vec<_>> = sources.iter().map(|_| Vec::new()).collect();
        let mut inbound: VecDeque<Vec<_>> = destinations.iter().map(|_| Vec::new()).collect();
        for (source, row) in sources.iter().zip(&mut outbound) {
            for (bell, column) in destinations.iter().zip(&mut inbound) {
                let (sender, receiver) = mailbox(messages);
                row.push(Outbound::new(sender, (*bell).clone()));
                column.push(Inbound::new(receiver, (*source).clone()));
            }
        }
        Grid { outbound, inbound }
    }

    /// The mailboxes are full, too, when what is in them weighs this much.
    fn weighed(mut self, most: usize, weigh: fn(&T) -> usize) -> Grid<T> {
        for row in &mut self.outbound {
            *row = row.drain(..).map(|outbound| outbound.weighed(most, weigh)).collect();
        }
        self
    }

    /// The sending ends of the next source.
    fn source(&mut self) -> Vec<Outbound<T>> {
        self.outbound.pop_front().unwrap_or_default()
    }

    /// The receiving ends of the next destination.
    fn destination(&mut self) -> Vec<Inbound<T>> {
        self.inbound.pop_front().unwrap_or_default()
    }
}

/// All mailboxes of a pipeline.
struct Wiring {
    frames: Grid<message::ToPart>,
    to_data: Grid<duet_datanode_core::ToData>,
    to_coordinators: Grid<duet_datanode_core::ToCoordinator>,
    to_senders: Grid<message::ToSender>,
    to_assistants: Grid<message::ToAssistant>,
    /// From assistants to owners.
    passed_on: Grid<message::ToSender>,
    assisted: bool,
}

impl Wiring {
    fn new(threads: &[ThreadRoles], bells: &[LoopBell]) -> Wiring {
        let with = |has: fn(&ThreadRoles) -> usize| -> Vec<&LoopBell> {
            threads.iter().zip(bells).flat_map(|(thread, bell)| (0..has(thread)).map(move |_| bell)).collect()
        };
        let receivers = with(|thread| usize::from(thread.receive));
        let coordinators = with(|thread| usize::from(thread.coordinator));
        let managers = with(|thread| thread.managers);
        let assistants = with(|thread| usize::from(thread.send));
        let parts: Vec<&LoopBell> = coordinators.iter().chain(&managers).copied().collect();
        let assisted = !assistants.is_empty();
        Wiring {
            frames: Grid::new(&receivers, &coordinators, MAILBOX_MESSAGES)
                .weighed(FRAME_BYTES, message::ToPart::bytes),
            to_data: Grid::new(&coordinators, &managers, REQUEST_MESSAGES),
            to_coordinators: Grid::new(&parts, &coordinators, MAILBOX_MESSAGES),
            to_senders: Grid::new(&parts, if assisted { &assistants } else { &receivers }, MAILBOX_MESSAGES),
            to_assistants: Grid::new(&receivers, &assistants, MAILBOX_MESSAGES),
            passed_on: Grid::new(&assistants, &receivers, MAILBOX_MESSAGES),
            assisted,
        }
    }

    /// Deals the mailboxes out to the threads. Coordinators come before data parts among the sources.
    fn finish(mut self, threads: &[ThreadRoles]) -> Vec<Ports> {
        let mut coordinators: VecDeque<_> = threads
            .iter()
            .filter(|thread| thread.coordinator)
            .map(|_| {
                let half = PartHalf {
                    inbound: self.to_coordinators.destination(),
                    to_data: self.to_data.source(),
                    to_coordinators: self.to_coordinators.source(),
                    to_senders: self.to_senders.source(),
                };
                (half, self.frames.destination())
            })
            .collect();
        threads
            .iter()
            .map(|thread| Ports {
                coordinator: if thread.coordinator { coordinators.pop_front() } else { None },
                data: (0..thread.managers)
                    .map(|_| PartHalf {
                        inbound: self.to_data.destination(),
                        to_data: Vec::new(),
                        to_coordinators: self.to_coordinators.source(),
                        to_senders: self.to_senders.source(),
                    })
                    .collect(),
                send: thread.send.then(|| SendPort {
                    assistant: Assistant::default(),
                    from_owners: self.to_assistants.destination(),
                    inbound: self.to_senders.destination(),
                    turn: Turn::default(),
                    to_owners: self.passed_on.source(),
                }),
                receive: thread.receive.then(|| ReceivePort {
                    to_coordinators: self.frames.source(),
                    to_assistants: self.to_assistants.source(),
                    inbound: if self.assisted {
                        self.passed_on.destination()
                    } else {
                        self.to_senders.destination()
                    },
                    commands: VecDeque::new(),
                    output: VecDeque::new(),
                    passed: BTreeMap::new(),
                    resuming: Vec::new(),
                    connected: Vec::new(),
                }),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_beyond_the_pool_hold_up_reading() {
        let pools = Pools::new(2);
        let frames: Vec<_> = (0..3).map(|_| pools.frames.take(POOL_BLOCK_BYTES)).collect();
        assert!(pools.are_flooded());
        drop(frames);
        assert!(!pools.are_flooded());
        let _replies: Vec<_> = (0..9).map(|_| pools.replies.take(POOL_BLOCK_BYTES)).collect();
        assert!(!pools.are_flooded(), "replies have a bound of their own");
    }

    #[test]
    fn buffers_take_a_share_of_the_memory() {
        let bytes = |memory_bytes: u64| pool_blocks(memory_bytes) * POOL_BLOCK_BYTES as u64;
        assert_eq!(bytes(16 << 20), 1 << 20);
        assert_eq!(bytes(256 << 20), 16 << 20);
        assert_eq!(bytes(1 << 30), 64 << 20);
        assert_eq!(bytes(64 << 30), 64 << 20);
    }
}
