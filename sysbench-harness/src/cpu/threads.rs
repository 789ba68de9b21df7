//! CPU time of the single threads of a process, and its sums by the names of the threads.

use super::run_nanoseconds;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// The threads of a process and the CPU time that each has run so far, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadSample {
    /// By thread id.
    threads: BTreeMap<u32, ThreadTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ThreadTime {
    name: String,
    nanoseconds: u64,
}

/// What the threads of one kind ran between two samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadGroup {
    /// Their name without the number: `ldm` for `ldm-0` and `ldm-1`.
    pub name: String,
    /// How many there are.
    pub threads: usize,
    /// CPU time of all of them, user and system together.
    pub cpu: Duration,
}

impl ThreadSample {
    /// Reads `/proc/PID/task/*/comm` and `schedstat`. A running thread's share may lag by one scheduler tick.
    ///
    /// # Errors
    /// There is no such process, or the kernel keeps no scheduler statistics.
    pub fn read(process_id: u32) -> Result<Self> {
        let directory = format!("/proc/{process_id}/task");
        let tasks = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot read {directory}: process {process_id} has ended"))?;
        let mut threads = BTreeMap::new();
        for task in tasks {
            // A thread may end between the listing and the reading; its time is lost, as it is for the kernel's sum.
            let Ok(task) = task else { continue };
            let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            let Ok(name) = std::fs::read_to_string(task.path().join("comm")) else { continue };
            let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
            let nanoseconds =
                run_nanoseconds(&text).with_context(|| format!("{directory}: `{}`", text.trim()))?;
            threads.insert(id, ThreadTime { name: name.trim_end().to_owned(), nanoseconds });
        }
        ensure!(
            !threads.is_empty(),
            "{directory}/*/schedstat cannot be read: the kernel keeps no scheduler statistics"
        );
        Ok(Self { threads })
    }

    /// What has run since `earlier`, summed by kind of thread, in the order in which the threads were started. A
    /// thread that is new counts from its start; one that has ended is left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<ThreadGroup> {
        let mut groups: Vec<ThreadGroup> = Vec::new();
        for (id, thread) in &self.threads {
            let before = earlier.threads.get(id).map_or(0, |thread| thread.nanoseconds);
            let cpu = Duration::from_nanos(thread.nanoseconds.saturating_sub(before));
            let name = name_without_number(&thread.name);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => {
                    group.threads += 1;
                    group.cpu += cpu;
                }
                None => groups.push(ThreadGroup { name: name.to_owned(), threads: 1, cpu }),
            }
        }
        groups
    }
}

/// `recv-tc` for `recv-tc-12`; a name without a number at its end stays as it is.
fn name_without_number(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            kind
        }
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(threads: &[(u32, &str, u64)]) -> ThreadSample {
        let time =
            |name: &str, nanoseconds: &u64| ThreadTime { name: name.to_owned(), nanoseconds: *nanoseconds };
        ThreadSample {
            threads: threads.iter().map(|(id, name, time_ns)| (*id, time(name, time_ns))).collect(),
        }
    }

    #[test]
    fn names_lose_their_number_only() {
        for (name, kind) in [
            ("ldm-0", "ldm"),
            ("ldm-17", "ldm"),
            ("recv-tc-0", "recv-tc"),
            ("recv-all-3", "recv-all"),
            ("duet-batch", "duet-batch"),
            ("duet-", "duet-"),
            ("duet", "duet"),
            ("", ""),
        ] {
            assert_eq!(name_without_number(name), kind);
        }
    }

    #[test]
    fn threads_of_one_kind_are_summed_in_the_order_of_their_start() {
        let before = sample(&[(10, "duet", 5), (11, "recv-0", 100), (12, "ldm-0", 200), (13, "ldm-1", 300)]);
        let after = sample(&[
            (10, "duet", 5),
            (11, "recv-0", 150),
            (12, "ldm-0", 260),
            (13, "ldm-1", 400),
            (14, "ldm-2", 7),
        ]);
        let groups = after.since(&before);
        let shown: Vec<_> =
            groups.iter().map(|it| (it.name.as_str(), it.threads, it.cpu.as_nanos())).collect();
        assert_eq!(shown, [("duet", 1, 0), ("recv", 1, 50), ("ldm", 3, 167)]);
    }

    #[test]
    fn own_threads_are_read_and_a_missing_process_is_an_error() {
        let worker = std::thread::Builder::new().name("stage-7".to_owned());
        let (end, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = worker.spawn(move || {
            ready.send(()).unwrap();
            let _ = wait.recv();
        });
        started.recv().unwrap();
        // The kernel's listing may leave out a thread while others of the process end, as those of other tests do.
        let stage = std::iter::repeat_with(|| {
            let sample = ThreadSample::read(std::process::id()).unwrap();
            sample.since(&ThreadSample::default()).into_iter().find(|group| group.name == "stage")
        })
        .take(1000)
        .flatten()
        .next()
        .unwrap();
        assert_eq!(stage.threads, 1);
        assert!(!stage.cpu.is_zero());
        drop(end);
        thread.unwrap().join().unwrap();
        assert!(ThreadSample::read(u32::MAX - 1).is_err());
    }
}
