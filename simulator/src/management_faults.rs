//! Faults of management nodes: lost and old directories, clocks that jump, cuts between them and other servers.

use crate::disk::Disk;
use crate::event::Event;
use crate::network::Kept;
use crate::process::{Management, Process};
use crate::queue::{MILLISECOND, SECOND, Time};
use crate::trace::{ProcessNumber, What};
use crate::world::{Role, World};

/// A copy of the directory of a management node, and the term in which it was made.
pub(crate) struct DirectoryCopy {
    bytes: Vec<u8>,
    term: u64,
}

fn is_management(role: Role) -> bool {
    matches!(role, Role::Management(_))
}

impl World {
    fn management(&self, number: ProcessNumber) -> Option<&Management> {
        match &self.slots[usize::from(number)].process {
            Some(Process::Management(management)) => Some(management),
            Some(_) | None => None,
        }
    }

    /// Whether all three management nodes live, run, are the voters, and have what they have acknowledged: then any one of them may lose
    /// its directory, because the other two stay a majority that is never asked twice (a lost one comes back under a new Raft id).
    fn all_three_vote(&self) -> bool {
        let numbers = self.numbers(is_management);
        let running = numbers.iter().all(|number| {
            // One that was rolled back and has not noticed it yet has lost its directory already.
            self.is_running(*number)
                && self.management(*number).is_some()
                && !self.slots[usize::from(*number)].rolled_back
        });
        if numbers.len() < 3 || !running {
            return false;
        }
        let Some(leader) =
            numbers.iter().filter_map(|number| self.management(*number)).find(|node| node.leads())
        else {
            return false;
        };
        let mut voters: Vec<u64> =
            leader.node.state().management.iter().map(|record| record.raft_id).collect();
        let mut here: Vec<u64> =
            numbers.iter().map(|number| self.slots[usize::from(*number)].raft_id).collect();
        voters.sort_unstable();
        here.sort_unstable();
        voters == here
    }

    /// Kills a management node whose directory is gone when it comes back.
    pub(crate) fn wipe_management(&mut self, length: Time) {
        if !self.all_three_vote() {
            return;
        }
        let Some(number) = self.pick_process(is_management) else { return };
        self.kill(number, false);
        let slot = &mut self.slots[usize::from(number)];
        // A copy from before would be that of another node.
        (slot.disk, slot.copy) = (Disk::default(), None);
        self.faults.wiped += 1;
        let at = self.now() + length;
        self.network.queue.push(at, Event::Restart { process: number });
    }

    /// Keeps a copy of a management node's directory, or puts it back: the node has forgotten what it has acknowledged since. That
    /// is survived if both others have all of it; the node must notice.
    pub(crate) fn roll_back_management(&mut self, length: Time) {
        let Some(number) = self.pick_process(is_management) else { return };
        let now = self.now();
        let Some(gauges) = self.management(number).map(|management| management.node.gauges(now)) else {
            return;
        };
        let slot = &mut self.slots[usize::from(number)];
        let Some(copy) = slot.copy.take() else {
            if slot.disk.is_idle() && gauges.leader != 0 {
                slot.copy = Some(DirectoryCopy { bytes: slot.disk.contents().to_vec(), term: gauges.term });
            }
            return;
        };
        let is_behind = copy.bytes.len() < slot.disk.contents().len();
        let progress: Vec<(u64, u64)> = self
            .numbers(is_management)
            .iter()
            .filter_map(|number| self.management(*number))
            .map(|management| management.node.gauges(now))
            .map(|gauges| (gauges.term, gauges.applied))
            .collect();
        let same = progress.iter().all(|(term, applied)| *term == copy.term && *applied == gauges.applied);
        if !is_behind || !same || !self.all_three_vote() {
            return;
        }
        self.kill_keeping(number, Kept::Nothing);
        let slot = &mut self.slots[usize::from(number)];
        slot.disk.restore(copy.bytes);
        slot.rolled_back = true;
        self.faults.rolled_back += 1;
        self.network.queue.push(now + length, Event::Restart { process: number });
    }

    /// A management node has found that its directory was rolled back and ended: its operator empties the directory.
    pub(crate) fn empty_directory(&mut self, number: ProcessNumber) {
        let slot = &mut self.slots[usize::from(number)];
        slot.rolled_back = false;
        (slot.disk, slot.copy) = (Disk::default(), None);
        let at = self.now() + self.fault_random.around(300 * MILLISECOND);
        self.network.queue.push(at, Event::Restart { process: number });
    }

    /// The operator asks the leader to let management nodes in whose directories were lost.
    pub(crate) fn replace_lost_directories(&mut self, leader: ProcessNumber) {
        let Some(management) = self.management(leader).filter(|management| management.leads()) else {
            return;
        };
        let known = management.node.state().management.clone();
        for number in self.numbers(is_management) {
            let slot = &self.slots[usize::from(number)];
            let Role::Management(node) = slot.role else { continue };
            let came_back = slot.process.is_some() && slot.raft_id != 0;
            let is_new = known.iter().any(|record| record.node == node && record.raft_id != slot.raft_id);
            if came_back
                && is_new
                && let Some(Process::Management(management)) = &mut self.slots[usize::from(leader)].process
            {
                management.node.replace(node);
            }
        }
    }

    /// The clock of a management node jumps ahead.
    pub(crate) fn jump_clock(&mut self) {
        let Some(number) = self.pick_process(is_management) else { return };
        let by = *self.fault_random.pick(&[50 * MILLISECOND, 500 * MILLISECOND, 10 * SECOND, 3_600 * SECOND]);
        let slot = &mut self.slots[usize::from(number)];
        slot.clock.jump(by);
        if let Some(Process::Management(management)) = &mut slot.process {
            management.clock = slot.clock;
        }
        self.faults.jumps += 1;
        self.note(number, What::Jump, by);
    }

    /// A management node and another server stop hearing each other, or one stops hearing the other.
    pub(crate) fn cut_management(&mut self, length: Time) {
        let one = self.pick_process(is_management);
        let other = self.pick_process(|role| !matches!(role, Role::Client(_)));
        let (Some(one), Some(other)) = (one, other) else { return };
        if one != other {
            self.cut(one, other, length);
        }
    }
}
