//! Which CPUs the process may use, and pinning a thread to one of them.

use core_affinity::CoreId;
use std::fmt;
use std::path::Path;

/// Below this many usable CPUs nothing is pinned unless the command line says so: a pinned thread would be stuck
/// behind whatever else runs on its CPU.
const PIN_FROM_CPUS: usize = 4;

/// Why a list of CPUs cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuListError {
    /// It cannot be read.
    #[error("{0:?} is not a list of CPUs such as 0-3,6")]
    Malformed(String),
    /// It names a CPU that the process may not use.
    #[error("CPU {cpu} is not among those that this process may use ({usable})")]
    NotUsable {
        /// The CPU.
        cpu: usize,
        /// Those that it may use.
        usable: String,
    },
}

/// Reads a list of CPUs such as `0-3,6`, in the order given.
///
/// # Errors
/// [`CpuListError::Malformed`].
pub fn parse_cpu_list(text: &str) -> Result<Vec<usize>, CpuListError> {
    let malformed = || CpuListError::Malformed(text.to_owned());
    let number = |text: &str| text.trim().parse::<u16>().map(usize::from).map_err(|_| malformed());
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(malformed());
        }
        for cpu in first..=last {
            if !cpus.contains(&cpu) {
                cpus.push(cpu);
            }
        }
    }
    Ok(cpus)
}

/// Where the thread of the batch pipeline runs, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuPlan {
    /// CPU to pin it to, if any.
    pub cpu: Option<usize>,
    /// CPUs that the process may use by its affinity mask.
    pub usable: Vec<usize>,
    /// CPUs that its control group lets it use, if limited.
    pub quota: Option<f64>,
    /// For the log.
    pub reason: &'static str,
}

impl fmt::Display for CpuPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu {
            Some(cpu) => write!(f, "pinned to CPU {cpu}, ")?,
            None => f.write_str("not pinned, ")?,
        }
        f.write_str(self.reason)
    }
}

/// Chooses the CPU of the batch pipeline. Call it before any thread is pinned.
///
/// # Errors
/// [`CpuListError::NotUsable`] when `requested` names a CPU outside the affinity mask.
pub fn plan_cpu(requested: Option<&[usize]>, node: u32) -> Result<CpuPlan, CpuListError> {
    let usable: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    choose(requested, node, usable, cgroup_quota())
}

fn choose(
    requested: Option<&[usize]>,
    node: u32,
    usable: Vec<usize>,
    quota: Option<f64>,
) -> Result<CpuPlan, CpuListError> {
    if let Some(requested) = requested {
        if let Some(&cpu) = requested.iter().find(|cpu| !usable.contains(cpu)) {
            let usable: Vec<String> = usable.iter().map(ToString::to_string).collect();
            return Err(CpuListError::NotUsable { cpu, usable: usable.join(",") });
        }
        let reason = "the first of the CPUs that were asked for";
        return Ok(CpuPlan { cpu: requested.first().copied(), usable, quota, reason });
    }
    let count = quota.map_or(usable.len(), |quota| usable.len().min(quota as usize));
    if count < PIN_FROM_CPUS {
        let reason = "because the process may use fewer than 4 CPUs and none was asked for";
        return Ok(CpuPlan { cpu: None, usable, quota, reason });
    }
    // Nodes of one machine start from its last CPU downwards, so that they do not meet.
    let cpu = usable[usable.len() - 1 - node.saturating_sub(1) as usize % usable.len()];
    Ok(CpuPlan { cpu: Some(cpu), usable, quota, reason: "chosen by node id" })
}

/// The smallest CPU limit of the process's control group and those above it.
fn cgroup_quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    let limits = Path::new(group).ancestors().filter_map(|group| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("cpu.max");
        parse_quota(&std::fs::read_to_string(file).ok()?)
    });
    limits.min_by(f64::total_cmp)
}

fn parse_quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|period| *period > 0.0)?)
}

/// Pins the calling thread, and says so; goes on unpinned when the system refuses. Whether it is pinned.
pub(crate) fn pin_current_thread(name: &str, cpu: usize) -> bool {
    let pinned = core_affinity::set_for_current(CoreId { id: cpu });
    let only = core_affinity::get_core_ids().is_some_and(|cores| cores.len() == 1 && cores[0].id == cpu);
    if pinned && only {
        tracing::info!(thread = name, cpu, "thread pinned");
    } else {
        tracing::warn!(thread = name, cpu, "the system refused to pin the thread; it goes on unpinned");
    }
    pinned && only
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_order_without_repeats() {
        assert_eq!(parse_cpu_list("0-3,6, 2"), Ok(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cpu_list("7"), Ok(vec![7]));
        for text in ["", "a", "3-1", "1,,2", "-1", "1-", "70000"] {
            assert_eq!(parse_cpu_list(text), Err(CpuListError::Malformed(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn few_cpus_are_not_pinned_unless_asked_for() {
        assert_eq!(choose(None, 1, vec![0, 1], None).unwrap().cpu, None);
        assert_eq!(choose(None, 1, (0..8).collect(), Some(2.5)).unwrap().cpu, None);
        assert_eq!(choose(None, 1, (0..8).collect(), None).unwrap().cpu, Some(7));
        assert_eq!(choose(None, 2, (0..8).collect(), Some(4.0)).unwrap().cpu, Some(6));
        assert_eq!(choose(Some(&[1]), 1, vec![0, 1], None).unwrap().cpu, Some(1));
        let refused = choose(Some(&[1, 9]), 1, vec![0, 1], None).unwrap_err();
        assert_eq!(refused.to_string(), "CPU 9 is not among those that this process may use (0,1)");
    }

    #[test]
    fn a_refused_pin_leaves_the_thread_where_it_may_run() {
        let usable = || core_affinity::get_core_ids().unwrap_or_default();
        let thread = std::thread::spawn(move || {
            let before = usable();
            // No machine of ours has this one, and the mask has a place for it.
            assert!(!pin_current_thread("test", 1_023));
            assert_eq!(usable(), before);
            let last = before.last().expect("a CPU").id;
            assert!(pin_current_thread("test", last));
            assert_eq!(usable().len(), 1);
            assert!(!pin_current_thread("test", 1_023));
        });
        thread.join().expect("no assertion fails");
    }

    #[test]
    fn quotas_are_read_as_cpus() {
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("150000 100000\n"), Some(1.5));
        assert_eq!(parse_quota(""), None);
    }
}
