//! Crash points: named moments of what processes do, at which a run may end one of them, stop it for a while, or break its
//! connections.
//!
//! A point is a *place* and a *moment*. A place is what a role hears, sends or writes, perhaps only in some standing (`places.rs`
//! has the list). All blocks are state machines without input and output, so a place is recognised from outside, by the signals of a
//! burst, and costs real processes nothing. The moment is how much of that burst's output has left: nothing, a random part, or all
//! of it. What has not left is lost with the memory of a process that is killed.

mod places;
mod watch;

pub use places::PLACES;
pub(crate) use watch::{Burst, Output};

use crate::random::Random;
use duet_protocol::signal::SignalType;

/// How much of the output of the burst in which a place is reached has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing.
    Unsent,
    /// A random part.
    HalfSent,
    /// All.
    Sent,
}

impl Moment {
    /// All moments.
    pub const ALL: [Moment; 3] = [Moment::Unsent, Moment::HalfSent, Moment::Sent];

    /// Its part of the name of a point.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Unsent => "unsent",
            Moment::HalfSent => "half-sent",
            Moment::Sent => "sent",
        }
    }
}

/// Whose place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data nodes.
    Data,
    /// Management nodes.
    Management,
    /// Clients.
    Client,
}

/// What makes a burst reach a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A signal arrived in it.
    Hears(SignalType),
    /// A signal would leave.
    Sends(SignalType),
    /// A Raft message of this type arrived.
    HearsRaft(u8),
    /// A Raft message of this type would leave.
    SendsRaft(u8),
    /// A change of the view of this kind would be proposed.
    Proposes(u16),
    /// Bytes are handed to the disk; whether they replace the log.
    Writes(bool),
    /// The disk has said that bytes are durable; whether they replaced the log.
    Durable(bool),
    /// A connection between servers was lost.
    Loses,
}

/// What else must hold for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Any,
    /// The data node joins its group.
    Joining,
    /// The data node has everything and another one joins.
    Copying,
    /// The data node is the only one of its group.
    Alone,
    /// A change of view is under way at the data node.
    Changing,
    /// The management node leads.
    Leading,
    /// The management node does not lead.
    Following,
}

/// A place in the work of a role.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its name: who does what.
    pub name: &'static str,
    /// Whose it is.
    pub kind: Kind,
    /// What makes a burst reach it.
    pub trigger: Trigger,
    /// What else must hold.
    pub standing: Standing,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process ends. Where that would cost all rows of a group it stands still instead.
    Kill,
    /// It stands still.
    Freeze,
    /// All its connections break.
    Reset,
}

/// Something that happens at a point of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPlan {
    /// Index of the place in [`PLACES`].
    pub place: usize,
    /// The moment.
    pub moment: Moment,
    /// What happens.
    pub blow: Blow,
    /// The how manieth time that the place is reached.
    pub after: u32,
}

/// Draws what happens in a run.
pub(crate) fn draw_crash_points(random: &mut Random) -> Vec<CrashPlan> {
    let count = random.between(4, 16);
    let mut draw = |_| CrashPlan {
        place: random.below(PLACES.len() as u64) as usize,
        moment: *random.pick(&Moment::ALL),
        blow: *random.pick(&[Blow::Kill, Blow::Kill, Blow::Kill, Blow::Freeze, Blow::Reset]),
        after: *random.pick(&[1, 1, 1, 2, 3, 8, 40, 200]),
    };
    (0..count).map(&mut draw).collect()
}

/// Which places runs have reached, and at which points something happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// How often each place was reached while faults could strike.
    pub reached: Vec<u64>,
    /// How often something happened at each place, by moment.
    pub struck: Vec<[u64; 3]>,
}

impl Coverage {
    /// Counts one visit.
    pub(crate) fn reach(&mut self, place: usize) {
        self.reached.resize(PLACES.len(), 0);
        self.reached[place] += 1;
    }

    /// Counts something that happened.
    pub(crate) fn strike(&mut self, place: usize, moment: Moment) {
        self.struck.resize(PLACES.len(), [0; 3]);
        self.struck[place][moment as usize] += 1;
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Coverage) {
        self.reached.resize(PLACES.len(), 0);
        self.struck.resize(PLACES.len(), [0; 3]);
        for (sum, count) in self.reached.iter_mut().zip(&other.reached) {
            *sum += count;
        }
        for (sums, counts) in self.struck.iter_mut().zip(&other.struck) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }

    /// How many places something happened at.
    pub fn places_struck(&self) -> usize {
        self.struck.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count()
    }

    /// How many points something happened at.
    pub fn points_struck(&self) -> usize {
        self.struck.iter().flatten().filter(|count| **count > 0).count()
    }

    /// What was covered and what was not, for people.
    pub fn describe(&self) -> String {
        let reached = self.reached.iter().filter(|count| **count > 0).count();
        let names = |wanted: &dyn Fn(usize) -> bool| {
            let names: Vec<&str> = PLACES
                .iter()
                .enumerate()
                .filter(|(place, _)| wanted(*place))
                .map(|(_, place)| place.name)
                .collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let was_reached = |place: usize| self.reached.get(place).is_some_and(|count| *count > 0);
        let was_struck =
            |place: usize| self.struck.get(place).is_some_and(|counts| counts.iter().any(|count| *count > 0));
        format!(
            "crash points: {} of {} struck, at {} of {} places; {reached} places reached\n  reached but never struck: {}\n  \
             never reached: {}",
            self.points_struck(),
            PLACES.len() * Moment::ALL.len(),
            self.places_struck(),
            PLACES.len(),
            names(&|place| was_reached(place) && !was_struck(place)),
            names(&|place| !was_reached(place)),
        )
    }
}

/// All points with what they are, for people.
pub fn crash_points_text() -> String {
    let mut text = String::new();
    for place in PLACES {
        let moments: Vec<&str> = Moment::ALL.iter().map(|moment| moment.name()).collect();
        text += &format!("{}.{{{}}}: {}\n", place.name, moments.join(","), places::describe(place));
    }
    text + &format!("{} places, {} points\n", PLACES.len(), PLACES.len() * Moment::ALL.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_many_points_and_each_has_its_own_name() {
        let names: BTreeSet<&str> = PLACES.iter().map(|place| place.name).collect();
        assert_eq!(names.len(), PLACES.len());
        assert!(PLACES.len() >= 80);
        for kind in [Kind::Data, Kind::Management, Kind::Client] {
            assert!(PLACES.iter().filter(|place| place.kind == kind).count() >= 10, "{kind:?}");
        }
    }

    #[test]
    fn coverage_adds_up() {
        let (mut one, mut other) = (Coverage::default(), Coverage::default());
        one.reach(2);
        one.strike(2, Moment::Sent);
        other.reach(3);
        other.strike(2, Moment::Unsent);
        one.add(&other);
        assert_eq!((one.places_struck(), one.points_struck()), (1, 2));
        assert!(one.describe().contains(PLACES[3].name));
    }
}
