//! Linearizability of each register.
//!
//! The order of the writes of a register need not be searched for: every committed write tells its version, and `seq` of
//! the versions is the order. What remains is to find for every operation a *position*, the `seq` of the write that
//! it follows (or that it is), such that
//!
//! 1. a read of version v has position v; "no row" and a refusal have a position at which the row was absent (or
//!    present, or of another version), which the replay of the writes in their order tells;
//! 2. an operation that was answered before another one was sent has no higher position, and if the other one is
//!    a write, a lower position.
//!
//! *This is enough*: order the operations by (position, write before observations, time of sending). The order agrees
//! with what each operation saw by 1. Let `a` be answered before `b` was sent. With different positions `a` comes first by
//! 2. With the same position `b` is no write (2), and either `a` is the write or `a` was sent first: `a` comes first again.
//! *And it is necessary*, because any linear order that respects the versions gives such positions.
//!
//! Positions are given out greedily in the order of sending: an operation gets the lowest position that 1 allows
//! and that is not below those of all operations answered before it was sent. These have been placed already,
//! since they were sent earlier. All constraints on later operations are lower bounds that grow with the positions given out, so
//! the lowest choice is never worse, and if it fails there is no assignment.
//!
//! A write of unknown outcome whose fingerprint was seen has the version it was seen with. One that was never seen
//! may have happened or not, at any version taken after it was sent. So only operations answered before the first such write was
//! sent say what the state was; for later ones the positions are still checked where a version fixes them, the
//! replay is not. Runs that end healthy resolve every write, so that nothing is left out there.

use crate::history::{
    Action, Fingerprint, History, Outcome, ReadRecord, Refusal, Register, Seen, Violation, WriteRecord,
};
use crate::queue::Time;
use duet_protocol::ids::RowVersion;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A row that was there at the end.
pub type FinalRow = Seen;

/// Checks every register of the history.
pub fn check(
    history: &History,
    final_rows: Option<&BTreeMap<Register, FinalRow>>,
    tables_at_end: &[u32],
) -> Result<(), Violation> {
    let mut registers: BTreeMap<Register, Evidence<'_>> = BTreeMap::new();
    for write in &history.writes {
        registers.entry(write.register).or_default().writes.push(write);
    }
    for read in &history.reads {
        registers.entry(read.register).or_default().reads.push(*read);
    }
    if let Some(rows) = final_rows {
        for (register, row) in rows {
            if !registers.contains_key(register) {
                return Err(Violation::new("no row out of nothing", format!("{register}: {row:?}")));
            }
        }
        for (register, evidence) in &mut registers {
            if tables_at_end.contains(&register.table) {
                evidence.reads.push(ReadRecord {
                    register: *register,
                    invoked: Time::MAX - 1,
                    responded: Time::MAX,
                    seen: rows.get(register).copied(),
                });
            }
        }
    }
    for (register, evidence) in &registers {
        check_register(evidence).map_err(|violation| {
            Violation::new(violation.check, format!("{register}: {}", violation.detail))
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct Evidence<'a> {
    writes: Vec<&'a WriteRecord>,
    reads: Vec<ReadRecord>,
}

/// A write that took place.
struct Commit<'a> {
    version: RowVersion,
    result: Option<i64>,
    write: &'a WriteRecord,
}

/// The register from one commit to the next.
struct Step {
    seq: u64,
    row: Option<Seen>,
}

fn check_register(evidence: &Evidence<'_>) -> Result<(), Violation> {
    let commits = find_commits(evidence)?;
    let settled = settled_until(evidence, &commits);
    let steps = replay(&commits, settled)?;
    check_rows_seen(&evidence.reads, &steps, settled)?;
    place(evidence, &commits, &steps, settled)
}

/// All writes that took place, by their versions: the answered ones, and those of unknown outcome that were seen.
fn find_commits<'a>(evidence: &Evidence<'a>) -> Result<Vec<Commit<'a>>, Violation> {
    let mut by_fingerprint: BTreeMap<Fingerprint, (&'a WriteRecord, Option<RowVersion>)> = BTreeMap::new();
    for write in &evidence.writes {
        let version = match write.outcome {
            Outcome::Committed { version, .. } => Some(version),
            Outcome::Unknown | Outcome::Refused(_) | Outcome::Aborted => None,
        };
        by_fingerprint.insert(write.fingerprint, (write, version));
    }
    for read in &evidence.reads {
        let Some(seen) = read.seen else { continue };
        let Some((write, version)) = by_fingerprint.get_mut(&seen.fingerprint) else {
            return Err(Violation::new("no value out of nothing", format!("{seen:?} was read")));
        };
        match (write.outcome, *version) {
            (Outcome::Refused(_) | Outcome::Aborted, _) => {
                return Err(Violation::new(
                    "a write that did not happen is never seen",
                    format!("{} ended as {:?} and was seen as {seen:?}", write.transaction, write.outcome),
                ));
            }
            (Outcome::Unknown, None) => *version = Some(seen.version),
            (Outcome::Unknown | Outcome::Committed { .. }, Some(known)) if known != seen.version => {
                return Err(Violation::new(
                    "a write happens once",
                    format!("{} has version {known} and was seen as {}", write.transaction, seen.version),
                ));
            }
            (Outcome::Unknown | Outcome::Committed { .. }, _) => {}
        }
    }
    let mut commits: Vec<Commit<'a>> = by_fingerprint
        .into_values()
        .filter_map(|(write, version)| {
            let result = match write.outcome {
                Outcome::Committed { result, .. } => result,
                Outcome::Unknown | Outcome::Refused(_) | Outcome::Aborted => None,
            };
            Some(Commit { version: version?, result, write })
        })
        .collect();
    commits.sort_by_key(|commit| commit.version.seq);
    Ok(commits)
}

/// The highest `seq` up to which the commits are all the writes that took place.
fn settled_until(evidence: &Evidence<'_>, commits: &[Commit<'_>]) -> u64 {
    let seen: Vec<Fingerprint> = commits.iter().map(|commit| commit.write.fingerprint).collect();
    let unsettled = evidence
        .writes
        .iter()
        .filter(|write| write.outcome == Outcome::Unknown && !seen.contains(&write.fingerprint))
        .map(|write| write.invoked)
        .min();
    let Some(unsettled) = unsettled else { return u64::MAX };
    let written = commits.iter().filter(|commit| commit.write.responded < unsettled);
    let read = evidence.reads.iter().filter(|read| read.responded < unsettled);
    let written = written.map(|commit| commit.version.seq).max().unwrap_or(0);
    read.filter_map(|read| Some(read.seen?.version.seq)).max().unwrap_or(0).max(written)
}

