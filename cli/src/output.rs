//! Standard output of the tools.

use anyhow::{Context, Result};
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::path::Path;

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

/// How a shell can call this program again: its bare name when it was found by that, else its path.
pub fn program() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "duet".to_owned());
    if !called.contains('/') {
        return called;
    }
    quoted(&std::env::current_exe().unwrap_or_else(|_| called.into()))
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+".contains(letter);
    match path.chars().all(plain) {
        true => path.into_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/opt/duet-1.0/duet")), "/opt/duet-1.0/duet");
        assert_eq!(quoted(Path::new("/my files/it's/duet")), r"'/my files/it'\''s/duet'");
    }
}
