//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// SQL for a Duet cluster over the MySQL protocol.
///
/// Keeps nothing itself: any number of gateways may serve one cluster. Users are those of `duet admin user create`. As long as none of them, and
/// no --password-file, names `root`, that user comes in without a password, from this machine only.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "duet-gateway", version)]
pub struct Arguments {
    /// Addresses of data or management nodes, separated by commas; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4567", env = "DUET_CONNECT")]
    pub connect: String,
    /// Where MySQL clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3306")]
    pub listen: SocketAddr,
    /// Name of the user of --password-file
    #[arg(long, default_value = crate::users::DEFAULT_USER)]
    pub user: String,
    /// File with the password of a user whom only this gateway knows, beside the users of the cluster
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File with the certificate for encrypted connections, PEM, its issuers behind it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// File with the key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Refuse connections that are not encrypted
    #[arg(long, requires = "tls_certificate")]
    pub require_tls: bool,
    /// File with the secret of the cluster, where it has one
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Most connections at once
    #[arg(long, default_value_t = 1_024, value_parser = connections)]
    pub max_connections: usize,
    /// Threads that serve connections; as many as there are processors unless told otherwise
    #[arg(long, value_name = "COUNT", value_parser = threads)]
    pub threads: Option<usize>,
    /// Most MiB of rows that one query holds in joins, groups and sorts
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = mebibytes)]
    pub query_memory: usize,
    /// Most MiB that all queries hold together
    #[arg(long, value_name = "MIB", default_value_t = 1_024, value_parser = mebibytes)]
    pub total_query_memory: usize,
    /// End when standard input ends: it is a pipe that the parent holds
    #[arg(long)]
    pub parent_pipe: bool,
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=65_536) => Ok(number),
        _ => Err("a number from 1 to 65536".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=256) => Ok(number),
        _ => Err("a number from 1 to 256".to_owned()),
    }
}

fn mebibytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_048_576) => Ok(number),
        _ => Err("a number from 1 to 1048576".to_owned()),
    }
}
