//! One thread of a pipeline: any of a receiver, a coordinator part, data parts and a sender, in front of a loop.

use super::Pools;
use super::assistant::Assistant;
use super::inbound::Inbound;
use super::message::{ToAssistant, ToPart, ToSender};
use super::outbound::Outbound;
use crate::clock::{boot_nanoseconds, wall_microseconds};
use crate::driven::{Driven, TICK_EVERY};
use crate::mailbox::LoopBell;
use duet_datanode_core::{
    CloseReason, Command, Destination, Kernel, LeaseBoard, LinkBoard, LinkId, Message, Nanoseconds,
    NodeCounters, Target, ToCoordinator, ToData,
};
use duet_memory::{Section, SectionPool};
use duet_protocol::error::ErrorCode;
use duet_protocol::frame::MAX_FRAME_BYTES;
use socket2::Socket;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Time between ticks while nothing but heartbeats, reports and deadlines of links waits for them.
const CALM_TICK_EVERY: Nanoseconds = 100_000_000;
/// Time between ticks of a thread without any timer, whose counters alone are shown then.
const UNTIMED_TICK_EVERY: Nanoseconds = 1_000_000_000;
/// Rounds in which the parts of one thread hand messages to each other before sockets are looked at again.
const ROUNDS_PER_TURN: usize = 4;
/// Messages that may wait in a kernel for their mailboxes before it is given no more work.
const KERNEL_MESSAGES: usize = 2_048;

/// Whose turn it is among several mailboxes. Those that are left out, because there is no room for what their messages lead
/// to, come first in the next round.
#[derive(Debug, Default)]
pub(crate) struct Turn(usize);

impl Turn {
    fn next(&mut self, of: usize) -> usize {
        let index = self.0 % of;
        self.0 = index + 1;
        index
    }
}

/// A kernel and its mailboxes.
pub(crate) struct PartPort<M> {
    pub kernel: Kernel,
    /// Of the mailboxes that are taken from only while there is room.
    pub turn: Turn,
    /// From the coordinators (data part), or from the data parts and coordinator 0 (coordinator part).
    pub inbound: Vec<Inbound<M>>,
    pub to_data: Vec<Outbound<ToData>>,
    pub to_coordinators: Vec<Outbound<ToCoordinator>>,
    pub to_senders: Vec<Outbound<ToSender>>,
}

/// The receiving side of a thread that owns sockets.
pub(crate) struct ReceivePort {
    pub to_coordinators: Vec<Outbound<ToPart>>,
    /// To the send thread of this receiver's links, if there is one.
    pub to_assistants: Vec<Outbound<ToAssistant>>,
    /// From the parts, or from the send threads that pass on.
    pub inbound: Vec<Inbound<ToSender>>,
    pub commands: VecDeque<Command>,
    /// Bytes to be sent by the loop, in order.
    pub output: VecDeque<(LinkId, Section)>,
    /// Messages of each link that an assistant has passed on, until it was told that they are sent.
    pub passed: BTreeMap<LinkId, u64>,
    /// Links whose assistant waits to be told.
    pub resuming: Vec<LinkId>,
    /// Connections that this node opened: coordinator 0 handles them. They are few.
    pub connected: Vec<LinkId>,
}

/// The sending side of a thread that sends for others.
pub(crate) struct SendPort {
    pub assistant: Assistant,
    pub from_owners: Vec<Inbound<ToAssistant>>,
    pub inbound: Vec<Inbound<ToSender>>,
    pub turn: Turn,
    pub to_owners: Vec<Outbound<ToSender>>,
}

/// What one thread does.
pub(crate) struct PartThread {
    pub bell: LoopBell,
    pub board: Arc<LinkBoard>,
    pub leases: Arc<LeaseBoard>,
    pub pools: Pools,
    /// Messages taken from one mailbox before their results are handed on and the others have their turn.
    pub messages_per_turn: usize,
    pub receivers: usize,
    pub senders: usize,
    pub receive: Option<ReceivePort>,
    pub coordinator: Option<(PartPort<ToCoordinator>, Vec<Inbound<ToPart>>)>,
    pub data: Vec<PartPort<ToData>>,
    pub send: Option<SendPort>,
}