/// The states of the register, by applying the commits in their order.
fn replay(commits: &[Commit<'_>], settled: u64) -> Result<Vec<Step>, Violation> {
    let mut steps = vec![Step { seq: 0, row: None }];
    let mut row: Option<Seen> = None;
    for commit in commits.iter().take_while(|commit| commit.version.seq <= settled) {
        let write = commit.write;
        let version = commit.version;
        let impossible = || {
            Violation::new(
                "writes fit their order",
                format!("{} {:?} committed as {version} on {row:?}", write.transaction, write.action),
            )
        };
        let new = |counter| Some(Seen { version, fingerprint: write.fingerprint, counter });
        row = match (write.action, row) {
            (Action::Insert { counter }, None) | (Action::Upsert { counter }, _) => new(counter),
            (Action::Set, Some(before)) => new(before.counter),
            (Action::CompareAndSet { expected }, Some(before)) if before.version == expected => {
                new(before.counter)
            }
            (Action::Increment, Some(before)) => {
                let counter = before.counter + 1;
                if commit.result.is_some_and(|result| result != counter) {
                    return Err(Violation::new(
                        "increments count once",
                        format!("{} returned {:?} on {before:?}", write.transaction, commit.result),
                    ));
                }
                new(counter)
            }
            (Action::Delete, Some(_)) => None,
            (Action::Insert { .. }, Some(_))
            | (Action::Set | Action::Increment | Action::CompareAndSet { .. } | Action::Delete, None)
            | (Action::CompareAndSet { .. }, Some(_)) => return Err(impossible()),
        };
        steps.push(Step { seq: version.seq, row });
    }
    Ok(steps)
}

/// Every row that was read is the row that the replay says.
fn check_rows_seen(reads: &[ReadRecord], steps: &[Step], settled: u64) -> Result<(), Violation> {
    for seen in reads.iter().filter_map(|read| read.seen).filter(|seen| seen.version.seq <= settled) {
        let step = steps.binary_search_by_key(&seen.version.seq, |step| step.seq);
        let row = step.ok().and_then(|index| steps[index].row);
        if row != Some(seen) {
            return Err(Violation::new(
                "a read returns what was written",
                format!("{seen:?} was read where {row:?} is right"),
            ));
        }
    }
    Ok(())
}

/// What fixes the position of an operation.
enum Place {
    Write(u64),
    At(u64),
    Where(Condition),
}

/// An operation to be placed.
struct Operation<'a> {
    invoked: Time,
    responded: Time,
    place: Place,
    source: Source<'a>,
}

