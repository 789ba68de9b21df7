//! `/metrics` and `/health` of a data node.

use duet_runtime::Snapshot;
use std::fmt::Write;
use std::net::SocketAddr;
use tiny_http::{Header, Response, Server};

/// Serves HTTP on a thread of its own until the process ends. The address that it listens on.
///
/// # Errors
/// A sentence when the address cannot be used.
pub fn serve(
    address: SocketAddr,
    snapshot: impl Fn() -> Snapshot + Send + 'static,
) -> Result<SocketAddr, String> {
    let server =
        Server::http(address).map_err(|error| format!("cannot serve metrics on {address}: {error}"))?;
    let listen = server.server_addr().to_ip().unwrap_or(address);
    let serve = move || {
        for request in server.incoming_requests() {
            let snapshot = snapshot();
            let response = match request.url() {
                "/metrics" => Response::from_string(render(&snapshot)),
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
    thread.map_err(|error| format!("cannot start the metrics thread: {error}"))?;
    Ok(listen)
}

/// Prometheus text of everything that is counted.
fn render(snapshot: &Snapshot) -> String {
    let links = &snapshot.links;
    let mut text = String::new();
    let mut put = |name: &str, help: &str, value: u64| {
        let gauge = help.contains(" now.") || matches!(name, "state_version" | "view" | "epoch" | "serving");
        let kind = if gauge || name.starts_with("memory_limit") { "gauge" } else { "counter" };
        let help = help.trim();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP duet_datanode_{name} {help}\n# TYPE duet_datanode_{name} {kind}\nduet_datanode_{name} {value}\n"
        );
    };
    for (name, help, value) in snapshot.node.list() {
        put(name, help, value);
    }
    put("bytes_received", "Bytes received on links.", links.bytes_received);
    put("bytes_sent", "Bytes sent on links.", links.bytes_sent);
    put("reads_called", "System calls that read from links.", links.reads);
    put("writes_called", "System calls that write to links.", links.writes);
    put("wakeups", "Returns of the pipeline thread from waiting.", links.wakeups);
    put("links_not_read", "Links given up because the other side did not read.", links.links_not_read);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_rendered_once() {
        let text = render(&Snapshot::default());
        let names: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(names.len() > 25);
        assert!(text.contains("# TYPE duet_datanode_pending_writes gauge"));
        assert!(text.contains("# TYPE duet_datanode_reads counter\nduet_datanode_reads 0\n"));
    }
}
