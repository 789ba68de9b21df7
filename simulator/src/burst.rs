//! The end of a burst: what leaves a process, and at a crash point whether it does.

use crate::crash::{Blow, Burst, Coverage, CrashPlan, Kind, Moment, Output, PLACES, Place, Standing};
use crate::event::Event;
use crate::network::{Kept, Link};
use crate::process::Process;
use crate::queue::{MILLISECOND, Time};
use crate::random::{Purpose, Random};
use crate::trace::{ProcessNumber, What};
use crate::world::{Role, TICK, World};
use duet_protocol::ids::Instance;
use duet_protocol::record::{Member, MemberState};
use duet_protocol::signal::propose_view::KIND_REMOVE;

/// Time for which a proposal to remove a member may still come true.
const PROPOSAL_LIVES: Time = 5_000 * MILLISECOND;

/// The crash points of a run.
pub(crate) struct Crashes {
    /// Those that something happens at, until it has.
    armed: Vec<CrashPlan>,
    /// What was reached and struck.
    pub(crate) coverage: Coverage,
    random: Random,
    /// Data nodes that have proposed to remove a member, when, and in which view.
    removals: Vec<(ProcessNumber, Time, u64)>,
}

impl Crashes {
    /// Those of a plan.
    pub(crate) fn new(seed: u64, armed: Vec<CrashPlan>) -> Crashes {
        Crashes {
            armed,
            coverage: Coverage::default(),
            random: Random::new(seed ^ 0x5851_f42d_4c95_7f2d, Purpose::CrashPoints),
            removals: Vec::new(),
        }
    }

    /// Whether a data node may have proposed a removal, at or after `since`, that would follow view `view`.
    pub(crate) fn may_remove(&self, process: ProcessNumber, now: Time, view: u64) -> bool {
        self.removals
            .iter()
            .any(|(proposer, at, known)| *proposer == process && *known >= view && at + PROPOSAL_LIVES > now)
    }
}

impl World {
    /// Ends the burst of a process.
    pub(crate) fn flush(&mut self, number: ProcessNumber) {
        let now = self.now();
        let slot = &mut self.slots[usize::from(number)];
        let Some(process) = &mut slot.process else { return };
        let core = process.core();
        let mut output = std::mem::take(&mut self.output);
        let mut orders = std::mem::take(&mut output.orders);
        core.flush(now, &mut |link, bytes| output.push(link, bytes), &mut orders);
        output.orders = orders;
        let violation = core.violation();
        let wake = core.next_wake();
        if wake < slot.wake_at.min(now + TICK) {
            slot.wake_at = wake;
            self.network.queue.push(wake, Event::Wake { process: number, life: slot.life });
        }
        if let Some(violation) = violation {
            self.violate(violation);
        }
        match self.reach(number, &output) {
            Some(crash) => self.strike_at(number, crash, &mut output),
            None => self.release(number, &mut output),
        }
        output.clear();
        self.output = output;
    }

    /// All that a burst hands out leaves.
    fn release(&mut self, number: ProcessNumber, output: &mut Output) {
        let mut backlogs = [(Link { slot: 0, generation: 0 }, 0); 16];
        let mut filled = 0;
        for (link, bytes) in output.parts() {
            let backlog = self.network.send(number, link, bytes);
            if backlog > 0 && filled < backlogs.len() {
                backlogs[filled] = (link, backlog);
                filled += 1;
            }
        }
        if let Some(process) = &mut self.slots[usize::from(number)].process {
            let core = process.core();
            for (link, backlog) in &backlogs[..filled] {
                core.set_backlog(*link, *backlog);
            }
        }
        self.note(number, What::Flush, output.byte_count());
        self.check_burst(number);
        for order in output.orders.drain(..) {
            self.obey(number, order);
        }
    }

