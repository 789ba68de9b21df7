//! The fake cluster behind real sockets: one listener per process, one thread per connection.

use crate::fake::{FakeCluster, Process};
use duet_client::{ColumnType, TableDefinition};
use duet_protocol::frame::announced_length;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Server {
    pub cluster: Arc<Mutex<FakeCluster>>,
    pub addresses: Vec<(Process, String)>,
    connections: Arc<Mutex<Vec<(Process, TcpStream)>>>,
    pub frames: Arc<Mutex<u64>>,
    open: Arc<Mutex<usize>>,
}

pub fn users() -> TableDefinition {
    TableDefinition::builder("shop", "users")
        .required("id", ColumnType::BigInt)
        .required("name", ColumnType::Varchar { characters: 64 })
        .nullable("credit", ColumnType::Int)
        .primary_key(["id"])
        .build()
        .expect("valid")
}

impl Server {
    pub fn start() -> Server {
        let processes = [Process::Management(1), Process::Node(1), Process::Node(2)];
        let listeners: Vec<(Process, TcpListener)> = processes
            .into_iter()
            .map(|process| (process, TcpListener::bind("127.0.0.1:0").expect("a free port")))
            .collect();
        let addresses: Vec<(Process, String)> = listeners
            .iter()
            .map(|(process, listener)| (*process, listener.local_addr().expect("bound").to_string()))
            .collect();
        let address = |process: Process| {
            addresses
                .iter()
                .find(|(known, _)| *known == process)
                .map(|(_, address)| address.clone())
                .expect("known")
        };
        let cluster = Arc::new(Mutex::new(FakeCluster::new(2, 1, address)));
        let server = Server {
            cluster,
            addresses,
            connections: Arc::default(),
            frames: Arc::default(),
            open: Arc::default(),
        };
        for (process, listener) in listeners {
            let (cluster, connections) = (Arc::clone(&server.cluster), Arc::clone(&server.connections));
            let frames = Arc::clone(&server.frames);
            let open = Arc::clone(&server.open);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(stream) = stream else { return };
                    let kept = stream.try_clone().expect("a second handle");
                    connections.lock().expect("no panic").push((process, kept));
                    let (cluster, frames) = (Arc::clone(&cluster), Arc::clone(&frames));
                    let open = Arc::clone(&open);
                    *open.lock().expect("no panic") += 1;
                    std::thread::spawn(move || {
                        serve(process, stream, &cluster, &frames);
                        *open.lock().expect("no panic") -= 1;
                    });
                }
            });
        }
        server
    }

    pub fn seed(&self) -> String {
        self.addresses[0].1.clone()
    }

    /// Closes the connections of a process.
    pub fn cut(&self, process: Process) {
        let mut connections = self.connections.lock().expect("no panic");
        connections.retain(|(of, stream)| {
            if *of == process {
                let _ = stream.shutdown(Shutdown::Both);
            }
            *of != process
        });
    }

    pub fn open_connections(&self) -> usize {
        *self.open.lock().expect("no panic")
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut FakeCluster) -> T) -> T {
        change(&mut self.cluster.lock().expect("no panic"))
    }
}

fn serve(process: Process, mut stream: TcpStream, cluster: &Mutex<FakeCluster>, frames: &Mutex<u64>) {
    let mut greeted = false;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        while let Some(length) = announced_length(&bytes, 1 << 20).expect("clients send frames") {
            if bytes.len() < length {
                break;
            }
            let frame: Vec<u8> = bytes.drain(..length).collect();
            let mut answers = Vec::new();
            let open = cluster.lock().expect("no panic").frame(process, &mut greeted, &frame, &mut answers);
            *frames.lock().expect("no panic") += 1;
            if stream.write_all(&answers).is_err() || !open {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&chunk[..length]),
            Ok(_) | Err(_) => return,
        }
    }
}

/// Waits until the condition holds; ten seconds are the limit.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} never happened");
        std::thread::yield_now();
    }
}
