//! Random crashes, torn and stalled writes, cuts and resets, from many seeds; then rest, and everybody agrees.

use crate::harness::{Cluster, OutsiderId};
use duet_protocol::record::ClusterState;
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What must hold at every moment.
#[derive(Default)]
struct Watch {
    leaders: BTreeMap<u64, usize>,
    states: BTreeMap<u64, ClusterState>,
}

impl Watch {
    fn look(&mut self, cluster: &Cluster) {
        for (index, place) in cluster.places.iter().enumerate() {
            assert_eq!(place.stopped, None);
            let Some(node) = place.node.as_ref() else { continue };
            let gauges = node.gauges(cluster.now);
            assert_eq!(gauges.rolled_back, 0);
            if gauges.leading == 1 {
                assert_eq!(*self.leaders.entry(gauges.term).or_insert(index), index, "one leader per term");
            }
            let state = node.state();
            let known = self.states.entry(state.version).or_insert_with(|| state.clone());
            assert_eq!(known, state, "one state per version");
        }
    }
}

fn run_seed(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut cluster = Cluster::new(3, 2, 2);
    cluster.form(2);
    let mut watch = Watch::default();
    let mut clients: Vec<OutsiderId> = Vec::new();
    let mut created: BTreeMap<u64, u32> = BTreeMap::new();
    let mut request = 0u8;
    for _ in 0..60 {
        let index = random.below(3) as usize;
        match random.below(10) {
            0 | 1 => {
                let kept = random.below(3_000) as usize;
                cluster.crash(index, kept);
            }
            2..=4 => {
                let down = (0..3).find(|index| cluster.places[*index].node.is_none());
                if let Some(down) = down {
                    cluster.start(down);
                }
            }
            5 => cluster.places[index].disk.stalled = true,
            6 => cluster.places.iter_mut().for_each(|place| place.disk.stalled = false),
            7 => cluster.cut = if cluster.cut.is_empty() { vec![index] } else { Vec::new() },
            8 => cluster.reset_links_of(index),
            _ => {}
        }
        if let Some(leader) = cluster.leader()
            && request < 250
        {
            request += 1;
            let client = cluster.client(leader);
            cluster.request_create(client, request, &format!("t{request}"));
            clients.push(client);
        }
        for _ in 0..random.below(40) {
            cluster.run(10);
            watch.look(&cluster);
            for client in &clients {
                if let Some((request, Ok((table, _)))) = cluster.changed(*client) {
                    created.insert(request, table);
                }
            }
        }
    }
    cluster.cut.clear();
    for index in 0..3 {
        cluster.places[index].disk.stalled = false;
        if cluster.places[index].node.is_none() {
            cluster.start(index);
        }
    }
    cluster.run_until("rest", |cluster| {
        let settled = |index: usize| {
            let gauges = cluster.places[index].node.as_ref().expect("runs").gauges(cluster.now);
            gauges.jobs == 0 && gauges.leader != 0 && cluster.state(index) == cluster.state(0)
        };
        (0..3).all(settled)
    });
    watch.look(&cluster);
    for (request, table) in created {
        let name = format!("t{request}");
        let found = cluster.state(0).table_named("shop", &name).map(|table| table.id);
        assert_eq!(found, Some(table), "an answered change is never lost");
    }
}

#[test]
fn answered_changes_survive_everything() {
    for seed in 1..=60 {
        println!("seed {seed}");
        run_seed(seed);
    }
}
