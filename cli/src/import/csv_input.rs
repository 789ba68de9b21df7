//! The bytes of a CSV file on their way to its reader, which forgives what would lose rows: a quote that is never closed
//! makes one field of all the rows behind it. Quotes are those of RFC 4180.

use std::io::{self, Read};

/// Longest record of a CSV file, in bytes; an unclosed quote would otherwise read the whole file as one field.
pub const LONGEST_RECORD_BYTES: usize = 1 << 20;
/// Some programs begin a UTF-8 file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where in a record the next byte is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// At the start of a field.
    Start,
    /// In a field without quotes.
    Bare,
    /// Behind an opening quote.
    Quoted,
    /// Behind a quote in a quoted field: its end, or the first of two that mean one.
    Closed,
    /// In blanks behind a closing quote.
    Blank,
}

/// Checks quotes and the length of records, and ends every line outside quotes with one line feed, the last one too, so
/// that lines can be counted.
pub struct CsvInput<R> {
    inner: R,
    /// Bytes that the record may still have.
    left: usize,
    place: Place,
    /// Line of the next byte, from 1.
    line: u64,
    /// Line of the last opening quote.
    opened: u64,
    /// The last byte was a carriage return, whose line feed is left out.
    returned: bool,
    /// Bytes of a byte order mark that may still come.
    mark: &'static [u8],
    /// The last byte ended a line.
    line_ended: bool,
}

impl<R: Read> CsvInput<R> {
    /// An input at its start.
    pub fn new(inner: R) -> CsvInput<R> {
        CsvInput {
            inner,
            left: LONGEST_RECORD_BYTES,
            place: Place::Start,
            line: 1,
            opened: 0,
            returned: false,
            mark: BYTE_ORDER_MARK,
            line_ended: true,
        }
    }

    /// Another record begins. (Its start may have been read already; the limit is generous enough.)
    pub fn next_record(&mut self) {
        self.left = LONGEST_RECORD_BYTES;
    }

    /// Looks at the bytes and shortens line ends in place; the number of bytes left.
    fn check(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        for index in 0..bytes.len() {
            let mut byte = bytes[index];
            if std::mem::take(&mut self.returned) && byte == b'\n' {
                continue;
            }
            match self.mark {
                [first, rest @ ..] if *first == byte => self.mark = rest,
                _ => {
                    self.mark = &[];
                    self.place = self.next_place(byte)?;
                }
            }
            self.line_ended = false;
            if self.place != Place::Quoted && byte == b'\r' {
                self.returned = true;
                byte = b'\n';
            }
            if byte == b'\n' {
                self.line += 1;
                self.line_ended = self.place != Place::Quoted;
            }
            bytes[length] = byte;
            length += 1;
        }
        Ok(length)
    }

    fn next_place(&mut self, byte: u8) -> io::Result<Place> {
        Ok(match (self.place, byte) {
            (Place::Quoted, b'"') => Place::Closed,
            (Place::Quoted, _) | (Place::Closed, b'"') => Place::Quoted,
            (_, b',' | b'\r' | b'\n') => Place::Start,
            (Place::Start, b'"') => {
                self.opened = self.line;
                Place::Quoted
            }
            (Place::Start | Place::Bare, _) => Place::Bare,
            (Place::Closed | Place::Blank, b' ' | b'\t') => Place::Blank,
            (Place::Closed | Place::Blank, _) => {
                return Err(problem(format!(
                    "line {}: text behind a closing quote; the quoted field begins in line {}, and a quote inside it is written twice",
                    self.line, self.opened
                )));
            }
        })
    }
}

impl<R: Read> Read for CsvInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.left == 0 {
                let quote = match self.place {
                    Place::Quoted => format!("; is the quote in line {} not closed?", self.opened),
                    Place::Start | Place::Bare | Place::Closed | Place::Blank => String::new(),
                };
                let line = self.line;
                return Err(problem(format!(
                    "line {line}: a record is longer than {LONGEST_RECORD_BYTES} bytes{quote}"
                )));
            }
            let length = buffer.len().min(self.left);
            let count = self.inner.read(&mut buffer[..length])?;
            if count == 0 {
                if self.place == Place::Quoted {
                    return Err(problem(format!("line {}: a quote is opened and never closed", self.opened)));
                }
                if self.line_ended {
                    return Ok(0);
                }
                self.line_ended = true;
                buffer[0] = b'\n';
                return Ok(1);
            }
            self.left -= count;
            let checked = self.check(&mut buffer[..count])?;
            if checked > 0 {
                return Ok(checked);
            }
        }
    }
}

fn problem(sentence: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time finds what depends on where a read ends.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn through(content: &[u8]) -> Result<String, String> {
        let read = |mut input: CsvInput<Box<dyn Read + '_>>| {
            let mut text = String::new();
            input.read_to_string(&mut text).map(|_| text).map_err(|error| error.to_string())
        };
        let slow = read(CsvInput::new(Box::new(Slow(content))));
        assert_eq!(slow, read(CsvInput::new(Box::new(content))));
        slow
    }

    #[test]
    fn lines_end_with_one_line_feed() {
        assert_eq!(through(b""), Ok(String::new()));
        assert_eq!(through(b"a,b\r\n1,2\r3\n\n4").as_deref(), Ok("a,b\n1,2\n3\n\n4\n"));
        assert_eq!(through(b"a\n\"x\r\ny\"\r\n").as_deref(), Ok("a\n\"x\r\ny\"\n"));
    }

    #[test]
    fn sound_quotes_pass() {
        for sound in ["\"\"\n", "a\"b,\"c\"\"d\" ,e\n", "\u{feff}\"a\",b\n", "\"a,\nb\"\n"] {
            assert_eq!(through(sound.as_bytes()).as_deref(), Ok(sound));
        }
    }

    #[test]
    fn quotes_that_would_lose_rows_are_errors() {
        let error = |content: &[u8]| through(content).expect_err("refused");
        assert_eq!(error(b"a,b\n1,x\n2,\"y\n3,z\n"), "line 3: a quote is opened and never closed");
        assert_eq!(error(b"a\r\n\"\"\"\r\n"), "line 2: a quote is opened and never closed");
        let behind = error(b"a,b\n1,\"x\n2,\"y\"\n3,z\n");
        assert!(behind.starts_with("line 3: text behind") && behind.contains("begins in line 2"), "{behind}");
        assert!(error(b"\"a\" \"b\"\n").starts_with("line 1: text behind"));
    }
}
