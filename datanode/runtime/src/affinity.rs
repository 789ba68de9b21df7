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

/// CPUs that the process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct UsableCpus {
    /// By its affinity mask.
    pub mask: Vec<usize>,
    /// How many its control groups let it use, if limited.
    pub quota: Option<f64>,
}

impl UsableCpus {
    /// Those of this process. Call it before any thread is pinned.
    pub fn of_process() -> UsableCpus {
        let mask = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        UsableCpus { mask, quota: quota_of(Path::new("/sys/fs/cgroup"), &groups) }
    }

    /// Threads that may run all the time.
    pub fn count(&self) -> usize {
        self.quota.map_or(self.mask.len(), |quota| self.mask.len().min(quota as usize))
    }
}

/// Where the thread of the batch pipeline runs, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuPlan {
    /// CPU to pin it to, if any.
    pub cpu: Option<usize>,
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

/// Chooses the CPU of the batch pipeline.
///
/// # Errors
/// [`CpuListError::NotUsable`] when `requested` names a CPU outside the affinity mask.
pub fn plan_cpu(
    usable: &UsableCpus,
    requested: Option<&[usize]>,
    node: u32,
) -> Result<CpuPlan, CpuListError> {
    let mask = &usable.mask;
    if let Some(requested) = requested {
        if let Some(&cpu) = requested.iter().find(|cpu| !mask.contains(cpu)) {
            let usable: Vec<String> = mask.iter().map(ToString::to_string).collect();
            return Err(CpuListError::NotUsable { cpu, usable: usable.join(",") });
        }
        let reason = "the first of the CPUs that were asked for";
        return Ok(CpuPlan { cpu: requested.first().copied(), reason });
    }
    if usable.count() < PIN_FROM_CPUS {
        let reason = "because the process may use fewer than 4 CPUs and none was asked for";
        return Ok(CpuPlan { cpu: None, reason });
    }
    // Nodes of one machine start from its last CPU downwards, so that they do not meet.
    let cpu = mask[mask.len() - 1 - node.saturating_sub(1) as usize % mask.len()];
    Ok(CpuPlan { cpu: Some(cpu), reason: "chosen by node id" })
}

/// The smallest CPU limit of the control groups that `groups` (as `/proc/self/cgroup`) names, and of those above them, below the
/// folder in which the system shows them: of version 2, and of the controller `cpu` of version 1.
fn quota_of(root: &Path, groups: &str) -> Option<f64> {
    let limits = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, group) = line.split_once(':')?;
        let group = Path::new(group.strip_prefix('/')?);
        let limit: &dyn Fn(&Path) -> Option<f64> = match controllers {
            "" => &|group| quota_in(&root.join(group)),
            _ if controllers.split(',').any(|controller| controller == "cpu") => {
                &|group| old_quota_in(&root.join("cpu").join(group))
            }
            _ => return None,
        };
        group.ancestors().filter_map(limit).min_by(f64::total_cmp)
    });
    limits.min_by(f64::total_cmp)
}

/// The limit of one control group of version 2.
fn quota_in(folder: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    parse_quota(quota, period)
}

/// The limit of one control group of version 1; without any the quota is -1.
fn old_quota_in(folder: &Path) -> Option<f64> {
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    parse_quota(text("cpu.cfs_quota_us")?.trim(), text("cpu.cfs_period_us")?.trim())
}

fn parse_quota(quota: &str, period: &str) -> Option<f64> {
    let quota = quota.parse::<f64>().ok().filter(|quota| *quota > 0.0)?;
    Some(quota / period.parse::<f64>().ok().filter(|period| *period > 0.0)?)
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
        let chosen = |requested: Option<&[usize]>, node, cpus, quota| {
            let usable = UsableCpus { mask: (0..cpus).collect(), quota };
            plan_cpu(&usable, requested, node).map(|plan| plan.cpu)
        };
        assert_eq!(chosen(None, 1, 2, None), Ok(None));
        assert_eq!(chosen(None, 1, 8, Some(2.5)), Ok(None));
        assert_eq!(chosen(None, 1, 8, None), Ok(Some(7)));
        assert_eq!(chosen(None, 2, 8, Some(4.0)), Ok(Some(6)));
        assert_eq!(chosen(Some(&[1]), 1, 2, None), Ok(Some(1)));
        let refused = chosen(Some(&[1, 9]), 1, 2, None).unwrap_err();
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
        assert_eq!(parse_quota("max", "100000"), None);
        assert_eq!(parse_quota("150000", "100000"), Some(1.5));
        assert_eq!(parse_quota("-1", "100000"), None);
        assert_eq!(parse_quota("150000", "0"), None);
        assert_eq!(parse_quota("", ""), None);
    }

    #[test]
    fn the_smallest_quota_of_a_control_group_and_those_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let quota = |groups: &str| quota_of(root.path(), groups);
        assert_eq!(quota("0::/\n"), None, "nothing is there");
        write("box/cpu.max", "max 100000\n");
        assert_eq!(quota("0::/box/inner\n"), None);
        write("box/cpu.max", "300000 100000\n");
        assert_eq!(quota("0::/box/inner\n"), Some(3.0));
        write("box/inner/cpu.max", "250000 100000\n");
        assert_eq!(quota("0::/box/inner\n"), Some(2.5));
        assert_eq!(quota("0::/box\n"), Some(3.0));
        // Version 1, with the controller under its own name or beside another.
        write("cpu/cpu.cfs_quota_us", "-1\n");
        write("cpu/cpu.cfs_period_us", "100000\n");
        let groups = "9:name=systemd:/\n4:memory:/old\n3:cpuset:/old\n2:cpuacct,cpu:/old\n0::/\n";
        assert_eq!(quota(groups), None);
        write("cpu/old/cpu.cfs_quota_us", "50000\n");
        write("cpu/old/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota(groups), Some(0.5));
        write("cpu/cpu.cfs_quota_us", "20000\n");
        assert_eq!(quota(groups), Some(0.2));
        // In a container the path of the group may be that of another system: what is mounted is its own.
        assert_eq!(quota("2:cpu:/docker/8c1f\n"), Some(0.2));
        assert_eq!(quota("3:cpuset:/old\n"), None, "another controller");
    }
}
