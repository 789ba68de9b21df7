//! `/metrics` in the text format of Prometheus and `/health`, served by a thread of their own.

use anyhow::{Result, anyhow};
use duet_mgmd_core::ManagementGauges;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tiny_http::{Header, Method, Response, Server};

/// The latest gauges, written by the shell and read by the endpoint.
pub(crate) type SharedGauges = Arc<Mutex<ManagementGauges>>;

/// Binds the endpoint and serves it until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn serve(address: SocketAddr, gauges: SharedGauges) -> Result<SocketAddr> {
    let server =
        Server::http(address).map_err(|error| anyhow!("cannot serve metrics on {address}: {error}"))?;
    let bound = server.server_addr().to_ip().unwrap_or(address);
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        for request in server.incoming_requests() {
            let gauges = *gauges.lock().unwrap_or_else(PoisonError::into_inner);
            let (status, body) = answer(request.method(), request.url(), &gauges);
            let mut response = Response::from_string(body).with_status_code(status);
            if let Ok(header) = Header::from_bytes(&b"Content-Type"[..], &b"text/plain; version=0.0.4"[..]) {
                response.add_header(header);
            }
            // The asker has gone away: nothing to do.
            let _ = request.respond(response);
        }
    })?;
    Ok(bound)
}

fn answer(method: &Method, url: &str, gauges: &ManagementGauges) -> (u16, String) {
    if *method != Method::Get {
        return (405, "only GET\n".to_owned());
    }
    match url.split('?').next().unwrap_or_default() {
        "/metrics" => (200, render(gauges)),
        "/health" if gauges.rolled_back == 1 => (503, "the disk of this node was rolled back\n".to_owned()),
        "/health" if gauges.leader == 0 => (503, "no leader is known\n".to_owned()),
        "/health" => (200, "ok\n".to_owned()),
        _ => (404, "there are /metrics and /health\n".to_owned()),
    }
}

fn render(gauges: &ManagementGauges) -> String {
    let mut text = String::new();
    for (name, meaning, value) in gauges.list() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP duet_mgmd_{name} {meaning}\n# TYPE duet_mgmd_{name} gauge\nduet_mgmd_{name} {value}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_how_the_node_is() {
        let mut gauges = ManagementGauges { term: 7, ..ManagementGauges::default() };
        let (status, text) = answer(&Method::Get, "/metrics?x=1", &gauges);
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE duet_mgmd_term gauge\nduet_mgmd_term 7\n"), "{text}");
        assert_eq!(answer(&Method::Get, "/health", &gauges).0, 503);
        gauges.leader = 1;
        assert_eq!(answer(&Method::Get, "/health", &gauges).0, 200);
        gauges.rolled_back = 1;
        assert_eq!(answer(&Method::Get, "/health", &gauges).0, 503);
        assert_eq!(answer(&Method::Get, "/", &gauges).0, 404);
        assert_eq!(answer(&Method::Post, "/metrics", &gauges).0, 405);
    }
}