/// Whether so much waits in a kernel that it must be given no more work.
#[inline]
fn holds_too_much(kernel: &Kernel) -> bool {
    kernel.waiting_messages() > KERNEL_MESSAGES || kernel.has_burst()
}

impl<M: Send> PartPort<M> {
    /// Whether no more work may be taken: what it leads to would have to wait. Mailboxes fill up only at the end of a
    /// burst, so that within one it is enough to look at the kernel.
    fn is_congested(&self) -> bool {
        holds_too_much(&self.kernel)
            || self.to_senders.iter().any(Outbound::is_congested)
            || self.to_coordinators.iter().any(Outbound::is_congested)
    }

    /// Whether a mailbox that messages wait for has room again.
    fn has_room_again(&mut self) -> bool {
        self.to_senders.iter_mut().any(Outbound::has_room_again)
            || self.to_coordinators.iter_mut().any(Outbound::has_room_again)
            || self.to_data.iter_mut().any(Outbound::has_room_again)
    }

    /// Hands out the messages of the kernel. Those that do not fit their mailbox stay in the kernel.
    fn hand_out(&mut self) {
        let PartPort { kernel, to_data, to_coordinators, .. } = self;
        loop {
            for mailbox in to_data.iter_mut() {
                mailbox.publish();
            }
            for mailbox in to_coordinators.iter_mut() {
                mailbox.publish();
            }
            // What is left behind waits for mailboxes that were full when they were published: each of them rings.
            let waiting = kernel.waiting_messages();
            if waiting == 0 {
                return;
            }
            kernel.drain_messages(|destination, message| match (destination, message) {
                (Destination::Data(index), Message::Data(message)) if !to_data[index].is_congested() => {
                    to_data[index].push(message);
                    Ok(())
                }
                (Destination::Coordinator(index), Message::Coordinator(message))
                    if !to_coordinators[index].is_congested() =>
                {
                    to_coordinators[index].push(message);
                    Ok(())
                }
                (_, message) => Err(message),
            });
            if kernel.waiting_messages() == waiting {
                return;
            }
        }
    }

    /// Ends a burst: hands out what the kernel wants sent and done.
    fn flush(&mut self, pool: &SectionPool, board: &LinkBoard, senders: usize) {
        // What the kernel lets out now is judged by the time after the last row was looked at.
        self.kernel.flush(boot_nanoseconds());
        let to_senders = &mut self.to_senders;
        self.kernel.drain_output(|link, bytes| {
            let mut section = pool.take(bytes.len());
            section.extend_from_slice(bytes);
            board.hand_out(link, bytes.len());
            to_senders[link.slot as usize % senders].push(ToSender::Bytes(link, section.freeze()));
        });
        while let Some(command) = self.kernel.next_command() {
            match command {
                Command::Close { link, refused } => {
                    self.to_senders[link.slot as usize % senders].push(ToSender::Close(link, refused));
                }
                Command::Connect { target, address } => {
                    self.to_senders[0].push(ToSender::Connect(target, address.into_boxed_str()));
                }
                Command::Warn { text } => self.to_senders[0].push(ToSender::Warn(text.into_boxed_str())),
                Command::Stop { reason } => self.to_senders[0].push(ToSender::Stop(reason.into_boxed_str())),
                Command::End { restarts, reason } => {
                    self.to_senders[0].push(ToSender::End(restarts, reason.into_boxed_str()));
                }
            }
        }
        for mailbox in &mut self.to_senders {
            mailbox.publish();
        }
        self.hand_out();
    }
}

