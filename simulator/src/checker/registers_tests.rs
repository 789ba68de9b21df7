//! Histories that are right and histories that are wrong, one for every way.

use super::*;
use duet_protocol::ids::TransactionId;

const REGISTER: Register = Register { table: 1, key: 7 };

fn version(seq: u64) -> RowVersion {
    RowVersion { epoch: 5, seq }
}

fn committed(seq: u64) -> Outcome {
    Outcome::Committed { version: version(seq), result: None }
}

#[derive(Default)]
struct Builder {
    history: History,
}

impl Builder {
    fn write(mut self, fingerprint: u64, action: Action, times: (Time, Time), outcome: Outcome) -> Builder {
        self.history.writes.push(WriteRecord {
            fingerprint,
            transaction: TransactionId { session: 1, seq: fingerprint },
            register: REGISTER,
            partition: 0,
            action,
            invoked: times.0,
            responded: times.1,
            outcome,
        });
        self
    }

    fn read(mut self, times: (Time, Time), seen: Option<(u64, u64, i64)>) -> Builder {
        let seen =
            seen.map(|(seq, fingerprint, counter)| Seen { version: version(seq), fingerprint, counter });
        self.history.reads.push(ReadRecord {
            register: REGISTER,
            invoked: times.0,
            responded: times.1,
            seen,
        });
        self
    }

    fn check(&self) -> Result<(), &'static str> {
        super::super::check(&self.history, None, &[]).map_err(|violation| violation.check)
    }

    fn check_with_final(&self, last: Option<(u64, u64, i64)>) -> Result<(), &'static str> {
        let row =
            last.map(|(seq, fingerprint, counter)| Seen { version: version(seq), fingerprint, counter });
        let rows = row.into_iter().map(|row| (REGISTER, row)).collect();
        super::super::check(&self.history, Some(&rows), &[1]).map_err(|violation| violation.check)
    }
}

/// Insert at 3, increment at 5, delete at 9, all answered one after the other.
fn three_writes() -> Builder {
    Builder::default()
        .write(1, Action::Insert { counter: 10 }, (10, 20), committed(3))
        .write(2, Action::Increment, (30, 40), Outcome::Committed { version: version(5), result: Some(11) })
        .write(3, Action::Delete, (50, 60), committed(9))
}

#[test]
fn right_histories_pass() {
    let history = three_writes()
        .read((1, 5), None)
        .read((15, 35), Some((3, 1, 10)))
        .read((35, 55), Some((5, 2, 11)))
        .read((52, 53), None)
        .read((61, 62), None)
        .write(4, Action::Insert { counter: 0 }, (41, 42), Outcome::Refused(Refusal::DuplicateKey))
        .write(5, Action::Set, (70, 80), Outcome::Refused(Refusal::RowNotFound))
        .write(
            6,
            Action::CompareAndSet { expected: version(3) },
            (41, 49),
            Outcome::Refused(Refusal::VersionMismatch),
        );
    assert_eq!(history.check(), Ok(()));
    assert_eq!(history.check_with_final(None), Ok(()));
}

#[test]
fn stale_and_future_reads_are_found() {
    assert_eq!(three_writes().read((45, 46), Some((3, 1, 10))).check(), Err("linearizable"));
    assert_eq!(three_writes().read((22, 25), Some((5, 2, 11))).check(), Err("linearizable"));
    assert_eq!(three_writes().read((45, 46), None).check(), Err("linearizable"));
    let new_then_old = three_writes().read((31, 32), Some((5, 2, 11))).read((33, 34), Some((3, 1, 10)));
    assert_eq!(new_then_old.check(), Err("linearizable"));
    let absent_between = three_writes().read((52, 53), None).read((54, 55), Some((5, 2, 11)));
    assert_eq!(absent_between.check(), Err("linearizable"));
}

