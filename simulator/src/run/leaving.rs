//! Data nodes that an operator tells to leave while traffic runs.

use super::Run;
use crate::process::{Change, Client, Process};
use crate::queue::{SECOND, Time};
use crate::world::Role;
use duet_protocol::record::LeaveRequest;

impl Run {
    /// Tells a data node to leave at this time, if another one of its group has everything and stays.
    pub(super) fn let_one_leave(&mut self, next: &mut Time) {
        let every = self.world.plan.leave_every;
        if every == 0 || self.world.now() < *next {
            return;
        }
        let random = &mut self.world.identity_random;
        // As faults: rarer with time, so that every run gets to its end.
        let now = self.world.network.queue.now();
        *next = now + random.around(every * (1 + now / SECOND));
        let node = 1 + random.below(u64::from(self.world.plan.data_nodes)) as u32;
        let restarts = random.chance(500_000);
        let number = self.world.numbers(|role| role == Role::Data(node))[0];
        if !self.world.is_running(number) || !self.world.can_lose(number) {
            return;
        }
        let instance = match &self.world.slots[usize::from(number)].process {
            Some(Process::DataNode(data_node)) => data_node.kernel.instance(),
            _ => return,
        };
        if instance.incarnation == 0 {
            return;
        }
        if let Ok(direct) = self.direct() {
            direct.change_dictionary(Change::Leave(LeaveRequest { node, restarts, forced: false }));
            self.world.leavers.push(instance);
        }
    }
}
