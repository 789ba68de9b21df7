//! Standard output of the tools.

use anyhow::{Context, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line to standard output. A reader that has seen enough (`duet admin status | head`) is no error.
///
/// # Errors
/// Standard output cannot be written for another reason, such as a full disk.
pub fn say(line: Arguments<'_>) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_fmt(line).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
