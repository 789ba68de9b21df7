//! The client's map: which endpoint leads the partition of a row, and which tables there are.

use crate::batch::{Kind, Operation};
use crate::{Error, Table};
use duet_protocol::hash::{BUCKET_COUNT, bucket_of};
use duet_protocol::record::ClusterState;
use duet_protocol::schema::TableState;
use std::sync::Arc;

/// Where the primary of a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Index of the endpoint.
    pub(crate) endpoint: u16,
    /// Node group.
    pub(crate) group: u16,
}

/// Endpoint of the partitions of a group that is lost.
const LOST: u16 = u16::MAX - 1;

impl Route {
    /// Whether nobody holds the rows any more.
    pub(crate) fn is_lost(self) -> bool {
        self.endpoint == LOST
    }
}

/// The newest cluster state that this client has seen, compiled for routing.
#[derive(Debug, Default)]
pub(crate) struct ClusterMap {
    state: Option<Arc<ClusterState>>,
    /// By bucket; empty until there is a view.
    by_bucket: Vec<Route>,
    by_partition: Vec<Route>,
    /// View of its last change, by group.
    changed_in_view: Vec<u64>,
    /// The highest of them.
    pub(crate) latest_change: u64,
    tables: Vec<Arc<Table>>,
    /// Highest view that any frame named.
    pub(crate) seen_view: u64,
}

impl ClusterMap {
    /// The state, once one is known.
    pub(crate) fn state(&self) -> Option<&Arc<ClusterState>> {
        self.state.as_ref()
    }

    /// Version of the state, 0 for none.
    pub(crate) fn version(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.version)
    }

    /// Number of the view, 0 for none.
    pub(crate) fn view(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.view.number)
    }

    /// Where an operation goes; `None` while the cluster is not known or still forms.
    #[inline]
    pub(crate) fn route(&self, operation: &Operation) -> Option<Route> {
        match operation.kind {
            Kind::Scan | Kind::ScanRange => {
                self.by_partition.get(usize::from(operation.hash as u16)).copied()
            }
            _ => self.route_of_hash(operation.hash),
        }
    }

    /// Whether a row of these operations, or a part that is scanned, is in a group that is lost.
    pub(crate) fn has_lost(&self, operations: &[Operation]) -> bool {
        self.state.as_ref().is_some_and(|state| !state.lost_groups.is_empty())
            && operations
                .iter()
                .filter(|operation| operation.kind.has_row())
                .any(|operation| self.route(operation).is_some_and(Route::is_lost))
    }

    /// Where rows go whose partition key has this hash.
    #[inline]
    pub(crate) fn route_of_hash(&self, hash: u64) -> Option<Route> {
        self.by_bucket.get(usize::from(bucket_of(hash))).copied()
    }

    /// Whether an observation made in `view` may be older than one that this client could have made already.
    pub(crate) fn is_stale(&self, operation: &Operation, view: u64) -> bool {
        let group = self.route(operation).map(|route| usize::from(route.group));
        group.and_then(|group| self.changed_in_view.get(group)).is_some_and(|changed| view < *changed)
    }

    /// The open tables in order of their ids.
    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    /// The open table of this name.
    pub(crate) fn table(&self, database: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.name() == name && table.database() == database)
    }

    /// Version of the table with this id, if it exists.
    pub(crate) fn table_version(&self, id: u32) -> Option<u16> {
        let state = self.state.as_ref()?;
        state.tables.iter().find(|table| table.id == id).map(|table| table.version)
    }

    /// Installs a newer state. `endpoint_of` gives the endpoint of a data node.
    pub(crate) fn install(&mut self, state: ClusterState, endpoint_of: impl Fn(u32) -> Option<u16>) {
        let partitions = state.configuration.partitions;
        let open =
            state.tables.iter().filter(|table| table.state == TableState::Active && !table.is_hidden());
        // A definition that this client cannot compile belongs to a newer protocol: its table stays closed here.
        let buckets: Arc<[u16]> = state.buckets.as_slice().into();
        let compile = |table| -> Result<Arc<Table>, Error> {
            Ok(Arc::new(Table::with_unique(table, &state, &buckets)?))
        };
        let known = std::mem::take(&mut self.tables);
        self.tables = open
            .filter_map(|table| {
                let same = known.iter().find(|old| old.is_current(table));
                same.map_or_else(|| compile(table).ok(), |old| Some(Arc::clone(old)))
            })
            .collect();
        self.changed_in_view = state.view.groups.iter().map(|group| group.changed_in_view).collect();
        self.latest_change = self.changed_in_view.iter().copied().max().unwrap_or(0);
        self.by_partition.clear();
        for partition in &state.view.partitions {
            let endpoint = match state.lost_groups.contains(&partition.group) {
                true => Some(LOST),
                false => partition.replicas.first().and_then(|primary| endpoint_of(*primary)),
            };
            self.by_partition.push(Route { endpoint: endpoint.unwrap_or(u16::MAX), group: partition.group });
        }
        self.by_bucket.clear();
        if self.by_partition.len() == usize::from(partitions) && state.buckets.len() == BUCKET_COUNT {
            let route = |partition: &u16| self.by_partition[usize::from(*partition)];
            self.by_bucket.extend(state.buckets.iter().map(route));
        }
        self.seen_view = self.seen_view.max(state.view.number);
        self.state = Some(Arc::new(state));
    }
}