impl ReceivePort {
    /// Takes what parts and send threads want of the links that this thread owns. Whether there was anything.
    fn take(&mut self, messages: usize) -> bool {
        let mut any = false;
        let assisted = !self.to_assistants.is_empty();
        for mailbox in &mut self.inbound {
            let ReceivePort { output, commands, passed, resuming, .. } = self;
            let taken = mailbox.drain(messages, |message| match message {
                ToSender::Bytes(link, bytes) => {
                    if assisted {
                        *passed.entry(link).or_default() += 1;
                        resuming.push(link);
                    }
                    output.push_back((link, bytes));
                }
                ToSender::Close(link, refused) => commands.push_back(Command::Close { link, refused }),
                ToSender::Connect(target, address) => {
                    commands.push_back(Command::Connect { target, address: address.into() });
                }
                ToSender::Warn(text) => commands.push_back(Command::Warn { text: text.into() }),
                ToSender::Stop(reason) => commands.push_back(Command::Stop { reason: reason.into() }),
                ToSender::End(restarts, reason) => {
                    commands.push_back(Command::End { restarts, reason: reason.into() });
                }
            });
            any |= taken > 0;
        }
        any
    }

    /// Tells assistants of links that are sent completely.
    fn resume(&mut self, board: &LinkBoard) {
        let senders = self.to_assistants.len();
        if senders == 0 {
            return;
        }
        let ReceivePort { output, passed, resuming, to_assistants, .. } = self;
        if !output.is_empty() {
            return;
        }
        resuming.sort_unstable();
        resuming.dedup();
        resuming.retain(|link| {
            let Some(taken) = passed.get(link) else { return false };
            if board.unsent(*link) > 0 {
                return true;
            }
            to_assistants[link.slot as usize % senders].push(ToAssistant::Resume(*link, *taken));
            false
        });
    }

    /// The coordinator part that handles a link.
    fn coordinator_of(&self, link: LinkId) -> usize {
        let coordinators = self.to_coordinators.len();
        if coordinators == 1 || self.connected.contains(&link) {
            0
        } else {
            link.slot as usize % coordinators
        }
    }
}

impl SendPort {
    /// Sends what the parts hand out; what the system does not take goes to the owner of the link.
    fn take(&mut self, board: &LinkBoard, receivers: usize, messages: usize) -> bool {
        let SendPort { assistant, from_owners, inbound, turn, to_owners } = self;
        let mut any = hear_owners(assistant, from_owners);
        for _ in 0..inbound.len() {
            if to_owners.iter().any(Outbound::is_congested) {
                break;
            }
            let index = turn.next(inbound.len());
            let taken = inbound[index].drain_while(messages, |message| {
                let (owner, message) = match message {
                    ToSender::Bytes(link, bytes) => {
                        let owner = link.slot as usize % receivers;
                        let rest = assistant.send(link, &bytes);
                        if board.arrived(link, bytes.len() - rest.as_ref().map_or(0, |rest| rest.len())) {
                            to_owners[owner].ring();
                        }
                        match rest {
                            Some(rest) => (owner, ToSender::Bytes(link, rest)),
                            None => return true,
                        }
                    }
                    ToSender::Close(link, _) => (link.slot as usize % receivers, message),
                    other => (0, other),
                };
                to_owners[owner].push(message);
                !to_owners[owner].is_congested()
            });
            any |= taken > 0;
        }
        for mailbox in to_owners {
            mailbox.publish();
        }
        any
    }
}

fn hear_owners(assistant: &mut Assistant, from_owners: &mut [Inbound<ToAssistant>]) -> bool {
    let mut any = false;
    for mailbox in from_owners {
        any |= mailbox.drain(usize::MAX, |message| assistant.told(message)) > 0;
    }
    any
}

