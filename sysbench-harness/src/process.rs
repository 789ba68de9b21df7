//! Child processes that never outlive us.

use crate::cpu::CpuList;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Most bytes of a ready line.
const READY_LINE_BYTES: u64 = 4096;
/// Most bytes of a log that an error message shows.
const LOG_TAIL_BYTES: u64 = 2000;

/// Why a child process could not be started or did not become ready.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The executable could not be started.
    #[error("cannot start {name}: {reason}")]
    Start {
        /// What was to be started.
        name: String,
        /// The operating system's words.
        reason: String,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready ({status}){log}")]
    Ended {
        /// What was started.
        name: String,
        /// How it ended.
        status: String,
        /// End of its log.
        log: String,
    },
    /// It was not ready in time.
    #[error("{name} was not ready within {seconds} s{log}")]
    NotReady {
        /// What was started.
        name: String,
        /// The deadline that passed, in seconds.
        seconds: u64,
        /// End of its log.
        log: String,
    },
    /// It could not be signalled.
    #[error("cannot signal {name}: {reason}")]
    Signal {
        /// What was started.
        name: String,
        /// The operating system's words.
        reason: String,
    },
}

/// How the child learns that its parent has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentDeath {
    /// It reads its standard input to the end (`--parent-pipe`); we hold the other end.
    Pipe,
    /// The kernel kills it when the starting thread ends (`setpriv --pdeathsig`), for programs of others. Start
    /// such a child on a thread that lives as long as it should.
    KernelSignal,
}

/// A child process; killed and waited for when dropped. Its standard error goes to a log file.
#[derive(Debug)]
pub struct ManagedProcess {
    name: String,
    child: Child,
    log: PathBuf,
    ready_lines: Receiver<String>,
    /// Held open while the child shall live.
    _parent_pipe: Option<ChildStdin>,
}

impl ManagedProcess {
    /// Starts `arguments[0]` with the rest as its arguments on `cpus`; its standard error is appended to `log`.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        name: &str,
        arguments: &[S],
        death: ParentDeath,
        cpus: Option<&CpuList>,
        log: &Path,
    ) -> Result<Self, ProcessError> {
        let failed = |reason: String| ProcessError::Start { name: name.to_owned(), reason };
        let [program, rest @ ..] = arguments else { return Err(failed("no program is named".to_owned())) };
        let mut command = match death {
            ParentDeath::Pipe => {
                let mut command = Command::new(program);
                // A terminal's ctrl-C signals our whole process group; how the child ends is up to us.
                command.process_group(0);
                command
            }
            ParentDeath::KernelSignal => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
        };
        let errors = File::options().create(true).append(true).open(log);
        let errors = errors.map_err(|error| failed(format!("{}: {error}", log.display())))?;
        command.args(rest).stdout(Stdio::piped()).stderr(errors);
        command.stdin(match death {
            ParentDeath::Pipe => Stdio::piped(),
            ParentDeath::KernelSignal => Stdio::null(),
        });
        let spawned = match cpus {
            Some(cpus) => {
                cpus.inherited_by(|| command.spawn()).map_err(|error| failed(format!("{error:#}")))?
            }
            None => command.spawn(),
        };
        let mut child = spawned
            .map_err(|error| failed(format!("{}: {error}", Path::new(command.get_program()).display())))?;
        let (sender, ready_lines) = sync_channel(1);
        if let Some(output) = child.stdout.take() {
            // Reads on after the first line so that the child never blocks on a full pipe; ends with the child.
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut line = String::new();
                if output.by_ref().take(READY_LINE_BYTES).read_line(&mut line).is_ok() && line.ends_with('\n')
                {
                    // A full or closed channel means that nobody waits for the line.
                    let _ = sender.try_send(line);
                }
                let _ = std::io::copy(&mut output, &mut std::io::sink());
            });
        }
        let parent_pipe = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ready_lines, _parent_pipe: parent_pipe })
    }

    /// Waits for the first line of standard output.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] or [`ProcessError::NotReady`], with the end of its log.
    pub fn ready_line(&mut self, within: Duration) -> Result<String, ProcessError> {
        match self.ready_lines.recv_timeout(within) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(self.not_ready(within)),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait(Duration::from_secs(5));
                Err(self.ended(status))
            }
        }
    }

    /// Calls `is_ready` until it is so.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] or [`ProcessError::NotReady`], with the end of its log.
    pub fn ready_when(
        &mut self,
        within: Duration,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<(), ProcessError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(self.ended(Some(status)));
            }
            if is_ready() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(within));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it was called when it was started.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that gets its standard error.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal to a process that has not been waited for (so the id cannot be someone else's).
    ///
    /// # Errors
    /// [`ProcessError::Signal`], also if it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        let failed = |reason: String| ProcessError::Signal { name: self.name.clone(), reason };
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(failed(format!("it has ended ({status})")));
        }
        let process_id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process_id = process_id.ok_or_else(|| failed("its process id is out of range".to_owned()))?;
        kill_process(process_id, signal).map_err(|error| failed(error.to_string()))
    }

    /// Waits until it has ended; `None` if it has not within the time.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it at once (SIGKILL) and waits for it.
    pub fn kill(&mut self) {
        // Both fail only if it has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM), and kills it if it has not within the time.
    pub fn terminate(&mut self, within: Duration) -> Option<ExitStatus> {
        // A process that has ended cannot be signalled, and is waited for below.
        let _ = self.signal(Signal::TERM);
        let status = self.wait(within);
        self.kill();
        status
    }

    /// The last lines of its log, as a text to append to a message; empty if there are none.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        match read() {
            Ok(text) if !text.is_empty() => format!("; the end of its log:\n{text}"),
            Ok(_) | Err(_) => String::new(),
        }
    }

    fn ended(&self, status: Option<ExitStatus>) -> ProcessError {
        let status = status.map_or("closed its output".to_owned(), |status| status.to_string());
        ProcessError::Ended { name: self.name.clone(), status, log: self.log_tail() }
    }

    fn not_ready(&self, within: Duration) -> ProcessError {
        ProcessError::NotReady { name: self.name.clone(), seconds: within.as_secs(), log: self.log_tail() }
    }
}

