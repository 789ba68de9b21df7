//! Faults that strike while a run is not calm.

use crate::event::Event;
use crate::network::{Connection, Kept};
use crate::plan::FaultKind;
use crate::process::{Client, Process};
use crate::queue::{SECOND, Time};
use crate::trace::{ProcessNumber, What};
use crate::world::{Role, Slot, World};
use duet_protocol::record::{Member, MemberState};

/// How many data nodes are cut off in a run when they promote another one.
const MOST_CUT_AT_PROMOTION: usize = 4;

fn is_data(role: Role) -> bool {
    matches!(role, Role::Data(_))
}

fn is_management(role: Role) -> bool {
    matches!(role, Role::Management(_))
}

fn is_client(role: Role) -> bool {
    matches!(role, Role::Client(_))
}

impl World {
    /// Puts the first fault of every kind that is on into the queue.
    pub fn start_faults(&mut self) {
        for kind in 0..self.plan.faults.len() {
            self.next_fault(kind);
        }
    }

    /// Faults become rarer with time, so that every run gets to its end however hard it began.
    fn next_fault(&mut self, kind: usize) {
        let every = self.plan.faults[kind].every * (1 + self.now() / SECOND);
        let wait = self.fault_random.around(every);
        let at = self.now() + wait;
        self.network.queue.push(at, Event::Fault { kind });
    }

    /// A fault of the plan is due.
    pub(crate) fn strike(&mut self, kind: usize) {
        if self.calm {
            return;
        }
        let fault = self.plan.faults[kind];
        let length = self.fault_random.around(fault.length);
        match fault.kind {
            FaultKind::ResetClient => self.reset_one(is_client, |_| true),
            FaultKind::ResetLane => self.reset_one(is_data, is_data),
            FaultKind::ResetAllLanes => self.reset_all_lanes(),
            FaultKind::ResetManagement => self.reset_one(is_data, is_management),
            FaultKind::ResetConsensus => self.reset_one(is_management, is_management),
            FaultKind::PauseDataNode => self.pause_one(is_data, length),
            FaultKind::PauseManagement => self.pause_one(is_management, length),
            FaultKind::PauseClient => self.pause_one(is_client, length),
            FaultKind::Stall => self.stall_one(length),
            FaultKind::RestartManagement => self.kill_management(length),
            FaultKind::KillDataNode => self.kill_data_node(length),
            FaultKind::FreezeDataNode => self.pause_one(is_data, length),
            FaultKind::CutDataNodes => self.cut_data_nodes(length),
            FaultKind::IsolateDataNode => self.isolate_data_node(length),
            FaultKind::SlowDataNode => {
                if let Some(number) = self.pick_process(is_data) {
                    self.slow_down(number, length);
                }
            }
            FaultKind::CutManagement => self.cut_management(length),
            FaultKind::JumpClock => self.jump_clock(),
            FaultKind::WipeManagement => self.wipe_management(length),
            FaultKind::RollBackManagement => self.roll_back_management(length),
            FaultKind::VanishClient => {
                if let Some(number) = self.pick_process(is_client)
                    && self.may_vanish(number)
                {
                    self.vanish(number, Kept::Some);
                }
            }
            // These are in the plan from the beginning.
            FaultKind::SkewClocks | FaultKind::CrashPoints => return,
        }
        self.next_fault(kind);
    }

    pub(crate) fn pick_process(&mut self, wanted: impl Fn(Role) -> bool) -> Option<ProcessNumber> {
        let mut living = self.numbers(wanted);
        living.retain(|number| self.is_running(*number));
        if living.is_empty() { None } else { Some(*self.fault_random.pick(&living)) }
    }

    fn reset_one(&mut self, connecting: impl Fn(Role) -> bool, accepting: impl Fn(Role) -> bool) {
        let role = |process: ProcessNumber| self.slots[usize::from(process)].role;
        let between = |connection: &Connection| {
            let [from, to] = connection.ends.map(|end| role(end.process));
            connecting(from) && accepting(to)
        };
        let open = self.network.open_connections(between);
        if !open.is_empty() {
            let number = *self.fault_random.pick(&open);
            self.reset(number);
        }
    }

    fn reset_all_lanes(&mut self) {
        let role = |process: ProcessNumber| self.slots[usize::from(process)].role;
        let lanes = self
            .network
            .open_connections(|connection| connection.ends.iter().all(|end| is_data(role(end.process))));
        if lanes.is_empty() {
            return;
        }
        let ends_of = |number| self.network.connection(number).map(|found| found.ends.map(|end| end.process));
        let chosen = ends_of(*self.fault_random.pick(&lanes));
        for number in lanes.iter().copied().filter(|number| ends_of(*number) == chosen).collect::<Vec<_>>() {
            self.reset(number);
        }
    }

    /// Breaks all connections of a process.
    pub(crate) fn reset_all_of(&mut self, process: ProcessNumber) {
        let open = self
            .network
            .open_connections(|connection| connection.ends.iter().any(|end| end.process == process));
        for number in open {
            self.reset(number);
        }
    }

