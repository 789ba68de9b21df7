//! The command line of a management node.

use anyhow::{Context, Result, bail, ensure};
use duet_mgmd_core::ManagementPeer;
use duet_protocol::record::ClusterConfiguration;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Longest cluster secret, in bytes; it must fit into a handshake frame.
const MAX_SECRET_BYTES: usize = 1_024;

/// Options of `duet mgmd`.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Id of this management node, as in --management
    #[arg(long, default_value_t = 1)]
    pub node_id: u32,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: String,
    /// Directory for the log; it belongs to this node alone
    #[arg(long)]
    pub directory: PathBuf,
    /// Number of data nodes of the cluster
    #[arg(long, required_unless_present = "join")]
    pub data_nodes: Option<u32>,
    /// Replicas of every partition, 1 or 2 [default: 2, or 1 with a single data node]
    #[arg(long)]
    pub replicas: Option<u32>,
    /// Number of partitions [default: 4 per data node, or 2 per lane and data node if that is more, at least 8]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub partitions: Option<u16>,
    /// Lanes, that is connections between two data nodes, each served by one ldm thread; fixed once the data nodes have
    /// registered [default: as many as the widest of them has ldm threads]
    #[arg(long, env = "DUET_LANES", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub lanes: Option<u16>,
    /// All management nodes that create the cluster, this one included [default: this one alone]
    #[arg(long, value_name = "ID=ADDRESS,...")]
    pub management: Option<String>,
    /// Join the cluster of these management nodes, after `duet admin add-management` or `duet admin replace-management`
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    pub join: Vec<String>,
    /// Serve /metrics and /health on this address
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// File with the secret that all processes of the cluster share
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// End when standard input ends
    #[arg(long)]
    pub parent_pipe: bool,
}

impl Arguments {
    /// The cluster that is to be created.
    pub(crate) fn cluster(&self) -> ClusterConfiguration {
        let data_nodes = self.data_nodes.unwrap_or(0);
        let default_replicas = if data_nodes == 1 { 1 } else { 2 };
        ClusterConfiguration {
            data_nodes,
            replicas: self.replicas.unwrap_or(default_replicas),
            partitions: self.partitions.unwrap_or(0),
            lanes: self.lanes.unwrap_or(0),
        }
    }

    /// The management nodes; `listening` is where this one can be reached when it is alone.
    pub(crate) fn management_nodes(&self, listening: SocketAddr) -> Result<Vec<ManagementPeer>> {
        let Some(list) = &self.management else {
            return Ok(vec![ManagementPeer { node: self.node_id, address: listening.to_string() }]);
        };
        list.split(',')
            .map(|item| {
                let sentence =
                    || format!("--management wants ID=ADDRESS,..., and {item:?} is not ID=ADDRESS");
                let (node, address) = item.trim().split_once('=').with_context(sentence)?;
                let node = node.trim().parse().with_context(sentence)?;
                ensure!(address.contains(':'), "management node {node} has no port in {address:?}");
                Ok(ManagementPeer { node, address: address.trim().to_owned() })
            })
            .collect()
    }

    /// Where to join.
    pub(crate) fn contacts(&self) -> Result<Vec<String>> {
        let sound = |address: &str| {
            ensure!(address.contains(':'), "--join wants ADDRESS,..., and {address:?} has no port");
            Ok(address.to_owned())
        };
        self.join.iter().map(|address| sound(address.trim())).collect()
    }

    /// The cluster secret, empty when none is configured.
    pub(crate) fn secret(&self) -> Result<Vec<u8>> {
        let Some(path) = &self.cluster_secret_file else { return Ok(Vec::new()) };
        read_secret(path)
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read the cluster secret {}", path.display()))?;
    let secret = bytes.trim_ascii_end().to_vec();
    ensure!(!secret.is_empty(), "the cluster secret {} is empty", path.display());
    ensure!(
        secret.len() <= MAX_SECRET_BYTES,
        "the cluster secret {} has more than {MAX_SECRET_BYTES} bytes",
        path.display()
    );
    Ok(secret)
}

/// The address to bind: without a cluster secret only one that other machines cannot reach.
pub(crate) fn bindable(option: &str, text: &str, has_secret: bool) -> Result<SocketAddr> {
    let address = text
        .to_socket_addrs()
        .with_context(|| format!("{option} {text:?} is not an address"))?
        .next()
        .with_context(|| format!("{option} {text:?} names no address"))?;
    if !address.ip().is_loopback() && !has_secret {
        bail!("{option} {address} can be reached from other machines; that needs --cluster-secret-file");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(management: Option<&str>) -> Arguments {
        Arguments {
            node_id: 1,
            listen: "127.0.0.1:0".to_owned(),
            directory: PathBuf::new(),
            data_nodes: Some(2),
            replicas: None,
            partitions: None,
            lanes: None,
            management: management.map(str::to_owned),
            join: Vec::new(),
            metrics: None,
            cluster_secret_file: None,
            parent_pipe: false,
        }
    }

    #[test]
    fn management_lists_are_read_or_refused() {
        let here = "127.0.0.1:7".parse().expect("address");
        let alone = arguments(None).management_nodes(here).expect("alone");
        assert_eq!(alone, [ManagementPeer { node: 1, address: "127.0.0.1:7".to_owned() }]);
        let three = arguments(Some("1=a:1, 2=b:2,3=[::1]:3")).management_nodes(here).expect("three");
        assert_eq!(three.iter().map(|peer| peer.node).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(three[2].address, "[::1]:3");
        for wrong in ["", "1", "x=a:1", "1=a", "1=a:1,,"] {
            assert!(arguments(Some(wrong)).management_nodes(here).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn defaults_follow_the_number_of_data_nodes() {
        let mut given = arguments(None);
        let shape = |given: &Arguments| {
            let cluster = given.cluster();
            (cluster.replicas, cluster.partitions, cluster.lanes)
        };
        assert_eq!(shape(&given), (2, 0, 0), "left to the first view");
        given.data_nodes = Some(1);
        assert_eq!(shape(&given), (1, 0, 0));
        given.data_nodes = Some(6);
        assert_eq!(shape(&given), (2, 0, 0));
        given.replicas = Some(1);
        given.partitions = Some(3);
        given.lanes = Some(2);
        assert_eq!(shape(&given), (1, 3, 2));
    }

    #[test]
    fn only_loopback_without_a_secret() {
        assert!(bindable("--listen", "127.0.0.1:0", false).is_ok());
        assert!(bindable("--listen", "[::1]:0", false).is_ok());
        let refused = bindable("--listen", "0.0.0.0:0", false).expect_err("refused");
        assert!(refused.to_string().contains("--cluster-secret-file"), "{refused}");
        assert!(bindable("--listen", "0.0.0.0:0", true).is_ok());
        assert!(bindable("--listen", "nonsense", true).is_err());
    }
}