impl PartThread {
    /// One round of everything that this thread does besides its sockets. Whether there was anything to do.
    fn round(&mut self, now: Nanoseconds) -> bool {
        let mut any = false;
        let messages = self.messages_per_turn;
        if let Some((port, from_receivers)) = &mut self.coordinator {
            for mailbox in &mut port.inbound {
                any |= mailbox.drain(messages, |message| port.kernel.coordinator_message(now, message)) > 0;
            }
            for _ in 0..from_receivers.len() {
                if port.is_congested() {
                    break;
                }
                let index = port.turn.next(from_receivers.len());
                let kernel = &mut port.kernel;
                let taken = from_receivers[index].drain_while(messages, |message| {
                    match message {
                        ToPart::Frame(link, frame) => kernel.shared_frame(now, link, &frame),
                        ToPart::Accepted(link) => kernel.link_accepted(now, link),
                        ToPart::Connected(link, target) => kernel.link_connected(now, link, target),
                        ToPart::ConnectFailed(target) => kernel.connect_failed(now, target),
                        ToPart::Closed(link, reason) => kernel.link_closed(now, link, reason),
                        ToPart::Damaged(link, code) => kernel.damaged(now, link, code),
                    }
                    !holds_too_much(kernel)
                });
                any |= taken > 0;
            }
            port.flush(&self.pools.replies, &self.board, self.senders);
        }
        for port in &mut self.data {
            for _ in 0..port.inbound.len() {
                if port.is_congested() {
                    break;
                }
                let index = port.turn.next(port.inbound.len());
                let kernel = &mut port.kernel;
                let taken = port.inbound[index].drain_while(messages, |message| {
                    kernel.data_message(now, index, message);
                    !holds_too_much(kernel)
                });
                any |= taken > 0;
            }
            port.flush(&self.pools.replies, &self.board, self.senders);
        }
        if let Some(send) = &mut self.send {
            any |= send.take(&self.board, self.receivers, messages);
        }
        if let Some(receive) = &mut self.receive {
            any |= receive.take(messages);
            for mailbox in &mut receive.to_coordinators {
                mailbox.publish();
            }
            receive.resume(&self.board);
            for mailbox in &mut receive.to_assistants {
                mailbox.publish();
            }
        }
        any
    }
}

impl Driven for PartThread {
    fn link_accepted(&mut self, _now: Nanoseconds, link: LinkId) {
        if let Some(receive) = &mut self.receive {
            let coordinator = receive.coordinator_of(link);
            receive.to_coordinators[coordinator].push(ToPart::Accepted(link));
        }
    }

    fn link_connected(&mut self, _now: Nanoseconds, link: LinkId, target: Target) {
        if let Some(receive) = &mut self.receive {
            receive.connected.push(link);
            receive.to_coordinators[0].push(ToPart::Connected(link, target));
        }
    }

    fn connect_failed(&mut self, _now: Nanoseconds, target: Target) {
        if let Some(receive) = &mut self.receive {
            receive.to_coordinators[0].push(ToPart::ConnectFailed(target));
        }
    }

    fn link_closed(&mut self, _now: Nanoseconds, link: LinkId, reason: CloseReason) {
        if let Some(receive) = &mut self.receive {
            let coordinator = receive.coordinator_of(link);
            receive.to_coordinators[coordinator].push(ToPart::Closed(link, reason));
        }
    }

    fn frame_limit(&self, link: LinkId) -> usize {
        self.board.frame_limit(link)
    }

    fn frame(&mut self, _now: Nanoseconds, link: LinkId, bytes: &[u8]) {
        // Only links between nodes accept frames of this size.
        if self.board.frame_limit(link) == MAX_FRAME_BYTES {
            self.pools.early.notice(link, bytes);
        }
        let mut section = self.pools.frames.take(bytes.len());
        section.extend_from_slice(bytes);
        if let Some(receive) = &mut self.receive {
            let coordinator = receive.coordinator_of(link);
            receive.to_coordinators[coordinator].push(ToPart::Frame(link, section.freeze()));
        }
    }

    fn damaged(&mut self, _now: Nanoseconds, link: LinkId, code: ErrorCode) {
        if let Some(receive) = &mut self.receive {
            let coordinator = receive.coordinator_of(link);
            receive.to_coordinators[coordinator].push(ToPart::Damaged(link, code));
        }
    }

    fn tick(&mut self, now: Nanoseconds) {
        if let Some((port, _)) = &mut self.coordinator {
            port.kernel.tick(now);
        }
        for port in &mut self.data {
            if port.kernel.keeps_leases() {
                for (link, frame) in self.pools.early.take() {
                    port.kernel.early_frame(now, link, &frame);
                }
            }
            port.kernel.set_wall_clock(wall_microseconds());
            port.kernel.tick(now);
        }
    }

