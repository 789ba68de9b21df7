//! `/metrics` and `/health` of a data node.

use crate::thread_usage::ThreadUsage;
use duet_runtime::{ProcessUsage, Snapshot};
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use tiny_http::{Header, Response, Server};

/// A bound address whose server is not started yet.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// A sentence when the address cannot be used.
    pub fn bind(address: SocketAddr) -> Result<MetricsListener, String> {
        let sentence = |error: std::io::Error| format!("cannot serve metrics on {address}: {error}");
        let listener = TcpListener::bind(address).map_err(sentence)?;
        let address = listener.local_addr().map_err(sentence)?;
        Ok(MetricsListener { listener, address })
    }

    /// The address with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves HTTP on a thread of its own until the process ends.
    ///
    /// # Errors
    /// A sentence when the system refuses.
    pub fn serve(self, node: u32, snapshot: impl Fn() -> Snapshot + Send + 'static) -> Result<(), String> {
        let server = Server::from_listener(self.listener, None)
            .map_err(|error| format!("cannot serve metrics on {}: {error}", self.address))?;
        let serve = move || {
            for request in server.incoming_requests() {
                let snapshot = snapshot();
                let response = match request.url() {
                    "/metrics" => {
                        let usage = ProcessUsage::now();
                        Response::from_string(render(node, &snapshot, &usage, &ThreadUsage::all()))
                    }
                    "/health" if snapshot.node.serving == 1 => Response::from_string("serving\n"),
                    "/health" => Response::from_string("not serving\n").with_status_code(503),
                    _ => Response::from_string("try /metrics or /health\n").with_status_code(404),
                };
                let content_type = Header::from_bytes("Content-Type", "text/plain; version=0.0.4");
                let response = match content_type {
                    Ok(header) => response.with_header(header),
                    Err(()) => response,
                };
                if let Err(error) = request.respond(response) {
                    tracing::debug!(%error, "metrics request not answered");
                }
            }
        };
        let thread = std::thread::Builder::new().name("duet-metrics".to_owned()).spawn(serve);
        thread.map(|_| ()).map_err(|error| format!("cannot start the metrics thread: {error}"))
    }
}

/// Prometheus text of everything that is counted.
fn render(node: u32, snapshot: &Snapshot, usage: &ProcessUsage, threads: &[ThreadUsage]) -> String {
    let mut text = String::new();
    put(&mut text, "node_id", "Which data node this is now.", "gauge", &node);
    for (name, help, value) in snapshot.node.list() {
        put(&mut text, name, help, kind(name, help), &value);
    }
    for (name, help, value) in snapshot.links.list() {
        put(&mut text, name, help, kind(name, help), &value);
    }
    let cpu = usage.user_seconds + usage.system_seconds;
    put(&mut text, "cpu_seconds", "CPU time of all threads in seconds.", "counter", &cpu);
    let resident = usage.resident_bytes;
    put(&mut text, "resident_bytes", "Memory of the process in use now, in bytes.", "gauge", &resident);
    put_threads(&mut text, threads);
    text
}

/// For each count of threads a line for each thread: `duet.threads` of the SQL gateway reads them.
fn put_threads(text: &mut String, threads: &[ThreadUsage]) {
    type Count = fn(&ThreadUsage) -> f64;
    let wait = "Time for which a thread could have run and had no CPU, in seconds.";
    let counts: [(&str, &str, Count); 3] = [
        ("cpu_seconds", "CPU time of a thread in seconds.", |thread| thread.cpu_seconds),
        ("wait_seconds", wait, |thread| thread.wait_seconds),
        ("turns", "How often a thread was given a CPU.", |thread| thread.turns as f64),
    ];
    for (name, help, count) in counts {
        let name = format!("duet_datanode_thread_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for thread in threads {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-+_.".contains(letter);
            let thread_name = thread.name.replace(|letter| !plain(letter), "_");
            let (id, cpus, count) = (thread.id, &thread.cpus, count(thread));
            let _ = writeln!(text, "{name}{{thread=\"{thread_name}\",id=\"{id}\",cpus=\"{cpus}\"}} {count}");
        }
    }
}

fn kind(name: &str, help: &str) -> &'static str {
    let states = ["state_version", "view", "epoch", "serving", "memory_limit_bytes"];
    if help.contains(" now") || states.contains(&name) { "gauge" } else { "counter" }
}

fn put(text: &mut String, name: &str, help: &str, kind: &str, value: &dyn std::fmt::Display) {
    let help = help.trim();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "# HELP duet_datanode_{name} {help}\n# TYPE duet_datanode_{name} {kind}\nduet_datanode_{name} {value}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_rendered_once() {
        let thread = |id, name: &str| ThreadUsage {
            id,
            name: name.to_owned(),
            cpus: "0-1".to_owned(),
            cpu_seconds: 1.5,
            ..ThreadUsage::default()
        };
        let threads = [thread(7, "ldm-0"), thread(8, "a \"name\"")];
        let text = render(7, &Snapshot::default(), &ProcessUsage::now(), &threads);
        let mut names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(count > 35 && names.len() == count);
        assert!(text.contains("\nduet_datanode_node_id 7\n"));
        assert!(text.contains("# TYPE duet_datanode_pending_writes gauge"));
        assert!(text.contains("# TYPE duet_datanode_reads counter\nduet_datanode_reads 0\n"));
        assert!(text.contains("# TYPE duet_datanode_backlog_bytes gauge"));
        assert!(text.contains("# TYPE duet_datanode_resident_bytes gauge"));
        assert!(text.contains("thread_cpu_seconds{thread=\"ldm-0\",id=\"7\",cpus=\"0-1\"} 1.5\n"));
        assert!(text.contains("thread_turns{thread=\"a__name_\",id=\"8\",cpus=\"0-1\"} 0\n"));
    }
}
