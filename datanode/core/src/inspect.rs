//! What tests, the simulator's checkers and diagnosis see of a kernel.

use crate::interface::Nanoseconds;
use crate::kernel::Kernel;
use crate::ldm::ReplicaDigest;
use crate::ldm::journal::CommittedChange;
use crate::ldm::unique::UniqueEntry;
use duet_protocol::ids::Instance;
use duet_protocol::signal::propose_view::KIND_PROMOTE;

impl Kernel {
    /// Position of the last write that this node holds of a partition, if it holds the partition: given out as
    /// primary, applied as backup. For the simulator's checks in true time.
    pub fn last_position(&self, partition: u16) -> Option<u64> {
        self.ldm.last_position(partition)
    }

    /// Whether this node has prepared the change at a position of a partition and does not know what becomes of it. For the
    /// simulator's checks in true time.
    pub fn is_undecided(&self, partition: u16, position: u64) -> bool {
        self.ldm.is_undecided(partition, position)
    }

    /// Newest closed epoch that this node has heard of.
    pub fn closed_epoch(&self) -> u64 {
        self.cut.closed
    }

    /// Remembers every commit from now on, for [`Kernel::take_commits`]. For the simulator's checks in true time.
    pub fn keep_commits(&mut self) {
        self.ldm.keep_journal();
    }

    /// The commits of rows that this node leads, since the last call, in the order in which they were exposed.
    pub fn take_commits(&mut self) -> Vec<CommittedChange> {
        self.ldm.take_journal()
    }

    /// Whether this node answers for a partition and may tell what it sees at this time. For the simulator's checks in true
    /// time.
    pub fn serves(&self, partition: u16, now: Nanoseconds) -> bool {
        self.ldm.leads(partition) && self.lease_board.is_valid(now)
    }

    /// Whether this node may tell at this time what it sees of rows. For the simulator's checks in true time.
    pub fn may_observe(&self, now: Nanoseconds) -> bool {
        self.lease_board.is_valid(now)
    }

    /// The lease that this node holds of another instance, and what it has promised that one. For the simulator's checks in
    /// true time.
    pub fn lease_with(&self, other: Instance) -> Option<(Nanoseconds, Nanoseconds)> {
        self.leases.of(other)
    }

    /// This process, once it is registered.
    pub fn instance(&self) -> Instance {
        self.membership.instance
    }

    /// Whether no epoch may be closed now: a change of view is under way.
    pub fn is_changing_view(&self) -> bool {
        self.views.is_changing()
    }

    /// Whether this node has proposed to promote a joining member, and has not seen the view yet that came of it.
    pub fn proposes_promotion(&self) -> bool {
        self.views.proposes(KIND_PROMOTE)
    }

    /// What every fragment of this node holds; walks over all rows, for tests and diagnosis.
    pub fn replica_digests(&self) -> Vec<ReplicaDigest> {
        self.ldm.digests(&self.map)
    }

    /// The entries of unique indexes that rows of this node need (true) and those that it holds (false), with all replicas;
    /// walks over all rows, for tests and diagnosis.
    pub fn unique_entries(&self) -> Vec<(UniqueEntry, bool)> {
        self.ldm.unique_entries(&self.map)
    }

    /// What is wrong with the ordered indexes of this node when no write is on its way; walks over all rows, for tests and
    /// diagnosis.
    pub fn index_faults(&self) -> Vec<String> {
        self.ldm.index_faults(&self.map)
    }
}
