//! A thread plan of a data node, as far as the benchmark must know it.

use anyhow::{Context, ensure};
use std::fmt;
use std::str::FromStr;

/// The published study: one stage without and with mailboxes, two, three and four stages, and two threads for each of
/// three.
pub const STUDY: [&str; 6] = [
    BATCH,
    ONE_THREAD,
    "recv+tc+send=1,ldm=1",
    "recv+send=1,tc=1,ldm=1",
    FOUR_STAGES,
    "recv+send=2,tc=2,ldm=2",
];
/// The plan without mailboxes, which the others are compared with.
pub const BATCH: &str = "batch";
/// All stages in one thread, with the mailboxes that would join several.
pub const ONE_THREAD: &str = "recv+tc+ldm+send=1";
/// Every stage in a thread of its own: three hops between threads more than [`ONE_THREAD`].
pub const FOUR_STAGES: &str = "recv=1,tc=1,ldm=1,send=1";

/// A plan as `duet datanode --threads` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadPlan {
    text: String,
    threads: usize,
    managers: usize,
}

impl ThreadPlan {
    /// Whether all stages call each other directly.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.text == BATCH
    }

    /// Threads that run stages.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Threads that own data; a cluster needs as many lanes to keep all of them busy.
    #[must_use]
    pub fn managers(&self) -> usize {
        self.managers
    }
}

impl FromStr for ThreadPlan {
    type Err = anyhow::Error;

    /// Reads `batch` and groups such as `recv+tc=1,ldm=2,cpus=0-2`; whether the groups make a pipeline is the data
    /// node's to say. `auto` is refused, because its threads are not known beforehand.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let text = text.trim().to_owned();
        if text == BATCH {
            return Ok(Self { text, threads: 1, managers: 1 });
        }
        let groups = text.split_once("cpus=").map_or(text.as_str(), |(groups, _)| groups);
        let (mut threads, mut managers) = (0, 0);
        for group in groups.split(',').filter(|group| !group.trim().is_empty()) {
            let usage = || {
                format!("`{group}` is no group of threads; write `batch` or, for example, `recv+tc=1,ldm=2`")
            };
            let (stages, count) = group.split_once('=').with_context(usage)?;
            let count: u16 = count.trim().parse().with_context(usage)?;
            threads += usize::from(count);
            if stages.split('+').any(|stage| stage.trim() == "ldm") {
                managers += usize::from(count);
            }
        }
        ensure!(managers > 0, "the plan `{text}` has no ldm thread");
        Ok(Self { text, threads, managers })
    }
}

impl fmt::Display for ThreadPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_study_has_its_threads_and_lanes() {
        let counts = STUDY.map(|text| {
            let plan: ThreadPlan = text.parse().unwrap();
            assert_eq!(plan.to_string(), text);
            (plan.threads(), plan.managers())
        });
        assert_eq!(counts, [(1, 1), (1, 1), (2, 1), (3, 1), (4, 1), (6, 2)]);
        let pinned: ThreadPlan = "recv+tc=1, ldm=3,cpus=0-2,5".parse().unwrap();
        assert_eq!((pinned.threads(), pinned.managers(), pinned.is_batch()), (4, 3, false));
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in ["", "auto", "recv=1,tc=1", "ldm=x", "ldm=0", "ldm=-1", "ldm=70000", "recv+tc"] {
            assert!(text.parse::<ThreadPlan>().is_err(), "{text}");
        }
    }
}
