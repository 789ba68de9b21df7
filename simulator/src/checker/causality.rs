//! What a client did after it had seen a commit is not in an earlier epoch: so a cut that holds it holds the commit too
//! (counterexample 28). Every answer shows epochs: of the row that was read, or of the commit.

use crate::history::{History, Outcome, Violation};
use crate::queue::Time;

/// Judges what one client saw and wrote.
///
/// # Errors
/// The first commit in an epoch below one that the client had seen before it asked.
pub fn check(history: &History) -> Result<(), Violation> {
    let mut seen: Vec<(Time, u64)> = Vec::new();
    let mut commits: Vec<(Time, u64, String)> = Vec::new();
    for write in &history.writes {
        if let Outcome::Committed { version, .. } = write.outcome {
            seen.push((write.responded, version.epoch));
            commits.push((
                write.invoked,
                version.epoch,
                format!("{} of {}", write.transaction, write.register),
            ));
        }
    }
    for read in &history.reads {
        if let Some(row) = read.seen {
            seen.push((read.responded, row.version.epoch));
        }
    }
    seen.sort_unstable();
    commits.sort_unstable();
    let (mut next, mut highest) = (0, 0);
    for (invoked, epoch, what) in commits {
        while next < seen.len() && seen[next].0 < invoked {
            highest = highest.max(seen[next].1);
            next += 1;
        }
        if epoch < highest {
            let detail =
                format!("{what} is in epoch {epoch}, its client had seen one of epoch {highest} before");
            return Err(Violation::new("a cut at an epoch is causally closed", detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, ReadRecord, Register, Seen, WriteRecord};
    use duet_protocol::ids::{RowVersion, TransactionId};

    #[test]
    fn what_was_seen_before_comes_before() {
        let register = Register { table: 1, key: 1 };
        let version = |epoch| RowVersion { epoch, seq: 1 };
        let write = |invoked, responded, epoch| WriteRecord {
            fingerprint: 1,
            transaction: TransactionId { session: 1, seq: 1 },
            register,
            partition: 0,
            action: Action::Set,
            invoked,
            responded,
            outcome: Outcome::Committed { version: version(epoch), result: None },
        };
        let seen = Some(Seen { version: version(9), fingerprint: 1, counter: 0 });
        let read = ReadRecord { register, invoked: 10, responded: 20, seen };
        let history = |writes| History { writes, reads: vec![read], scans: Vec::new() };
        assert_eq!(check(&history(vec![write(0, 5, 4), write(15, 30, 8), write(21, 30, 9)])), Ok(()));
        assert!(check(&history(vec![write(21, 30, 8)])).is_err(), "it had read a row of epoch 9");
        assert!(check(&history(vec![write(0, 5, 4), write(6, 9, 3)])).is_err());
    }
}
