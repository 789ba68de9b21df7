//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

/// SQL for a Duet cluster over the MySQL protocol.
///
/// Keeps nothing itself: any number of gateways may serve one cluster. Without --password-file the user `root` comes in without a password,
/// from this machine only.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "duet-gateway", version)]
pub struct Arguments {
    /// Addresses of data or management nodes, separated by commas; one that answers is enough
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4567", env = "DUET_CONNECT")]
    pub connect: String,
    /// Where MySQL clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3306")]
    pub listen: SocketAddr,
    /// Name of the user
    #[arg(long, default_value = crate::server::DEFAULT_USER)]
    pub user: String,
    /// File with the user's password; needed where other machines may connect
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File with the secret of the cluster, where it has one
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Most connections at once
    #[arg(long, default_value_t = 1_024, value_parser = connections)]
    pub max_connections: usize,
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
