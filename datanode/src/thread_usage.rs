//! What the threads of this process have used, as the scheduler of the system counts it.

use std::path::Path;

/// A thread of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadUsage {
    /// Its id in the system.
    pub id: u32,
    /// Its name: the stages that it runs, and its number.
    pub name: String,
    /// The CPUs that it may run on, such as `0-3,8`.
    pub cpus: String,
    /// CPU time, user and system together, in seconds.
    pub cpu_seconds: f64,
    /// Time for which it could have run and had no CPU, in seconds.
    pub wait_seconds: f64,
    /// How often it was given a CPU.
    pub turns: u64,
}

impl ThreadUsage {
    /// All threads, by their ids; none where the system does not tell.
    pub fn all() -> Vec<ThreadUsage> {
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
        // A thread may end between the listing and the reading.
        let mut threads: Vec<ThreadUsage> = tasks.flatten().filter_map(|task| read(&task.path())).collect();
        threads.sort_by_key(|thread| thread.id);
        threads
    }
}

fn read(directory: &Path) -> Option<ThreadUsage> {
    let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    let status = text("status")?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let schedule = text("schedstat")?;
    let mut numbers = schedule.split_ascii_whitespace().map_while(|number| number.parse::<u64>().ok());
    let (run, wait, turns) = (numbers.next()?, numbers.next()?, numbers.next()?);
    Some(ThreadUsage {
        id: directory.file_name()?.to_str()?.parse().ok()?,
        name: text("comm")?.trim_end().to_owned(),
        cpus: cpus.trim().to_owned(),
        cpu_seconds: run as f64 / 1e9,
        wait_seconds: wait as f64 / 1e9,
        turns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_seen() {
        let work = || {
            let before = ThreadUsage::all();
            let mut sum = 0_u64;
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(50) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            std::thread::yield_now();
            (before, ThreadUsage::all())
        };
        let thread = std::thread::Builder::new().name("worker-7".to_owned()).spawn(work);
        let (before, after) = thread.expect("a thread starts").join().expect("it works");
        let find = |all: &[ThreadUsage]| all.iter().find(|thread| thread.name == "worker-7").cloned();
        let (before, after) = (find(&before).expect("listed"), find(&after).expect("listed"));
        assert_eq!(before.id, after.id);
        assert!(after.cpu_seconds > before.cpu_seconds && after.turns >= before.turns);
        assert!(!after.cpus.is_empty());
    }
}
