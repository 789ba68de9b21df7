//! How the tools find a cluster.

use crate::output::program;
use anyhow::{Context, Result, ensure};
use duet_client::{Client, ErrorCode};
use std::path::PathBuf;
use std::time::Duration;

/// Options of every tool that talks to a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// Addresses of data or management nodes, separated by commas; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4567", env = "DUET_CONNECT", value_parser = addresses)]
    pub connect: String,
    /// File with the secret of the cluster, where it has one
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
}

/// Checks the spelling of addresses, separated by commas; names are resolved later.
fn addresses(text: &str) -> Result<String, String> {
    for address in text.split(',').map(str::trim) {
        let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
            let bracketed = host.starts_with('[') && host.ends_with(']');
            let host_sound = !host.is_empty() && !host.contains(char::is_whitespace);
            host_sound && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !sound {
            return Err(format!("'{address}' is no address; write host:port"));
        }
    }
    Ok(text.to_owned())
}

impl Connection {
    /// A connection without secret.
    pub fn to(addresses: String) -> Connection {
        Connection { connect: addresses, cluster_secret_file: None }
    }

    /// Connects; operations of the client end after `timeout`.
    ///
    /// # Errors
    /// Nothing answers there, or the secret is wrong.
    pub async fn open(&self, timeout: Duration) -> Result<Client> {
        let mut builder = Client::builder(&self.connect).timeout(timeout).program("duet");
        if let Some(path) = &self.cluster_secret_file {
            let secret = std::fs::read(path)
                .with_context(|| format!("cannot read the cluster secret {}", path.display()))?;
            let secret = secret.trim_ascii_end();
            ensure!(!secret.is_empty(), "the cluster secret {} is empty", path.display());
            builder = builder.secret(secret);
        }
        builder.connect().await.map_err(|error| {
            let nobody = error.is(ErrorCode::NodeUnreachable) || error.is(ErrorCode::DeadlineExceeded);
            let sentence = match nobody {
                true => format!(
                    "no Duet node answers at {}; `{} demo` starts a cluster, --connect names another address",
                    self.connect,
                    program()
                ),
                false => format!("cannot connect to {}", self.connect),
            };
            anyhow::Error::new(error).context(sentence)
        })
    }
}

/// Runs a tool on an asynchronous runtime.
///
/// # Errors
/// Those of the tool, or the runtime cannot be started.
pub fn block_on<T>(tool: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("no runtime can be started")?.block_on(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spelling_of_addresses_is_checked() {
        for sound in ["127.0.0.1:4567", "one:1,two.example:65535", "a:1, b:2", "[::1]:4567"] {
            assert_eq!(addresses(sound), Ok(sound.to_owned()));
        }
        for bad in [
            "",
            "foo",
            "127.0.0.1",
            "127.0.0.1:99999",
            "host:",
            ":4567",
            "host:0",
            "a:1,",
            "::1:4567",
            "a b:1",
        ] {
            let error = addresses(bad).expect_err(bad);
            assert!(error.contains("write host:port"), "{error}");
        }
    }
}
