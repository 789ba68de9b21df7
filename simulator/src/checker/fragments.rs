//! Versions within a fragment: every write of a partition has its own `seq`, later writes have higher ones, and the
//! epoch never falls along them.

use crate::history::{Outcome, Violation, WriteRecord};
use crate::queue::Time;
use duet_protocol::ids::RowVersion;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Checks the committed writes of each partition.
///
/// The primary takes `seq` while it executes the write, after the client sent it and before the client hears of it. So a
/// write that was answered before another one was sent has the lower `seq`.
pub fn check(writes: &[WriteRecord]) -> Result<(), Violation> {
    let mut partitions: BTreeMap<u16, Vec<(&WriteRecord, RowVersion)>> = BTreeMap::new();
    for write in writes {
        if let Outcome::Committed { version, .. } = write.outcome {
            partitions.entry(write.partition).or_default().push((write, version));
        }
    }
    for (partition, mut commits) in partitions {
        commits.sort_by_key(|(_, version)| version.seq);
        for pair in commits.windows(2) {
            let [(first, first_version), (second, second_version)] = pair else { continue };
            if first_version.seq == second_version.seq {
                return Err(Violation::new(
                    "one write per version",
                    format!(
                        "partition {partition}: {} ({}) and {} ({}) have version {first_version}",
                        first.transaction, first.register, second.transaction, second.register
                    ),
                ));
            }
            if first_version.epoch > second_version.epoch {
                return Err(Violation::new(
                    "epochs never fall",
                    format!("partition {partition}: {first_version} comes before {second_version}"),
                ));
            }
        }
        commits.sort_by_key(|(write, _)| write.invoked);
        let mut answered: BinaryHeap<Reverse<(Time, u64)>> = BinaryHeap::new();
        let mut highest = 0;
        for (write, version) in commits {
            while let Some(Reverse((responded, seq))) = answered.peek().copied() {
                if responded >= write.invoked {
                    break;
                }
                answered.pop();
                highest = highest.max(seq);
            }
            if version.seq < highest {
                return Err(Violation::new(
                    "versions follow real time",
                    format!(
                        "partition {partition}: {} of {} got {version} although seq {highest} had been answered \
                         before it was sent",
                        write.transaction, write.register
                    ),
                ));
            }
            answered.push(Reverse((write.responded, version.seq)));
        }
    }
    Ok(())
}