    fn leave(&mut self, now: Nanoseconds) {
        if let Some((port, _)) = &mut self.coordinator {
            port.kernel.leave(now);
        }
    }

    fn tick_every(&self) -> Nanoseconds {
        let mut kernels = self
            .coordinator
            .iter()
            .map(|(port, _)| &port.kernel)
            .chain(self.data.iter().map(|port| &port.kernel));
        if kernels.any(|kernel| !kernel.is_calm()) || self.pools.are_flooded() {
            TICK_EVERY
        } else if self.coordinator.is_none() && self.data.is_empty() && self.receive.is_none() {
            UNTIMED_TICK_EVERY
        } else {
            CALM_TICK_EVERY
        }
    }

    fn flush(&mut self, now: Nanoseconds) {
        for _ in 0..ROUNDS_PER_TURN {
            if !self.round(now) {
                break;
            }
        }
    }

    fn drain_output(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        if let Some(receive) = &mut self.receive {
            for (link, bytes) in receive.output.drain(..) {
                send(link, &bytes);
                // This thread reads the link and looks at it again before it sleeps.
                let _ = self.board.arrived(link, bytes.len());
            }
        }
    }

    fn set_backlog(&mut self, link: LinkId, bytes: usize) {
        self.board.set_backlog(link, bytes);
    }

    fn wants_input(&self, link: LinkId) -> bool {
        let room = self
            .receive
            .as_ref()
            .is_none_or(|receive| !receive.to_coordinators[receive.coordinator_of(link)].is_congested());
        room && !self.pools.are_flooded() && self.board.wants_input(link)
    }

    fn next_command(&mut self) -> Option<Command> {
        self.receive.as_mut()?.commands.pop_front()
    }

    fn counters(&self) -> NodeCounters {
        self.coordinator.as_ref().map(|(port, _)| port.kernel.counters()).unwrap_or_default()
    }

    fn link_opened(&mut self, link: LinkId, socket: &Arc<Socket>) {
        if let Some(receive) = &mut self.receive
            && !receive.to_assistants.is_empty()
        {
            let sender = link.slot as usize % receive.to_assistants.len();
            receive.to_assistants[sender].push(ToAssistant::Opened(link, Arc::clone(socket)));
            // Before anything that leads to an answer on it.
            receive.to_assistants[sender].publish();
        }
    }

    fn link_ending(&mut self, link: LinkId) {
        // The parts hear of it later, and the other node may take the end of the link for a proof that this one serves no
        // more. Only links between nodes accept frames of this size.
        if self.board.frame_limit(link) == MAX_FRAME_BYTES {
            self.leases.surrender(boot_nanoseconds());
        }
    }

    fn link_removed(&mut self, link: LinkId) {
        if let Some(receive) = &mut self.receive {
            receive.passed.remove(&link);
            receive.connected.retain(|connected| *connected != link);
            if !receive.to_assistants.is_empty() {
                let sender = link.slot as usize % receive.to_assistants.len();
                receive.to_assistants[sender].push(ToAssistant::Removed(link));
            }
        }
    }

    fn closes_damaged_links(&self) -> bool {
        true
    }

    fn bell(&self) -> Option<LoopBell> {
        Some(self.bell.clone())
    }

