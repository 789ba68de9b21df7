//! Addresses as users write them, and why nobody answers at one.

use crate::{Error, ErrorCode, Result};
use std::io::ErrorKind;

/// Checks `host:port` without asking anybody for the host.
///
/// # Errors
/// `InvalidRequest` with what is wrong.
pub(crate) fn check(address: &str) -> Result<()> {
    let refused = |what: &str| {
        let detail = format!("the address '{address}' {what}; an address is host:port, like 127.0.0.1:4567");
        Err(Error::new(ErrorCode::InvalidRequest, &detail))
    };
    if address.contains("://") {
        return refused("has a scheme");
    }
    let Some((host, port)) = address.rsplit_once(':') else { return refused("has no port") };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return refused("is an IPv6 address without brackets or has several ports");
    }
    let host = bracketed.unwrap_or(host);
    if host.is_empty() {
        return refused("has no host");
    }
    if host.contains(|character: char| character.is_whitespace() || "/@[]".contains(character)) {
        return refused("has a host with characters that no host has");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => refused("has a port that is no number from 1 to 65535"),
    }
}

/// Why there is no connection, as a part of a sentence.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::TimedOut => "no answer in time".to_owned(),
        // Looking up a host fails with a kind that has no name yet.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            format!("unknown host: {error}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:4567", "localhost:1", "[::1]:65535", "db-1.example:80"] {
            check(good).expect(good);
        }
        let bad = [
            "foo",
            "127.0.0.1",
            "h:99999",
            "h:0",
            "h:",
            ":80",
            "h:x",
            "::1:80",
            "http://h:80",
            "a b:1",
            "[]:1",
        ];
        for bad in bad {
            let error = check(bad).expect_err(bad);
            assert!(error.is(ErrorCode::InvalidRequest) && error.message.contains(bad), "{error}");
        }
    }
}
