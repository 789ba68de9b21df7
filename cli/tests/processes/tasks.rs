//! What the system knows of the threads of a process.

use std::io;
use std::path::Path;

/// One thread.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: u32,
    /// Its name, of which the system keeps 15 bytes.
    pub name: String,
    /// CPUs that it may use, as `0-3,6`.
    pub cpus: String,
    /// Processor time that it has used.
    pub ran_nanoseconds: u64,
    /// How often it was given a CPU.
    pub turns: u64,
}

impl Task {
    /// The thread of a folder of `/proc/PID/task`.
    ///
    /// # Errors
    /// When it has ended meanwhile.
    pub fn read(folder: &Path) -> io::Result<Task> {
        let text = |file: &str| std::fs::read_to_string(folder.join(file));
        let status = text("status")?;
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        // Time on a CPU, time waiting for one, turns on one.
        let scheduled = text("schedstat")?;
        let mut numbers = scheduled.split_whitespace().map(|number| number.parse().expect("a number"));
        let id = folder.file_name().and_then(|id| id.to_str()?.parse().ok());
        Ok(Task {
            id: id.expect("folders are named after threads"),
            name: text("comm")?.trim_end().to_owned(),
            cpus: cpus.expect("a list of CPUs").trim().to_owned(),
            ran_nanoseconds: numbers.next().expect("time that it ran"),
            turns: numbers.nth(1).expect("turns"),
        })
    }
}
