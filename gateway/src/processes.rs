//! The connections of a gateway: what each is doing, and how another one, or its silence, ends it.

use crate::error::{Result, SqlError};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Bytes of a statement that others see.
const SHOWN_BYTES: usize = 1_024;
/// How often silent connections are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// `wait_timeout` unless a session sets it: MySQL's eight hours.
pub const WAIT_TIMEOUT_SECONDS: u32 = 28_800;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a statement or a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// KILL QUERY: the statement.
    Query = 1,
    /// KILL: the connection.
    Connection = 2,
    /// The connection, which was silent for longer than `wait_timeout`.
    Silence = 3,
}

/// What a connection is doing.
#[derive(Debug)]
struct Activity {
    user: String,
    database: Option<String>,
    /// As SHOW PROCESSLIST names it.
    command: &'static str,
    since: Instant,
    statement: String,
}

/// A connection, as the others see it.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub number: u32,
    peer: SocketAddr,
    activity: Mutex<Activity>,
    ending: AtomicU8,
    ended: Notify,
    wait_timeout_seconds: AtomicU32,
    questions: AtomicU64,
}

/// A row of SHOW PROCESSLIST.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Number of the connection.
    pub number: u32,
    /// Name of the user.
    pub user: String,
    /// Address of the client.
    pub peer: SocketAddr,
    /// The chosen database.
    pub database: Option<String>,
    /// `Query`, `Sleep` and the like.
    pub command: &'static str,
    /// Since when it is so.
    pub seconds: u64,
    /// The statement, cut.
    pub statement: Option<String>,
}

impl Process {
    fn new(number: u32, peer: SocketAddr) -> Process {
        let activity = Activity {
            user: "unauthenticated user".to_owned(),
            database: None,
            command: "Connect",
            since: Instant::now(),
            statement: String::new(),
        };
        Process {
            number,
            peer,
            activity: Mutex::new(activity),
            ending: AtomicU8::new(0),
            ended: Notify::new(),
            wait_timeout_seconds: AtomicU32::new(WAIT_TIMEOUT_SECONDS),
            questions: AtomicU64::new(0),
        }
    }

    /// The user is known.
    pub fn comes_in(&self, user: &str, database: Option<&str>) {
        let mut activity = lock(&self.activity);
        activity.user = user.to_owned();
        activity.database = database.map(str::to_owned);
    }

    /// A statement begins.
    pub fn begins(&self, command: &'static str, database: Option<&str>, statement: &str) {
        // What was killed has ended.
        let _ = self.ending.compare_exchange(Ending::Query as u8, 0, Ordering::Relaxed, Ordering::Relaxed);
        // Only that all are counted matters.
        self.questions.fetch_add(1, Ordering::Relaxed);
        let mut activity = lock(&self.activity);
        activity.command = command;
        activity.since = Instant::now();
        activity.statement.clear();
        match with_password(statement) {
            // Writing into memory cannot fail.
            Some(what) => drop(write!(activity.statement, "{what} <secret>")),
            None => activity.statement.push_str(cut(statement)),
        }
        if activity.database.as_deref() != database {
            activity.database = database.map(str::to_owned);
        }
    }

    /// The connection waits for its client.
    pub fn sleeps(&self) {
        let mut activity = lock(&self.activity);
        activity.command = "Sleep";
        activity.since = Instant::now();
        activity.statement.clear();
    }

    /// How long it may sleep.
    pub fn set_wait_timeout(&self, seconds: u32) {
        self.wait_timeout_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Ends the statement or the connection.
    pub fn end(&self, ending: Ending) {
        // An end of the connection is not taken back by one of a statement.
        self.ending.fetch_max(ending as u8, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Why the connection has to end, if it has.
    pub fn must_close(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Relaxed) {
            0 | 1 => None,
            2 => Some(Ending::Connection),
            _ => Some(Ending::Silence),
        }
    }

    /// Waits until an ending comes that is not less than this one.
    pub async fn ended(&self, least: Ending) {
        loop {
            // Made before the look, so that nothing is missed in between.
            let notified = self.ended.notified();
            if self.ending.load(Ordering::Relaxed) >= least as u8 {
                return;
            }
            notified.await;
        }
    }

    /// Does some work of a statement unless it is killed before.
    ///
    /// # Errors
    /// Those of the work; 1317 when it was killed.
    pub async fn unless_killed<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.ended(Ending::Query) => Err(SqlError::interrupted("Query execution was interrupted")),
        }
    }

    fn shown(&self) -> Shown {
        let activity = lock(&self.activity);
        Shown {
            number: self.number,
            user: activity.user.clone(),
            peer: self.peer,
            database: activity.database.clone(),
            command: activity.command,
            seconds: activity.since.elapsed().as_secs(),
            statement: Some(activity.statement.clone()).filter(|statement| !statement.is_empty()),
        }
    }

    fn is_too_silent(&self) -> bool {
        let activity = lock(&self.activity);
        let allowed = u64::from(self.wait_timeout_seconds.load(Ordering::Relaxed));
        activity.command == "Sleep" && activity.since.elapsed() >= Duration::from_secs(allowed)
    }
}