impl Drop for ManagedProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, death: ParentDeath, directory: &Path) -> ManagedProcess {
        ManagedProcess::start("a shell", &["sh", "-c", script], death, None, &directory.join("log")).unwrap()
    }

    #[test]
    fn the_ready_line_is_returned_and_later_output_never_blocks_the_child() {
        let directory = tempfile::tempdir().unwrap();
        let script = "echo ready; head -c 1000000 /dev/zero; exit 3";
        let mut child = shell(script, ParentDeath::Pipe, directory.path());
        assert_eq!(child.ready_line(Duration::from_secs(20)).unwrap(), "ready\n");
        assert_eq!(child.wait(Duration::from_secs(20)).unwrap().code(), Some(3));
    }

    #[test]
    fn an_early_end_shows_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = shell("echo the port is in use >&2; exit 1", ParentDeath::Pipe, directory.path());
        let error = child.ready_line(Duration::from_secs(20)).unwrap_err().to_string();
        assert!(error.contains("the port is in use"), "{error}");
        assert!(error.contains("exit status: 1"), "{error}");
    }

    #[test]
    fn a_silent_child_is_given_up_and_killed_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        for death in [ParentDeath::Pipe, ParentDeath::KernelSignal] {
            let mut child = shell("exec sleep 600", death, directory.path());
            let error = child.ready_line(Duration::from_millis(20)).unwrap_err();
            assert!(matches!(error, ProcessError::NotReady { .. }), "{error}");
            let process_id = child.process_id();
            drop(child);
            assert!(!Path::new(&format!("/proc/{process_id}")).exists());
        }
    }

    #[test]
    fn the_parent_pipe_ends_the_child() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = shell("cat >/dev/null; exit 7", ParentDeath::Pipe, directory.path());
        child._parent_pipe = None;
        assert_eq!(child.wait(Duration::from_secs(20)).unwrap().code(), Some(7));
        assert!(child.signal(Signal::TERM).is_err());
    }

    #[test]
    fn a_missing_program_is_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let arguments = ["/no/such/program"];
        let error = ManagedProcess::start("it", &arguments, ParentDeath::Pipe, None, &log).unwrap_err();
        assert!(error.to_string().starts_with("cannot start it: /no/such/program:"), "{error}");
    }
}
