//! A blocking connection with a receive buffer, as all hand-written clients of the harness use it.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a reply may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 256 * 1024;

/// What clients reach servers through, and data nodes each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Links {
    /// TCP over the loopback interface.
    Tcp,
    /// Sockets of the Unix domain, which Duet prefers within a machine.
    Unix,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// At a port.
    Tcp(SocketAddr),
    /// At a socket of the Unix domain.
    Unix(PathBuf),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => path.display().fmt(formatter),
        }
    }
}

trait Stream: Read + Write + fmt::Debug + Send {}

impl<S: Read + Write + fmt::Debug + Send> Stream for S {}

/// A connection; unread bytes lie in [`Connection::received`].
#[derive(Debug)]
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects without delay of small segments.
    ///
    /// # Errors
    /// The server refused or did not answer.
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        let refused = || format!("cannot connect to {endpoint}");
        let stream: Box<dyn Stream> = match endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE).with_context(refused)?;
                stream.set_nodelay(true).context("TCP_NODELAY")?;
                stream.set_read_timeout(Some(PATIENCE)).context("SO_RCVTIMEO")?;
                stream.set_write_timeout(Some(PATIENCE)).context("SO_SNDTIMEO")?;
                Box::new(stream)
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).with_context(refused)?;
                stream.set_read_timeout(Some(PATIENCE)).context("SO_RCVTIMEO")?;
                stream.set_write_timeout(Some(PATIENCE)).context("SO_SNDTIMEO")?;
                Box::new(stream)
            }
        };
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 })
    }

    /// Sends everything in one write where the socket takes it.
    ///
    /// # Errors
    /// The connection failed or the server stopped reading.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("cannot send")
    }

    /// The bytes that were received and not consumed.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first `count` received bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Waits for more bytes.
    ///
    /// # Errors
    /// The connection failed or ended, nothing came for a long time, or a reply is larger than the buffer.
    pub fn receive(&mut self) -> Result<()> {
        if self.end == self.buffer.len() {
            if self.start == 0 {
                bail!("a reply is longer than {BUFFER_BYTES} bytes");
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let count = self.stream.read(&mut self.buffer[self.end..]).context("cannot receive")?;
        if count == 0 {
            bail!("the server closed the connection");
        }
        self.end += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn received_bytes_are_kept_across_partial_consumption() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let total = 3 * BUFFER_BYTES + 17;
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let bytes: Vec<u8> = (0..total).map(|index| (index % 251) as u8).collect();
            stream.write_all(&bytes).unwrap();
        });
        let mut connection = Connection::open(&address.into()).unwrap();
        let mut seen = 0;
        while seen < total {
            connection.receive().unwrap();
            // Leave a few bytes each time, so that the buffer must be compacted.
            let keep = if seen + connection.received().len() == total { 0 } else { 7 };
            let take = connection.received().len().saturating_sub(keep);
            for (offset, byte) in connection.received()[..take].iter().enumerate() {
                assert_eq!(*byte, ((seen + offset) % 251) as u8);
            }
            connection.consume(take);
            seen += take;
        }
        server.join().unwrap();
        assert!(connection.receive().unwrap_err().to_string().contains("closed"));
    }
}
