//! The directory of a management node: a lock, and the log file.
//!
//! ```text
//! DIRECTORY/lock                locked while a process uses the directory
//! DIRECTORY/management.log      blocks as described in duet_protocol::record
//! DIRECTORY/management.log.new  a replacement that was not finished; removed at start
//! ```

use anyhow::{Context, Result, bail};
use duet_mgmd_core::Persist;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const LOG: &str = "management.log";
const REPLACEMENT: &str = "management.log.new";

/// The log file of a directory that this process has locked.
#[derive(Debug)]
pub(crate) struct LogFile {
    directory: PathBuf,
    file: File,
    _lock: File,
}

impl LogFile {
    /// Locks the directory, which is created when missing, and reads its log.
    ///
    /// # Errors
    /// When another process has locked it, or for an IO error.
    pub(crate) fn open(directory: &Path) -> Result<(LogFile, Vec<u8>)> {
        let shown = directory.display();
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create the directory {shown}"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK))
            .with_context(|| format!("cannot open the lock of {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("the directory {shown} is in use by another management node")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock the directory {shown}"));
            }
        }
        match std::fs::remove_file(directory.join(REPLACEMENT)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot clean up {shown}")),
        }
        let read = || -> io::Result<(File, Vec<u8>)> {
            let mut file = open_log(directory)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = read().with_context(|| format!("cannot read the log in {shown}"))?;
        Ok((LogFile { directory: directory.to_owned(), file, _lock: lock }, bytes))
    }

    /// Cuts a torn tail off.
    ///
    /// # Errors
    /// For an IO error; then the process must end.
    pub(crate) fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        self.file.sync_all()
    }

    /// Makes a write durable.
    ///
    /// # Errors
    /// For an IO error; then the process must end, because nobody knows what is on the disk.
    pub(crate) fn write(&mut self, write: &Persist) -> io::Result<()> {
        if !write.replace {
            self.file.write_all(&write.bytes)?;
            return self.file.sync_data();
        }
        let replacement = self.directory.join(REPLACEMENT);
        let mut file = owners_only().truncate(true).open(&replacement)?;
        file.write_all(&write.bytes)?;
        file.sync_all()?;
        std::fs::rename(&replacement, self.directory.join(LOG))?;
        File::open(&self.directory)?.sync_all()?;
        self.file = file;
        Ok(())
    }
}

fn open_log(directory: &Path) -> io::Result<File> {
    owners_only().truncate(false).read(true).open(directory.join(LOG))
}

/// To write files that nobody else may read: they hold verifiers of passwords.
fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64, replace: bool, bytes: &[u8]) -> Persist {
        Persist { number, replace, bytes: bytes.to_vec() }
    }

    #[test]
    fn appends_and_replacements_survive() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("deep/inside");
        let (mut log, bytes) = LogFile::open(&path).expect("opens");
        assert!(bytes.is_empty());
        log.write(&write(1, true, b"first")).expect("writes");
        log.write(&write(2, false, b" second")).expect("writes");
        drop(log);
        std::fs::write(path.join(REPLACEMENT), b"half").expect("writes");
        let (mut log, bytes) = LogFile::open(&path).expect("opens");
        assert_eq!(bytes, b"first second");
        assert!(!path.join(REPLACEMENT).exists());
        log.truncate(5).expect("cuts");
        log.write(&write(3, false, b"!")).expect("writes");
        drop(log);
        assert_eq!(LogFile::open(&path).expect("opens").1, b"first!");
    }

    #[test]
    fn a_directory_has_one_user() {
        let directory = tempfile::tempdir().expect("directory");
        let first = LogFile::open(directory.path()).expect("opens");
        let refused = LogFile::open(directory.path()).expect_err("in use");
        assert!(refused.to_string().contains("in use by another"), "{refused}");
        drop(first);
        assert!(LogFile::open(directory.path()).is_ok());
    }
}
