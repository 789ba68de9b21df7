//! CPU time per process from the kernel's scheduler accounting, and pinning to CPUs.

mod threads;

pub use threads::{ThreadGroup, ThreadSample};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// CPU time that all living threads of a process have run, from `/proc/PID/task/*/schedstat` (nanoseconds on a
/// CPU, user and system together). A running thread's share may lag by one scheduler tick.
///
/// # Errors
/// There is no such process, or the kernel keeps no scheduler statistics.
pub fn process_cpu_time(process_id: u32) -> Result<Duration> {
    let directory = format!("/proc/{process_id}/task");
    let tasks = std::fs::read_dir(&directory)
        .with_context(|| format!("cannot read {directory}: process {process_id} has ended"))?;
    let mut nanoseconds = 0;
    let mut threads = 0;
    for task in tasks {
        // A thread may end between the listing and the reading; its time is lost, as it is for the kernel's sum.
        let Ok(task) = task else { continue };
        let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
        nanoseconds += run_nanoseconds(&text).with_context(|| format!("{directory}: `{}`", text.trim()))?;
        threads += 1;
    }
    ensure!(threads > 0, "{directory}/*/schedstat cannot be read: the kernel keeps no scheduler statistics");
    Ok(Duration::from_nanos(nanoseconds))
}

/// The first field of a `schedstat` file.
fn run_nanoseconds(text: &str) -> Result<u64> {
    let first = text.split_whitespace().next().context("the file is empty")?;
    first.parse().context("not a number of nanoseconds")
}

/// A non-empty list of CPU numbers, as `0,2-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl CpuList {
    /// The CPUs that the calling thread may use.
    ///
    /// # Errors
    /// The system call failed.
    pub fn allowed() -> Result<Self> {
        let set = sched_getaffinity(None).context("sched_getaffinity")?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
    }

    /// The CPU numbers in ascending order.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }

    /// Splits the CPUs into one part for servers and one for the generator: the first half and the rest. With one
    /// CPU both get it.
    #[must_use]
    pub fn split(&self) -> (Self, Self) {
        match self.0.len() {
            0 | 1 => (self.clone(), self.clone()),
            count => {
                let (first, second) = self.0.split_at(count / 2);
                (Self(first.to_vec()), Self(second.to_vec()))
            }
        }
    }

    /// CPUs of servers and of the generator: what was asked for, and the two halves otherwise. `None` where nothing is
    /// pinned, as with a single CPU.
    ///
    /// # Errors
    /// A CPU was asked for that may not be used.
    pub fn placement(
        servers: Option<&Self>,
        clients: Option<&Self>,
        no_pin: bool,
    ) -> Result<(Option<Self>, Option<Self>)> {
        let allowed = Self::allowed()?;
        if no_pin || (allowed.cpus().len() == 1 && servers.is_none()) {
            return Ok((None, None));
        }
        let (first, second) = allowed.split();
        let servers = servers.cloned().unwrap_or(first);
        let clients = clients.cloned().unwrap_or(second);
        for cpus in [&servers, &clients] {
            let usable = cpus.cpus().iter().all(|cpu| allowed.cpus().contains(cpu));
            ensure!(usable, "of the CPUs {cpus} only {allowed} may be used");
        }
        Ok((Some(servers), Some(clients)))
    }

    /// Binds the calling thread, and what it starts from now on, to these CPUs.
    ///
    /// # Errors
    /// None of these CPUs may be used.
    pub fn pin_current_thread(&self) -> Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|cpu| set.set(*cpu));
        sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPUs {self}"))
    }

    /// Runs `spawn` with the calling thread bound to these CPUs, so that a process it starts inherits them, and
    /// restores the thread's CPUs afterwards.
    ///
    /// # Errors
    /// None of these CPUs may be used, or the old ones are refused.
    pub fn inherited_by<T>(&self, spawn: impl FnOnce() -> T) -> Result<T> {
        let before = Self::allowed()?;
        self.pin_current_thread()?;
        let result = spawn();
        before.pin_current_thread()?;
        Ok(result)
    }
}

impl FromStr for CpuList {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                text.trim().parse::<usize>().with_context(|| format!("`{text}` is not a CPU number"))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= CpuSet::MAX_CPU {
                bail!("`{part}` is not a range of CPU numbers below {}", CpuSet::MAX_CPU);
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for cpu in &self.0 {
            write!(formatter, "{separator}{cpu}")?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_run_time() {
        assert_eq!(run_nanoseconds("843154 12 1\n").unwrap(), 843_154);
        assert!(run_nanoseconds("").is_err());
        assert!(run_nanoseconds("x 1 2").is_err());
    }

    #[test]
    fn own_cpu_time_grows_and_a_missing_process_is_an_error() {
        let before = process_cpu_time(std::process::id()).unwrap();
        let mut number = 1_u64;
        while process_cpu_time(std::process::id()).unwrap() <= before {
            for _ in 0..100_000 {
                number = std::hint::black_box(number.wrapping_mul(3));
            }
        }
        assert!(process_cpu_time(u32::MAX - 1).is_err());
    }

    #[test]
    fn cpu_lists() {
        let list: CpuList = "3,0-1,1".parse().unwrap();
        assert_eq!(list.cpus(), [0, 1, 3]);
        assert_eq!(list.to_string(), "0,1,3");
        assert_eq!(list.split(), ("0".parse().unwrap(), "1,3".parse().unwrap()));
        for text in ["", "a", "2-1", "0-", "99999999"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_child_inherits_the_cpus_and_the_parent_gets_its_own_back() {
        let allowed = CpuList::allowed().unwrap();
        let (first, _) = allowed.split();
        let output = first
            .inherited_by(|| std::process::Command::new("cat").arg("/proc/self/status").output())
            .unwrap()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        assert_eq!(line.trim().parse::<CpuList>().unwrap(), first);
        assert_eq!(CpuList::allowed().unwrap(), allowed);
    }
}
