//! A bare blocking 64-byte round trip over TCP: the least that one synchronous request can take.

use crate::driver::latency_histogram;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const MESSAGE_BYTES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// Percentiles of the round trip, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoResult {
    /// Round trips that were measured.
    pub round_trips: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
}

/// Listens at `address` on a thread of its own, and sends 64 bytes back for every 64 received, one connection
/// after the other.
pub(super) fn start_server(address: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("the listener has no address")?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The connection ends when the client closes it.
            let _ = echo(stream);
        }
    });
    Ok(address)
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

/// A connection to the echo server.
#[derive(Debug)]
pub struct EchoClient {
    stream: TcpStream,
    message: [u8; MESSAGE_BYTES],
}

impl EchoClient {
    /// Connects.
    ///
    /// # Errors
    /// The server refused or did not answer.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        let stream = stream.context("cannot connect to the echo server")?;
        stream.set_nodelay(true).context("TCP_NODELAY")?;
        stream.set_read_timeout(Some(PATIENCE)).context("SO_RCVTIMEO")?;
        Ok(Self { stream, message: [7; MESSAGE_BYTES] })
    }

    /// Does one round trip.
    ///
    /// # Errors
    /// The connection failed.
    pub fn round_trip(&mut self) -> Result<()> {
        self.stream.write_all(&self.message).context("echo")?;
        self.stream.read_exact(&mut self.message).context("echo")
    }
}

/// Does `round_trips` round trips after a tenth as many that do not count.
///
/// # Errors
/// The connection failed.
pub fn measure_echo(address: SocketAddr, round_trips: u64) -> Result<EchoResult> {
    let mut client = EchoClient::connect(address)?;
    let mut latencies = latency_histogram();
    for trip in 0..round_trips + round_trips / 10 {
        let start = Instant::now();
        client.round_trip()?;
        if trip >= round_trips / 10 {
            latencies.saturating_record(start.elapsed().as_nanos() as u64);
        }
    }
    Ok(EchoResult {
        round_trips,
        p50_ns: latencies.value_at_quantile(0.50),
        p99_ns: latencies.value_at_quantile(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_measured() {
        let address = start_server(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let result = measure_echo(address, 100).unwrap();
        assert_eq!(result.round_trips, 100);
        assert!(result.p50_ns > 0 && result.p50_ns <= result.p99_ns);
    }
}
