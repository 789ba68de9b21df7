//! The grid of Feast's benchmark: requests over HTTP at a rate, whether or not earlier ones have been answered.

use super::arguments::FeaturesArguments;
use super::native::histogram;
use crate::connection::Connection;
use crate::pace::Pacer;
use crate::workload::mix64;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One cell of the grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) entities: u64,
    pub(super) features: u32,
    pub(super) rate: f64,
}

impl Cell {
    /// All cells that are asked for.
    pub(super) fn all(arguments: &FeaturesArguments) -> Vec<Cell> {
        let mut cells = Vec::new();
        for entities in &arguments.entities {
            for features in &arguments.features {
                for rate in &arguments.rates {
                    cells.push(Cell { entities: *entities, features: *features, rate: *rate });
                }
            }
        }
        cells
    }

    pub(super) fn name(&self) -> String {
        format!("HTTP, {} entities × {} features, {} requests/s", self.entities, self.features, self.rate)
    }

    fn body(&self, group: &str, rows: u64, random: &mut u64) -> String {
        let mut body = "{\"features\":[".to_owned();
        for feature in 0..self.features {
            let comma = if feature > 0 { "," } else { "" };
            let _ = write!(body, "{comma}\"{group}:f{feature}\"");
        }
        body += "],\"entities\":{\"id\":[";
        for number in 0..self.entities {
            *random = mix64(*random);
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(body, "{comma}{}", *random % rows);
        }
        body + "]}}"
    }
}

/// Answers and their times from when the requests were meant to begin.
pub(super) fn run(
    cell: Cell,
    (address, group, rows): (SocketAddr, &str, u64),
    connections: u32,
    seconds: f64,
    seed: u64,
) -> Result<(u64, Histogram<u64>)> {
    let begin = Instant::now();
    let end = Duration::from_secs_f64(seconds);
    // A rate that one connection keeps up with is not spread over idle ones.
    let workers = connections.min((cell.rate * seconds).ceil() as u32).max(1);
    let results: Vec<Result<(u64, Histogram<u64>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut connection = Connection::open(&address.into())?;
                    let (mut pacer, mut times) = (Pacer::new(cell.rate, worker, workers), histogram()?);
                    let (mut random, mut answers) = (mix64(seed ^ mix64(u64::from(worker))), 0);
                    loop {
                        let intended = pacer.intended_start(0);
                        if intended >= end || begin.elapsed() >= end.mul_f64(2.0) {
                            return Ok((answers, times));
                        }
                        pacer.issue(1);
                        let body = cell.body(group, rows, &mut random);
                        std::thread::sleep(intended.saturating_sub(begin.elapsed()));
                        ask(&mut connection, address, &body)?;
                        times.saturating_record(begin.elapsed().saturating_sub(intended).as_micros() as u64);
                        answers += 1;
                    }
                })
            })
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|done| done.unwrap_or_else(|_| Err(anyhow::anyhow!("a caller has panicked")))).collect()
    });
    let (mut answers, mut times) = (0, histogram()?);
    for result in results {
        let (of_worker, more) = result?;
        answers += of_worker;
        times.add(more).context("histograms of one kind")?;
    }
    Ok((answers, times))
}

/// Sends a request and reads its answer, which must be whole.
fn ask(connection: &mut Connection, address: SocketAddr, body: &str) -> Result<()> {
    let request = format!(
        "POST /get-online-features HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request.as_bytes())?;
    let (head, length) = loop {
        if let Some(found) = head_of(connection.received())? {
            break found;
        }
        connection.receive()?;
    };
    connection.consume(head);
    let mut left = length;
    loop {
        let count = connection.received().len().min(left);
        if count == left && left < 64 {
            ensure!(connection.received()[..left].ends_with(b"]}"), "an answer is not whole");
        }
        connection.consume(count);
        left -= count;
        if left == 0 {
            return Ok(());
        }
        connection.receive()?;
    }
}

/// Bytes of the head of an answer, and of the body behind it.
fn head_of(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("an answer's head is text")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "the server answers {head}");
    let number = |wanted: &str| {
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().parse::<usize>().ok())?
        })
    };
    ensure!(number("x-duet-failures").unwrap_or(0) == 0, "rows have failed: {head}");
    let length = number("content-length");
    Ok(Some((end + 4, length.context("an answer without a length")?)))
}
