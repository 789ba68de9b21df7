//! A relay of TCP connections that can make everything come late.

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under way in one direction of a connection; who sends more waits.
const CHUNKS: usize = 1_024;

/// How late everything comes.
#[derive(Debug, Default)]
pub struct Lateness {
    delay_us: AtomicU64,
    jitter_us: AtomicU64,
}

impl Lateness {
    /// From now on every chunk comes late by `delay`, and by up to `jitter` more; none overtakes an earlier one.
    pub fn set(&self, delay: Duration, jitter: Duration) {
        self.delay_us.store(delay.as_micros() as u64, Ordering::Relaxed);
        self.jitter_us.store(jitter.as_micros() as u64, Ordering::Relaxed);
    }

    fn draw(&self, random: &mut SmallRng) -> Duration {
        let jitter = self.jitter_us.load(Ordering::Relaxed);
        let added = if jitter > 0 { random.random_range(0..=jitter) } else { 0 };
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed) + added)
    }
}

/// A listening relay; its connections end with their ends, it listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Listens on a free port of loopback; connections wait until it is known where they lead.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(lateness: Arc<Lateness>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a relay cannot listen")?;
        let address = listener.local_addr().context("a relay has no address")?;
        let (target, known) = watch::channel(None);
        let accepting = Handle::current().spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (lateness, mut known) = (Arc::clone(&lateness), known.clone());
                tokio::spawn(async move {
                    // Fails where the relay is gone.
                    let Ok(target) = known.wait_for(Option::is_some).await.map(|target| *target) else {
                        return;
                    };
                    let Some(target) = target else { return };
                    // A target that cannot be reached ends the connection, which says so.
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    // Both fail only on a connection that has ended.
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::spawn(pass(near_in, far_out, Arc::clone(&lateness)));
                    pass(far_in, near_out, lateness).await;
                });
            }
        });
        Ok(Self { address, target, accepting })
    }

    /// Passes every connection on to `target` from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes on what comes, late, until either side ends; then ends the other one.
async fn pass(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin,
    lateness: Arc<Lateness>,
) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let reading = tokio::spawn(async move {
        let (mut last, mut random) = (Instant::now(), SmallRng::from_os_rng());
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = from.read_buf(&mut chunk).await;
            last = last.max(Instant::now() + lateness.draw(&mut random));
            let ended = !matches!(read, Ok(1..));
            if sender.send((last, chunk)).await.is_err() || ended {
                return;
            }
        }
    });
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        if chunk.is_empty() || to.write_all(&chunk).await.is_err() {
            break;
        }
    }
    reading.abort();
    // Fails only where the other side is gone already.
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_and_late_and_the_end_is_passed_on() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let lateness = Arc::new(Lateness::default());
        let relay = Relay::start(Arc::clone(&lateness)).await.unwrap();
        let mut near = TcpStream::connect(relay.address()).await.unwrap();
        relay.lead_to(listener.local_addr().unwrap());
        let (mut far, _) = listener.accept().await.unwrap();
        lateness.set(Duration::from_millis(5), Duration::from_millis(5));
        let begin = Instant::now();
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let sent = text.clone();
        tokio::spawn(async move {
            for part in sent.chunks(20_000) {
                near.write_all(part).await.unwrap();
            }
            near.shutdown().await.unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        assert!(got == text && begin.elapsed() >= Duration::from_millis(5));
    }
}
