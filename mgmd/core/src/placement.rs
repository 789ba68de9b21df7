//! Who holds which partition in the first view.

use duet_protocol::hash::BUCKET_COUNT;
use duet_protocol::ids::Instance;
use duet_protocol::record::{
    ClusterConfiguration, GroupView, Leaving, Member, MemberState, NodeRecord, PartitionView, View,
};

/// Number of the first view, and the configuration number of all its fragments.
const FIRST_VIEW: u64 = 1;

/// Most lanes: a data node has no more data parts either.
pub(crate) const MAX_LANES: u16 = 128;
/// Fewest partitions where their number is left to the first view.
const MIN_DEFAULT_PARTITIONS: usize = 8;
/// Partitions per data node where their number is left to the first view, so that more threads help later.
const PARTITIONS_PER_DATA_NODE: usize = 4;
/// Partitions that each data part leads where their number is left to the first view.
const LED_PER_DATA_PART: usize = 2;

/// Chooses what the configuration leaves to the first view: as many lanes as the widest of these nodes has data parts, so
/// that none of them is without work, and enough partitions for each data part of each node to lead several.
pub(crate) fn choose_rest(configuration: &mut ClusterConfiguration, nodes: &[NodeRecord]) {
    if configuration.lanes == 0 {
        let widest = nodes.iter().map(|node| node.data_parts).max().unwrap_or(1);
        configuration.lanes = widest.clamp(1, MAX_LANES);
    }
    if configuration.partitions == 0 {
        let nodes = configuration.data_nodes as usize;
        let per_node = PARTITIONS_PER_DATA_NODE.max(LED_PER_DATA_PART * usize::from(configuration.lanes));
        configuration.partitions = (nodes * per_node).clamp(MIN_DEFAULT_PARTITIONS, BUCKET_COUNT) as u16;
    }
}

/// The first view: group g has the nodes g·R+1 to g·R+R, all of them full; partitions are dealt in turn over the groups,
/// and inside each group their primaries alternate over its members.
///
/// `instances` are those of the nodes 1..=data_nodes in order.
pub(crate) fn first_view(configuration: &ClusterConfiguration, instances: &[Instance]) -> View {
    let replicas = configuration.replicas as usize;
    let groups: Vec<GroupView> = instances
        .chunks(replicas)
        .map(|members| GroupView {
            changed_in_view: FIRST_VIEW,
            members: members.iter().map(|instance| full_member(*instance)).collect(),
        })
        .collect();
    let partitions = (0..usize::from(configuration.partitions))
        .map(|partition| {
            let group = partition % groups.len();
            let members = &groups[group].members;
            let mut nodes: Vec<u32> = members.iter().map(|member| member.node).collect();
            nodes.rotate_left(View::first_primary_rank(partition, groups.len(), members.len()));
            PartitionView { group: group as u16, replicas: nodes, cfg: FIRST_VIEW }
        })
        .collect();
    View { number: FIRST_VIEW, groups, partitions }
}

fn full_member(instance: Instance) -> Member {
    Member {
        node: instance.node,
        incarnation: instance.incarnation,
        state: MemberState::Full,
        recoverable: false,
        leaving: Leaving::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_partitions_follow_the_widest_node() {
        let chosen = |parts: &[u16], mut configuration: ClusterConfiguration| {
            let record = |data_parts: &u16| NodeRecord { data_parts: *data_parts, ..NodeRecord::default() };
            let nodes: Vec<NodeRecord> = parts.iter().map(record).collect();
            configuration.data_nodes = nodes.len() as u32;
            choose_rest(&mut configuration, &nodes);
            (configuration.lanes, configuration.partitions)
        };
        let open = ClusterConfiguration::default();
        assert_eq!(chosen(&[1], open.clone()), (1, 8));
        assert_eq!(chosen(&[1, 1], open.clone()), (1, 8));
        assert_eq!(chosen(&[1, 1, 1, 1, 1, 1], open.clone()), (1, 24));
        assert_eq!(chosen(&[2, 4], open.clone()), (4, 16));
        assert_eq!(chosen(&[37], open.clone()), (37, 74));
        assert_eq!(chosen(&[60_000, 1], open.clone()), (128, 512));
        assert_eq!(chosen(&[128; 200], open.clone()), (128, 4_096));
        let given = ClusterConfiguration { lanes: 3, partitions: 5, ..open };
        assert_eq!(chosen(&[8, 8], given), (3, 5));
    }

    #[test]
    fn primaries_are_dealt_evenly() {
        for (data_nodes, replicas, partitions) in [(1, 1, 8), (2, 2, 8), (4, 2, 16), (3, 1, 12), (6, 2, 24)] {
            let configuration = ClusterConfiguration { data_nodes, replicas, partitions, lanes: 1 };
            let instances: Vec<Instance> =
                (1..=data_nodes).map(|node| Instance { node, incarnation: node + 10 }).collect();
            let view = first_view(&configuration, &instances);
            assert_eq!(view.groups.len() as u32, data_nodes / replicas);
            for instance in &instances {
                assert_eq!(view.member(instance.node), Some(*instance));
                let primary_of =
                    view.partitions.iter().filter(|partition| partition.replicas[0] == instance.node).count();
                assert_eq!(primary_of as u32, u32::from(partitions) / data_nodes);
            }
            for partition in &view.partitions {
                assert_eq!(partition.replicas.len() as u32, replicas);
                for node in &partition.replicas {
                    assert_eq!((node - 1) / replicas, u32::from(partition.group));
                }
            }
        }
    }
}