    fn has_mail(&mut self) -> bool {
        fn any<T: Send>(mailboxes: &mut [Inbound<T>]) -> bool {
            mailboxes.iter_mut().any(|mailbox| !mailbox.is_empty())
        }
        fn room<T: Send>(mailboxes: &mut [Outbound<T>]) -> bool {
            mailboxes.iter_mut().any(Outbound::has_room_again)
        }
        // What may not be taken now is no reason to stay awake: room that returns is.
        if let Some((port, from_receivers)) = &mut self.coordinator
            && (any(&mut port.inbound)
                || port.has_room_again()
                || (!port.is_congested() && any(from_receivers)))
        {
            return true;
        }
        let data = |port: &mut PartPort<ToData>| {
            port.has_room_again() || (!port.is_congested() && any(&mut port.inbound))
        };
        if self.data.iter_mut().any(data) {
            return true;
        }
        if let Some(send) = &mut self.send
            && (any(&mut send.from_owners)
                || room(&mut send.to_owners)
                || (!send.to_owners.iter().any(Outbound::is_congested) && any(&mut send.inbound)))
        {
            return true;
        }
        self.receive.as_mut().is_some_and(|receive| {
            any(&mut receive.inbound)
                || room(&mut receive.to_coordinators)
                || room(&mut receive.to_assistants)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{MailboxSender, mailbox};
    use crate::poll::Waker;

    /// A thread that only sends, what fills it, and the owner that it passes closing to.
    fn sender(messages_per_turn: usize) -> (PartThread, MailboxSender<ToSender>, Inbound<ToSender>) {
        let bell = LoopBell::new(Waker::new().unwrap());
        let (to_thread, from_parts) = mailbox(1_024);
        let (to_owner, owner) = mailbox(1_024);
        let send = SendPort {
            assistant: Assistant::default(),
            from_owners: Vec::new(),
            inbound: vec![Inbound::new(from_parts, bell.clone())],
            turn: Turn::default(),
            to_owners: vec![Outbound::new(to_owner, bell.clone())],
        };
        let thread = PartThread {
            bell: bell.clone(),
            board: Arc::new(LinkBoard::new(4)),
            leases: Arc::default(),
            pools: Pools::new(2),
            messages_per_turn,
            receivers: 1,
            senders: 1,
            receive: None,
            coordinator: None,
            data: Vec::new(),
            send: Some(send),
        };
        (thread, to_thread, Inbound::new(owner, bell))
    }

    #[test]
    fn mailboxes_that_were_left_out_come_first_in_the_next_round() {
        let mut turn = Turn::default();
        let mut round = |of: usize, taken: usize| (0..taken).map(|_| turn.next(of)).collect::<Vec<_>>();
        assert_eq!(round(3, 3), [0, 1, 2]);
        assert_eq!(round(3, 1), [0]);
        assert_eq!(round(3, 2), [1, 2]);
        assert_eq!(round(1, 1), [0]);
    }

    #[test]
    fn a_burst_is_handed_on_in_turns_of_the_chosen_size() {
        for (messages_per_turn, expected) in [(16, 16), (512, 512), (4_096, 1_000)] {
            let (mut thread, mut to_thread, mut owner) = sender(messages_per_turn);
            for generation in 1..=1_000 {
                to_thread.push(ToSender::Close(LinkId { slot: 0, generation }, None)).ok().unwrap();
            }
            to_thread.publish();
            let mut next = 1;
            assert!(thread.round(0));
            let handed_on = owner.drain(usize::MAX, |message| {
                let ToSender::Close(link, _) = message else { panic!("only closing was sent") };
                assert_eq!(link.generation, next);
                next += 1;
            });
            assert_eq!(handed_on, expected);
            assert_eq!(thread.has_mail(), expected < 1_000);
        }
    }

    #[test]
    fn a_thread_that_is_held_back_sleeps_until_there_is_room() {
        let (mut thread, mut to_thread, mut owner) = sender(4_096);
        let mut sent = 0;
        while sent < 3_000 {
            if to_thread.push(ToSender::Close(LinkId { slot: 0, generation: 1 }, None)).is_err() {
                to_thread.publish();
                thread.flush(0);
                if to_thread.room() == 0 {
                    break;
                }
                continue;
            }
            sent += 1;
        }
        assert_eq!(sent, 1_024 + 1 + 1_024, "both mailboxes are full and one message waits");
        assert!(!thread.has_mail(), "it has mail that it may not take");
        let mut taken = owner.drain(1, |_| ());
        assert_eq!(taken, 1);
        assert!(thread.has_mail(), "there is room");
        while taken < sent {
            thread.flush(0);
            taken += owner.drain(usize::MAX, |_| ());
        }
        assert!(!thread.has_mail());
    }
}