/// Where an operation comes from, for messages.
enum Source<'a> {
    Write(&'a WriteRecord),
    Read(&'a ReadRecord),
}

impl Operation<'_> {
    fn describe(&self) -> String {
        let what = match self.source {
            Source::Write(write) => format!("{} {:?} → {:?}", write.transaction, write.action, write.outcome),
            Source::Read(read) => format!("read → {:?}", read.seen),
        };
        format!("{what} [{}, {}]", self.invoked, self.responded)
    }
}

/// What an observation without a version says of the row.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Absent,
    Present,
    OtherVersion(RowVersion),
}

impl Condition {
    fn holds(self, row: Option<Seen>) -> bool {
        match self {
            Condition::Absent => row.is_none(),
            Condition::Present => row.is_some(),
            Condition::OtherVersion(expected) => row.is_some_and(|row| row.version != expected),
        }
    }

    /// The lowest position at or above `bound` where the condition holds; `None` if there is none.
    fn lowest(self, steps: &[Step], settled: u64, bound: u64) -> Option<u64> {
        if bound > settled {
            return Some(bound);
        }
        let first = steps.partition_point(|step| step.seq <= bound) - 1;
        let found = steps[first..].iter().find(|step| self.holds(step.row)).map(|step| step.seq.max(bound));
        found.or_else(|| settled.checked_add(1))
    }
}

fn operations<'a>(
    evidence: &'a Evidence<'a>,
    commits: &'a [Commit<'a>],
) -> Result<Vec<Operation<'a>>, Violation> {
    let mut operations = Vec::with_capacity(evidence.writes.len() + evidence.reads.len());
    let of_write = |write: &'a WriteRecord, place| Operation {
        invoked: write.invoked,
        responded: write.responded,
        place,
        source: Source::Write(write),
    };
    for commit in commits {
        operations.push(of_write(commit.write, Place::Write(commit.version.seq)));
    }
    for write in &evidence.writes {
        let Outcome::Refused(refusal) = write.outcome else { continue };
        let condition = match (refusal, write.action) {
            (Refusal::RowNotFound, _) => Condition::Absent,
            (Refusal::DuplicateKey, Action::Insert { .. }) => Condition::Present,
            (Refusal::VersionMismatch, Action::CompareAndSet { expected }) => {
                Condition::OtherVersion(expected)
            }
            (Refusal::DuplicateKey | Refusal::VersionMismatch, action) => {
                let detail = format!("{} {action:?} was refused as {refusal:?}", write.transaction);
                return Err(Violation::new("refusals have a reason", detail));
            }
        };
        operations.push(of_write(write, Place::Where(condition)));
    }
    for read in &evidence.reads {
        let place = match read.seen {
            Some(seen) => Place::At(seen.version.seq),
            None => Place::Where(Condition::Absent),
        };
        let (invoked, responded) = (read.invoked, read.responded);
        operations.push(Operation { invoked, responded, place, source: Source::Read(read) });
    }
    operations.sort_by_key(|operation| operation.invoked);
    Ok(operations)
}

/// Gives every operation a position, in the order of sending; see the module documentation.
fn place(
    evidence: &Evidence<'_>,
    commits: &[Commit<'_>],
    steps: &[Step],
    settled: u64,
) -> Result<(), Violation> {
    let operations = operations(evidence, commits)?;
    let mut answered: BinaryHeap<Reverse<(Time, u64, usize)>> = BinaryHeap::new();
    let mut bound = 0;
    let mut bound_by = None;
    for (index, operation) in operations.iter().enumerate() {
        while let Some(Reverse((responded, position, earlier))) = answered.peek().copied() {
            if responded >= operation.invoked {
                break;
            }
            answered.pop();
            if position > bound {
                bound = position;
                bound_by = Some(earlier);
            }
        }
        let position = match operation.place {
            Place::Write(seq) => Some(seq).filter(|seq| *seq > bound),
            Place::At(seq) => Some(seq).filter(|seq| *seq >= bound),
            Place::Where(condition) => condition.lowest(steps, settled, bound),
        };
        let Some(position) = position else {
            let earlier = bound_by.map_or_else(String::new, |index: usize| operations[index].describe());
            return Err(Violation::new(
                "linearizable",
                format!("{} has no place after seq {bound} of {earlier}", operation.describe()),
            ));
        };
        answered.push(Reverse((operation.responded, position, index)));
    }
    Ok(())
}

#[cfg(test)]
#[path = "registers_tests.rs"]
mod tests;