    /// What the burst has reached; the first crash that is due there.
    fn reach(&mut self, number: ProcessNumber, output: &Output) -> Option<CrashPlan> {
        let mut burst = std::mem::take(&mut self.slots[usize::from(number)].burst);
        if !self.plan.watched || self.calm {
            return None;
        }
        burst.sends(output);
        let view = self.latest_view().map_or(0, |view| view.number);
        if burst.proposes(KIND_REMOVE) {
            let now = self.now();
            self.crashes.removals.retain(|(_, at, _)| at + PROPOSAL_LIVES > now);
            self.crashes.removals.push((number, now, view));
        }
        if self.plan.crash_points.is_empty() {
            return None;
        }
        let kind = match self.slots[usize::from(number)].role {
            Role::Data(_) => Kind::Data,
            Role::Management(_) => Kind::Management,
            Role::Client(_) => Kind::Client,
        };
        let mut due = None;
        for (index, place) in PLACES.iter().enumerate() {
            if !burst.is_at(place, kind) || !self.stands(number, place) {
                continue;
            }
            self.crashes.coverage.reach(index);
            for position in (0..self.crashes.armed.len()).rev() {
                let armed = &mut self.crashes.armed[position];
                if armed.place != index {
                    continue;
                }
                armed.after = armed.after.saturating_sub(1);
                if armed.after == 0 && due.is_none() {
                    due = Some(self.crashes.armed.swap_remove(position));
                }
            }
        }
        due
    }

    /// Whether a process stands as a place wants it.
    fn stands(&self, number: ProcessNumber, place: &Place) -> bool {
        if place.standing == Standing::Any {
            return true;
        }
        match &self.slots[usize::from(number)].process {
            Some(Process::DataNode(node)) => {
                let me = node.kernel.instance();
                match place.standing {
                    Standing::Joining => self.is_member(me, MemberState::Joining),
                    Standing::Copying => {
                        self.is_member(me, MemberState::Full)
                            && self.group_has(me, |member| member.state == MemberState::Joining)
                    }
                    Standing::Alone => {
                        self.is_member(me, MemberState::Full)
                            && !self.group_has(me, |member| member.instance() != me)
                    }
                    Standing::Changing => node.kernel.is_changing_view(),
                    Standing::Any | Standing::Leading | Standing::Following => false,
                }
            }
            Some(Process::Management(management)) => {
                let leads = management.leads();
                match place.standing {
                    Standing::Leading => leads,
                    Standing::Following => !leads,
                    Standing::Any
                    | Standing::Joining
                    | Standing::Copying
                    | Standing::Alone
                    | Standing::Changing => false,
                }
            }
            Some(_) | None => false,
        }
    }

    fn is_member(&self, instance: Instance, state: MemberState) -> bool {
        self.group_has(instance, |member| member.instance() == instance && member.state == state)
    }

    fn group_has(&self, instance: Instance, wanted: impl Fn(&Member) -> bool) -> bool {
        let group = self.latest_view().and_then(|view| view.group_of(instance.node));
        group.is_some_and(|(_, group)| group.members.iter().any(wanted))
    }

    /// Something happens at a crash point.
    fn strike_at(&mut self, number: ProcessNumber, crash: CrashPlan, output: &mut Output) {
        self.crashes.coverage.strike(crash.place, crash.moment);
        self.faults.crash_points += 1;
        let blow = match (crash.blow, self.slots[usize::from(number)].role) {
            (Blow::Kill, Role::Data(_)) if !self.can_lose(number) => Blow::Freeze,
            (Blow::Kill, Role::Client(_)) if !self.may_vanish(number) => Blow::Reset,
            (blow, _) => blow,
        };
        if crash.moment == Moment::HalfSent && output.len() > 0 {
            let some = self.crashes.random.below(output.len() as u64 + 1) as usize;
            let without_orders = self.crashes.random.chance(500_000);
            if blow == Blow::Kill {
                output.cut(some, without_orders);
            }
        }
        let length = *self.crashes.random.pick(&[20, 300, 700, 1_500]) * MILLISECOND;
        match (blow, crash.moment) {
            (Blow::Kill, Moment::Unsent) => self.end_process(number, length, Kept::Some),
            (Blow::Kill, Moment::HalfSent | Moment::Sent) => {
                self.release(number, output);
                let kept = if crash.moment == Moment::Sent { Kept::All } else { Kept::Some };
                self.end_process(number, length, kept);
            }
            (Blow::Freeze, Moment::Unsent) => {
                self.check_burst(number);
                let mut held = Output::default();
                std::mem::swap(&mut held, output);
                self.slots[usize::from(number)].held_output = Some(held);
                self.pause(number, length);
            }
            (Blow::Freeze, Moment::HalfSent | Moment::Sent) => {
                self.release(number, output);
                self.pause(number, length);
            }
            (Blow::Reset, Moment::Unsent) => {
                self.reset_all_of(number);
                self.release(number, output);
            }
            (Blow::Reset, Moment::HalfSent | Moment::Sent) => {
                self.release(number, output);
                self.reset_all_of(number);
            }
        }
    }