/// The beginning of a statement, at a border of characters.
fn cut(statement: &str) -> &str {
    match statement.len() <= SHOWN_BYTES {
        true => statement,
        false => &statement[..statement.floor_char_boundary(SHOWN_BYTES)],
    }
}

/// What a statement does, when it holds a password that others must not see.
fn with_password(statement: &str) -> Option<&'static str> {
    let first = statement.trim_ascii_start().as_bytes().first().map(u8::to_ascii_lowercase);
    // A comment may hide how it begins.
    if !matches!(first, Some(b'c' | b'a' | b's' | b'/' | b'-' | b'#')) {
        return None;
    }
    let upper = cut(statement).to_ascii_uppercase();
    if upper.contains("IDENTIFIED") || upper.contains("PASSWORD") {
        return Some("a statement about passwords:");
    }
    None
}

/// All connections of a gateway.
#[derive(Debug)]
pub struct Processes {
    list: Mutex<BTreeMap<u32, Arc<Process>>>,
    last: AtomicU32,
    questions_of_the_gone: AtomicU64,
    started: Instant,
}

/// A connection's place among the others, given up when it is dropped.
#[derive(Debug)]
pub struct Place {
    processes: Arc<Processes>,
    /// The connection.
    pub process: Arc<Process>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let questions = self.process.questions.load(Ordering::Relaxed);
        self.processes.questions_of_the_gone.fetch_add(questions, Ordering::Relaxed);
        lock(&self.processes.list).remove(&self.process.number);
    }
}

impl Processes {
    /// No connections yet.
    pub fn new() -> Arc<Processes> {
        Arc::new(Processes {
            list: Mutex::default(),
            last: AtomicU32::new(0),
            questions_of_the_gone: AtomicU64::new(0),
            started: Instant::now(),
        })
    }

    /// A connection comes.
    pub fn enter(self: &Arc<Self>, peer: SocketAddr) -> Place {
        let mut list = lock(&self.list);
        loop {
            let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if number == 0 || list.contains_key(&number) {
                continue;
            }
            let process = Arc::new(Process::new(number, peer));
            list.insert(number, Arc::clone(&process));
            return Place { processes: Arc::clone(self), process };
        }
    }

    /// Ends a statement or a connection by its number.
    ///
    /// # Errors
    /// 1094 when there is none.
    pub fn kill(&self, number: u64, ending: Ending) -> Result<()> {
        let process = u32::try_from(number).ok().and_then(|number| lock(&self.list).get(&number).cloned());
        let Some(process) = process else {
            return Err(SqlError::no_such_connection(format!("Unknown thread id: {number}")));
        };
        process.end(ending);
        Ok(())
    }

    /// All connections, in order of their numbers.
    pub fn shown(&self) -> Vec<Shown> {
        let list: Vec<Arc<Process>> = lock(&self.list).values().cloned().collect();
        list.iter().map(|process| process.shown()).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.list).len()
    }

    /// Seconds since the start.
    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Statements since the start.
    pub fn questions(&self) -> u64 {
        let open: u64 =
            lock(&self.list).values().map(|process| process.questions.load(Ordering::Relaxed)).sum();
        open + self.questions_of_the_gone.load(Ordering::Relaxed)
    }

    /// Ends connections that are silent for too long, as long as the future is not dropped.
    pub async fn watch_silence(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let list: Vec<Arc<Process>> = lock(&self.list).values().cloned().collect();
            for process in list {
                if process.is_too_silent() {
                    process.end(Ending::Silence);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_statement_ends_and_the_next_one_runs() {
        let processes = Processes::new();
        let place = processes.enter(SocketAddr::from(([127, 0, 0, 1], 1)));
        let process = &place.process;
        process.begins("Query", None, "SELECT 1");
        processes.kill(u64::from(process.number), Ending::Query).expect("there");
        let forever = std::future::pending::<Result<()>>();
        assert_eq!(process.unless_killed(forever).await.expect_err("killed").code, 1317);
        assert_eq!(process.must_close(), None);
        process.begins("Query", Some("d"), "SELECT 2");
        process.unless_killed(async { Ok(()) }).await.expect("not killed");
        assert_eq!(processes.shown()[0].statement.as_deref(), Some("SELECT 2"));
        processes.kill(u64::from(process.number), Ending::Connection).expect("there");
        process.ended(Ending::Connection).await;
        assert_eq!(process.must_close(), Some(Ending::Connection));
        drop(place);
        assert_eq!(processes.kill(1, Ending::Query).expect_err("gone").code, 1094);
        assert_eq!((processes.count(), processes.questions()), (0, 2));
    }

    #[test]
    fn passwords_are_not_shown() {
        for statement in [
            "CREATE USER a IDENTIFIED BY 'x'",
            " alter user a identified by 'x'",
            "/* c */ SET PASSWORD = 'x'",
        ] {
            assert!(with_password(statement).is_some(), "{statement}");
        }
        assert_eq!(with_password("SELECT * FROM t"), None);
        assert_eq!(cut(&"é".repeat(2_000)).len(), 1_024);
    }
}