#[test]
fn lost_and_invented_rows_are_found() {
    assert_eq!(three_writes().check_with_final(Some((5, 2, 11))), Err("linearizable"));
    let kept = Builder::default().write(1, Action::Insert { counter: 0 }, (10, 20), committed(3));
    assert_eq!(kept.check_with_final(None), Err("linearizable"));
    assert_eq!(kept.check_with_final(Some((3, 1, 0))), Ok(()));
    assert_eq!(kept.check_with_final(Some((3, 1, 1))), Err("a read returns what was written"));
    assert_eq!(kept.check_with_final(Some((3, 8, 0))), Err("no value out of nothing"));
}

#[test]
fn writes_that_did_not_happen_are_never_seen() {
    let aborted = Builder::default()
        .write(1, Action::Insert { counter: 0 }, (10, 20), Outcome::Aborted)
        .read((11, 12), Some((3, 1, 0)));
    assert_eq!(aborted.check(), Err("a write that did not happen is never seen"));
}

#[test]
fn a_write_applied_twice_is_found() {
    assert_eq!(three_writes().read((45, 46), Some((6, 2, 12))).check(), Err("a write happens once"));
    let double = Builder::default().write(1, Action::Insert { counter: 0 }, (10, 20), committed(3)).write(
        2,
        Action::Increment,
        (30, 40),
        Outcome::Committed { version: version(5), result: Some(2) },
    );
    assert_eq!(double.check(), Err("increments count once"));
}

#[test]
fn versions_must_fit_real_time_and_the_rows() {
    let swapped = Builder::default().write(1, Action::Upsert { counter: 0 }, (10, 20), committed(5)).write(
        2,
        Action::Upsert { counter: 0 },
        (30, 40),
        committed(4),
    );
    assert_eq!(swapped.check(), Err("versions follow real time"));
    let same = Builder::default().write(1, Action::Upsert { counter: 0 }, (10, 20), committed(5)).write(
        2,
        Action::Upsert { counter: 0 },
        (10, 40),
        committed(5),
    );
    assert_eq!(same.check(), Err("one write per version"));
    let twice = Builder::default().write(1, Action::Insert { counter: 0 }, (10, 20), committed(3)).write(
        2,
        Action::Insert { counter: 0 },
        (30, 40),
        committed(4),
    );
    assert_eq!(twice.check(), Err("writes fit their order"));
    let mismatched =
        three_writes().write(4, Action::CompareAndSet { expected: version(3) }, (41, 45), committed(6));
    assert_eq!(mismatched.check(), Err("writes fit their order"));
}

#[test]
fn impossible_refusals_are_found() {
    let absent = three_writes().write(4, Action::Set, (41, 45), Outcome::Refused(Refusal::RowNotFound));
    assert_eq!(absent.check(), Err("linearizable"));
    let present = Builder::default().write(
        4,
        Action::Insert { counter: 0 },
        (1, 2),
        Outcome::Refused(Refusal::DuplicateKey),
    );
    assert_eq!(present.check(), Err("linearizable"));
    let reason = three_writes().write(4, Action::Set, (41, 45), Outcome::Refused(Refusal::VersionMismatch));
    assert_eq!(reason.check(), Err("refusals have a reason"));
}

#[test]
fn unknown_outcomes_may_be_either() {
    let unknown =
        || three_writes().write(4, Action::Upsert { counter: 3 }, (70, Time::MAX), Outcome::Unknown);
    assert_eq!(unknown().check(), Ok(()));
    assert_eq!(unknown().read((80, 90), None).check(), Ok(()));
    assert_eq!(unknown().read((80, 90), Some((12, 4, 3))).check(), Ok(()));
    let vanished = unknown().read((80, 90), Some((12, 4, 3))).read((91, 92), None);
    assert_eq!(vanished.check(), Err("linearizable"));
    let moved = unknown().read((80, 90), Some((12, 4, 3))).read((91, 92), Some((13, 4, 3)));
    assert_eq!(moved.check(), Err("a write happens once"));
    let before_it = unknown().read((45, 46), Some((3, 1, 10)));
    assert_eq!(before_it.check(), Err("linearizable"));
}