    /// What was held back of a burst leaves when the process goes on.
    pub(crate) fn release_held(&mut self, number: ProcessNumber) {
        if let Some(mut output) = self.slots[usize::from(number)].held_output.take() {
            self.release(number, &mut output);
        }
    }

    /// The process ends at once. Servers come back after a while, clients do not.
    fn end_process(&mut self, number: ProcessNumber, length: Time, kept: Kept) {
        if self.slots[usize::from(number)].process.is_none() {
            return;
        }
        match self.slots[usize::from(number)].role {
            Role::Client(_) => return self.vanish(number, kept),
            Role::Data(_) => {
                self.faults.kills += 1;
                self.kill_keeping(number, kept);
            }
            Role::Management(_) => {
                self.faults.restarts += 1;
                self.kill_keeping(number, kept);
                let random = &mut self.crashes.random;
                self.slots[usize::from(number)].disk.crash(|bound| random.below(bound));
            }
        }
        let at = self.now() + length;
        self.network.queue.push(at, Event::Restart { process: number });
    }

    /// Whether a client may vanish: one that answers for a table of its own is needed, so is the one that the run asks, and one in the
    /// middle of a schema change.
    pub(crate) fn may_vanish(&self, number: ProcessNumber) -> bool {
        let slot = &self.slots[usize::from(number)];
        let is_free = match &slot.process {
            Some(Process::Client(_) | Process::Direct(_)) => slot.role != Role::Client(0),
            Some(_) | None => false,
        };
        let client = slot.process.as_ref().and_then(Process::client);
        is_free && !slot.vanished && client.is_some_and(|client| !client.has_schema_change())
    }

    /// A client ends without a word; what it has seen stays evidence.
    pub(crate) fn vanish(&mut self, number: ProcessNumber, kept: Kept) {
        let slot = &mut self.slots[usize::from(number)];
        let Some(client) = slot.process.as_mut().and_then(Process::client_mut) else { return };
        client.abandon();
        slot.vanished = true;
        slot.life += 1;
        self.faults.vanished += 1;
        self.network.process_died(number, false, kept);
        self.note(number, What::Kill, 2);
    }

    /// Stops a process from handling anything for a while, in slices: it runs a little between them.
    pub(crate) fn slow_down(&mut self, number: ProcessNumber, length: Time) {
        let until = self.now() + length;
        let run = self.fault_random.between(1, 6) * MILLISECOND;
        let stop = self.fault_random.between(5, 80) * MILLISECOND;
        self.slots[usize::from(number)].slow = Some((until, run, stop));
        self.faults.slowed += 1;
        self.pause(number, stop);
    }

    /// The next slice of a slow process begins.
    pub(crate) fn run_slice(&mut self, number: ProcessNumber) {
        let now = self.now();
        let slot = &mut self.slots[usize::from(number)];
        match slot.slow {
            Some((until, run, _)) if now < until && !self.calm => {
                self.network.queue.push(now + run, Event::Slice { process: number, life: slot.life });
            }
            Some(_) | None => slot.slow = None,
        }
    }

    /// The slice of a slow process is over.
    pub(crate) fn end_slice(&mut self, number: ProcessNumber) {
        if let Some((_, _, stop)) = self.slots[usize::from(number)].slow
            && !self.calm
        {
            self.pause(number, stop);
        }
    }

    /// A frame has arrived at a process.
    pub(crate) fn note_heard(&mut self, number: ProcessNumber, frame: &[u8]) {
        if self.plan.watched {
            self.burst_of(number).hears(frame);
        }
    }

    /// What a process has done since its last flush.
    pub(crate) fn burst_of(&mut self, number: ProcessNumber) -> &mut Burst {
        &mut self.slots[usize::from(number)].burst
    }
}