    fn reset(&mut self, number: crate::network::ConnectionNumber) {
        let Some(connection) = self.network.connection(number) else { return };
        let process = connection.ends[0].process;
        self.faults.resets += 1;
        // A reset that looks as if the other side had closed would be a lie where that is believed.
        let between_nodes =
            connection.ends.iter().all(|end| is_data(self.slots[usize::from(end.process)].role));
        let honest = between_nodes && self.plan.link_close_is_proof;
        if self.fault_random.chance(500_000) {
            self.network.reset(number, honest);
        } else {
            self.network.arm(number, honest);
        }
        self.note(process, What::Reset, u64::from(number));
    }

    fn pause_one(&mut self, wanted: impl Fn(Role) -> bool, length: Time) {
        if let Some(number) = self.pick_process(wanted) {
            self.pause(number, length);
        }
    }

    fn stall_one(&mut self, length: Time) {
        let (Some(from), Some(to)) = (self.pick_process(|_| true), self.pick_process(|_| true)) else {
            return;
        };
        if from == to {
            return;
        }
        let until = self.now() + length;
        self.faults.stalls += 1;
        self.network.stall(from, to, until);
        self.note(from, What::Stall, u64::from(to));
    }

    /// Kills a data node, if its group can go on without it. It comes back after a while.
    fn kill_data_node(&mut self, length: Time) {
        let Some(number) = self.pick_process(is_data) else { return };
        if self.can_lose(number) {
            let silent = self.fault_random.chance(300_000);
            self.kill(number, silent);
            self.faults.kills += 1;
            let at = self.now() + length;
            self.network.queue.push(at, Event::Restart { process: number });
        }
    }

    /// Whether the other data node of the same group lives and has all rows.
    pub(crate) fn can_lose(&self, number: ProcessNumber) -> bool {
        let Role::Data(node) = self.slots[usize::from(number)].role else { return false };
        let Some(view) = self.latest_view() else { return false };
        let Some((_, group)) = view.group_of(node) else { return false };
        if self.crashes.may_remove(number, self.now(), view.number) {
            // The other one may be removed after this one has ended.
            return false;
        }
        if group.members.iter().any(|member| self.may_leave(member)) {
            return false;
        }
        let full = |member: &&Member| member.node != node && member.state == MemberState::Full;
        group.members.iter().filter(full).any(|member| {
            self.slots.iter().any(|slot| {
                let kernel = match &slot.process {
                    Some(Process::DataNode(node)) => &node.kernel,
                    _ => return false,
                };
                kernel.instance() == member.instance()
            })
        })
    }

    /// Whether a member may still obey an operator who told its node to leave: a later life does not, once nobody asks any more.
    fn may_leave(&self, member: &Member) -> bool {
        let Some(told) = self.leavers.iter().rev().find(|told| told.node == member.node) else {
            return false;
        };
        let is_asked = |slot: &Slot| matches!(&slot.process, Some(Process::Direct(client)) if client.has_schema_change());
        member.incarnation <= told.incarnation
            || member.state != MemberState::Full
            || self.slots.iter().any(is_asked)
    }

    fn cut_data_nodes(&mut self, length: Time) {
        let (Some(one), Some(other)) = (self.pick_process(is_data), self.pick_process(is_data)) else {
            return;
        };
        if one == other {
            return;
        }
        self.cut(one, other, length);
    }

    /// One process does not hear the other for a while, perhaps neither hears the other.
    pub(crate) fn cut(&mut self, one: ProcessNumber, other: ProcessNumber, length: Time) {
        let until = self.now() + length;
        self.faults.cuts += 1;
        self.network.stall(one, other, until);
        if self.fault_random.chance(500_000) {
            self.network.stall(other, one, until);
        }
        self.note(one, What::Stall, u64::from(other));
    }

    /// Cuts a data node off that has just proposed to promote the one that joins: it will not learn what became of that.
    pub(crate) fn cut_at_promotion(&mut self, number: ProcessNumber) {
        let Some(Process::DataNode(node)) = &self.slots[usize::from(number)].process else { return };
        let length = self.plan.cut_at_promotion;
        if length == 0 || self.calm || !node.kernel.proposes_promotion() {
            return;
        }
        let instance = node.kernel.instance();
        // Not for ever: who was cut off is removed, joins again and is promoted by the next one.
        if self.promoters.len() < MOST_CUT_AT_PROMOTION && !self.promoters.contains(&instance) {
            self.promoters.push(instance);
            self.isolate(number, length);
        }
    }

    fn isolate_data_node(&mut self, length: Time) {
        let Some(one) = self.pick_process(is_data) else { return };
        self.isolate(one, length);
    }

    fn isolate(&mut self, one: ProcessNumber, length: Time) {
        let until = self.now() + length;
        self.faults.cuts += 1;
        for other in self.numbers(|role| !is_client(role)) {
            if other != one {
                self.network.stall(one, other, until);
                self.network.stall(other, one, until);
            }
        }
        self.note(one, What::Stall, u64::from(one));
    }

    fn kill_management(&mut self, length: Time) {
        let Some(number) = self.pick_process(is_management) else { return };
        self.kill(number, false);
        let random = &mut self.fault_random;
        self.slots[usize::from(number)].disk.crash(|bound| random.below(bound));
        self.faults.restarts += 1;
        let at = self.now() + length;
        self.network.queue.push(at, Event::Restart { process: number });
    }
}
