//! Signals of transactions on their way within the node: between the coordinator and the local data manager of one
//! kernel, or between the parts of a node.
//!
//! A coordinator part hands everything to the data part that owns the lane, for other nodes too; so all that concerns a
//! fragment travels one way and stays in order.

use crate::kernel::{Kernel, context};
use crate::outbox::{Address, Handle, Mail};
use crate::split::{Part, ToCoordinator, ToData, manager_of_lane};
use duet_memory::Section;
use duet_protocol::signal::operate::Operate;
use duet_protocol::signal::operate_reply::OperateReply;
use duet_protocol::signal::{Sections, SignalType, SignalView, signals_in};

/// Signals whose rows are fetched together: about as many as a mail has.
const GROUP: usize = 16;

impl Kernel {
    /// Delivers the mail of the blocks, and what comes of it, until there is none.
    pub(crate) fn deliver_mail(&mut self) {
        while let Some(mail) = self.out.next_mail() {
            match self.part {
                Part::Whole => self.deliver_here(&mail),
                Part::Coordinator(_) | Part::Data(_) => self.hand_mail_on(&mail),
            }
            self.out.recycle_mail(mail);
        }
    }

    fn deliver_here(&mut self, mail: &Mail) {
        match mail.to {
            Address::Fragments { node, lane } => self.signals_to_fragments(node, lane, &mail.signals),
            Address::Coordinator { .. } => {
                for signal in signals_in(&mail.signals) {
                    self.signal_to_coordinator(&signal);
                }
            }
        }
    }

    /// Signals of a lane for fragments of this node, in groups whose rows are fetched together.
    fn signals_to_fragments(&mut self, node: u32, lane: u16, signals: &[u8]) {
        let mut signals = signals_in(signals);
        let mut group = [None; GROUP];
        loop {
            let count = self.ldm.prefetch_rows(&self.map, &mut signals, &mut group);
            for ahead in group[..count].iter().flatten() {
                if ahead.signal.signal_type() == SignalType::DeadlockProbe {
                    self.signal_to_coordinator(&ahead.signal);
                } else {
                    self.ldm.transaction_signal(&mut context!(self), node, lane, &ahead.signal);
                }
            }
            if count < GROUP {
                return;
            }
        }
    }

    fn hand_mail_on(&mut self, mail: &Mail) {
        let Some(split) = &mut self.split else { return };
        let mut section = split.shared.pool.take(mail.signals.len());
        section.extend_from_slice(&mail.signals);
        let signals = section.freeze();
        match (self.part, mail.to) {
            (Part::Data(_), Address::Coordinator { number, .. }) => {
                if let Some(queue) = split.out.to_coordinators.get_mut(usize::from(number)) {
                    queue.push_back(ToCoordinator::Transactions { signals });
                }
            }
            (_, Address::Fragments { node, lane } | Address::Coordinator { node, lane, .. }) => {
                let manager = manager_of_lane(lane, split.shared.managers);
                split.out.to_data[manager].push_back(ToData::Transactions { node, lane, signals });
            }
        }
    }

    /// A signal for a coordinator of this node.
    pub(crate) fn signal_to_coordinator(&mut self, signal: &SignalView<'_>) {
        if let Part::Data(_) = self.part {
            let handle = Handle::of(signal);
            let node = self.out.identity.sender.node;
            let to = Address::Coordinator { node, lane: 0, number: handle.number };
            self.out.pass_on(to, handle, signal);
        } else {
            self.coordinator.transactions.signal(&mut context!(self), signal);
        }
    }

    /// Data part: signals of a coordinator part of this node for a node, in a lane that belongs to this part.
    pub(crate) fn transactions_from_coordinator(&mut self, node: u32, lane: u16, signals: &Section) {
        if node == self.out.identity.sender.node {
            return self.signals_to_fragments(node, lane, signals);
        }
        for signal in signals_in(signals) {
            let handle = Handle::of(&signal);
            if let (Some(code), Some(body)) = (self.out.unreachable(node, lane), signal.body::<Operate>()) {
                let me = self.out.identity.sender.node;
                let answer = OperateReply {
                    number: body.number,
                    code: (code as u16).into(),
                    node: me.into(),
                    ..OperateReply::default()
                };
                let to = Address::Coordinator { node: me, lane, number: handle.number };
                let detail = format!("node {node} leads the partition");
                self.out.post(to, handle, &answer, Sections::one(detail.as_bytes()));
            } else {
                self.out.pass_on(Address::Fragments { node, lane }, handle, &signal);
            }
        }
    }

    /// Coordinator part: signals of a data part of this node.
    pub(crate) fn transactions_from_data(&mut self, signals: &Section) {
        for signal in signals_in(signals) {
            self.coordinator.transactions.signal(&mut context!(self), &signal);
        }
    }
}
