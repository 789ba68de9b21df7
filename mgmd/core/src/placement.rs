//! Who holds which partition in the first view.

use duet_protocol::ids::Instance;
use duet_protocol::record::{ClusterConfiguration, GroupView, Member, MemberState, PartitionView, View};

/// Number of the first view, and the configuration number of all its fragments.
const FIRST_VIEW: u64 = 1;

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
            nodes.rotate_left(partition / groups.len() % members.len());
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
