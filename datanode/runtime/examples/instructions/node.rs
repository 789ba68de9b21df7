//! A data node as one kernel, or as two parts with the mailboxes of the real threads between them.

use duet_datanode_core::{
    Command, Destination, Kernel, LinkId, Message, NodeConfiguration, Shared, Target, ToCoordinator, ToData,
};
use duet_memory::SectionPool;
use duet_runtime::{MailboxReceiver, MailboxSender, mailbox};
use std::hint::black_box;

/// As in the threads of a node.
const MAILBOX_MESSAGES: usize = 4_096;
const POOL_BLOCK_BYTES: usize = 32 << 10;

/// Bytes that a node hands out in one turn.
pub struct Output {
    pub bytes: Vec<u8>,
    /// Link of each piece, and where it ends.
    pub ends: Vec<(LinkId, usize)>,
}

impl Output {
    /// Room for more than a turn hands out, so that it never grows.
    pub fn new() -> Output {
        Output { bytes: Vec::with_capacity(4 << 20), ends: Vec::with_capacity(64) }
    }

    fn put(&mut self, link: LinkId, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push((link, self.bytes.len()));
    }
}

/// A frame that waits at a node.
pub type Arrived = (LinkId, Vec<u8>);

/// All that a node does with a burst of frames.
#[inline(never)]
pub fn turn(node: &mut Node, now: u64, frames: &[Arrived], output: &mut Output) {
    for (link, frame) in frames {
        node.frame(now, *link, frame);
    }
    node.flush(now);
    node.drain_output(|link, bytes| output.put(link, bytes));
}

/// As [`turn`]; callgrind counts between entering and leaving this function.
#[inline(never)]
pub fn counted_turn(node: &mut Node, now: u64, frames: &[Arrived], output: &mut Output) {
    turn(node, now, frames, output);
    // Not the same code as `turn`, with which the compiler would merge it.
    black_box(());
}

pub enum Node {
    Whole(Box<Kernel>),
    Split(Box<Parts>),
}

/// A coordinator part and a data part.
pub struct Parts {
    coordinator: Kernel,
    data: Kernel,
    to_data: (MailboxSender<ToData>, MailboxReceiver<ToData>),
    to_coordinator: (MailboxSender<ToCoordinator>, MailboxReceiver<ToCoordinator>),
    pool: SectionPool,
}

impl Node {
    pub fn new(configuration: NodeConfiguration, split: bool) -> Node {
        if !split {
            return Node::Whole(Box::new(Kernel::new(configuration, 0).expect("valid")));
        }
        let shared = Shared::new(configuration.memory_bytes, configuration.max_links, 1, 1).expect("valid");
        Node::Split(Box::new(Parts {
            coordinator: Kernel::coordinator(configuration.clone(), 0, &shared, 0).expect("valid"),
            data: Kernel::data(configuration, 0, &shared, 0).expect("valid"),
            to_data: mailbox(MAILBOX_MESSAGES),
            to_coordinator: mailbox(MAILBOX_MESSAGES),
            pool: SectionPool::new(64, POOL_BLOCK_BYTES),
        }))
    }

    /// The kernel that handles links, and in a node of one part everything else.
    pub fn first(&mut self) -> &mut Kernel {
        match self {
            Node::Whole(kernel) => kernel,
            Node::Split(parts) => &mut parts.coordinator,
        }
    }

    pub fn link_connected(&mut self, now: u64, link: LinkId, target: Target) {
        self.first().link_connected(now, link, target);
    }

    pub fn tick(&mut self, now: u64) {
        self.first().tick(now);
        if let Node::Split(parts) = self {
            parts.data.tick(now);
        }
    }

    pub fn next_command(&mut self) -> Option<Command> {
        match self {
            Node::Whole(kernel) => kernel.next_command(),
            Node::Split(parts) => parts.coordinator.next_command().or_else(|| parts.data.next_command()),
        }
    }

    fn frame(&mut self, now: u64, link: LinkId, bytes: &[u8]) {
        match self {
            Node::Whole(kernel) => kernel.frame(now, link, bytes),
            Node::Split(parts) => {
                let mut section = parts.pool.take(bytes.len());
                section.extend_from_slice(bytes);
                parts.coordinator.shared_frame(now, link, &section.freeze());
            }
        }
    }

    fn flush(&mut self, now: u64) {
        match self {
            Node::Whole(kernel) => kernel.flush(now),
            Node::Split(parts) => while parts.round(now) {},
        }
    }

    fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        match self {
            Node::Whole(kernel) => kernel.drain_output(send),
            Node::Split(parts) => {
                parts.coordinator.drain_output(&mut send);
                parts.data.drain_output(&mut send);
            }
        }
    }
}

impl Parts {
    /// The two parts one after the other, as their threads do it. Whether there may be more to do.
    fn round(&mut self, now: u64) -> bool {
        let Parts { coordinator, data, to_data, to_coordinator, .. } = self;
        coordinator.flush(now);
        let mut all = hand_out(coordinator, &mut to_data.0, &mut to_coordinator.0);
        while let Some(message) = to_data.1.pop() {
            data.data_message(now, 0, message);
        }
        let _ = to_data.1.release();
        data.flush(now);
        all &= hand_out(data, &mut to_data.0, &mut to_coordinator.0);
        let mut any = false;
        while let Some(message) = to_coordinator.1.pop() {
            coordinator.coordinator_message(now, message);
            any = true;
        }
        let _ = to_coordinator.1.release();
        any || !all
    }
}

/// Moves what a part hands out into the mailboxes. False when a mailbox is full.
fn hand_out(
    part: &mut Kernel,
    to_data: &mut MailboxSender<ToData>,
    to_coordinator: &mut MailboxSender<ToCoordinator>,
) -> bool {
    let all = part.drain_messages(|destination, message| match (destination, message) {
        (Destination::Data(_), Message::Data(message)) => to_data.push(message).map_err(Message::Data),
        (Destination::Coordinator(_), Message::Coordinator(message)) => {
            to_coordinator.push(message).map_err(Message::Coordinator)
        }
        (_, message) => Err(message),
    });
    to_data.publish();
    to_coordinator.publish();
    all
}
