//! What a leader does by itself: it forms the view and carries schema changes on. And the check, done by every management node, that its disk was not rolled back.

use crate::consensus::Consensus;
use crate::interface::Nanoseconds;
use crate::machine::Machine;
use crate::node::{ManagementNode, Report, is_fresh};
use duet_protocol::error::ErrorCode;
use duet_protocol::ids::Instance;
use duet_protocol::record::{JobKind, JobStage, ManagementCommand, ManagementRecord};

/// A check that got no answer is asked again after this time.
const CHECK_PAUSE: Nanoseconds = 200_000_000;

/// What the leader has proposed in this term and not seen applied.
#[derive(Debug, Default)]
pub(crate) struct Duties {
    /// Registrations.
    pub(crate) registrations: Vec<(u32, [u8; 16])>,
    /// Members whose successors have tried to register, and when.
    pub(crate) returning: Vec<(Instance, Nanoseconds)>,
    /// Schema changes.
    pub(crate) requests: Vec<[u8; 16]>,
    /// The first view.
    pub(crate) view_proposed: bool,
    /// Changes of the view, and who waits for the answer.
    pub(crate) views: Vec<([u8; 16], crate::interface::LinkId)>,
    /// Stages of jobs that were proposed to be over, each with the state version that it waits for: a job that is given up begins again.
    advanced: Vec<([u8; 16], JobStage, u64)>,
    /// Jobs that were proposed to be given up.
    aborted: Vec<[u8; 16]>,
    /// What has become of management nodes.
    pub(crate) management: Vec<ManagementCommand>,
    /// Groups, whether they are lost, and the state version in which that was proposed.
    pub(crate) marked: Option<(u16, bool, u64)>,
}

impl ManagementNode {
    /// Proposes what is due; whether anything was proposed.
    pub(crate) fn lead(&mut self, now: Nanoseconds) -> bool {
        if !self.consensus.is_acting_leader() || self.rollback.is_rolled_back() {
            return false;
        }
        let mut proposed = self.form_view(now);
        proposed |= self.advance_jobs();
        proposed |= self.record_management();
        proposed |= self.find_lost_groups(now);
        proposed
    }

    /// Proposes a command of this version.
    pub(crate) fn propose(&mut self, command: &ManagementCommand) -> bool {
        command.to_record().is_ok_and(|record| self.consensus.propose(record))
    }

    fn form_view(&mut self, now: Nanoseconds) -> bool {
        let state = self.machine.state();
        if state.view.number > 0 || self.duties.view_proposed {
            return false;
        }
        let nodes = state.configuration.data_nodes;
        let instances: Vec<(u32, u32)> = (1..=nodes)
            .filter_map(|node| {
                let instance = self.machine.registered(node)?;
                let report = self.report(node).filter(|report| report.instance == instance)?;
                is_fresh(report, now).then_some((instance.node, instance.incarnation))
            })
            .collect();
        if instances.len() < nodes as usize {
            return false;
        }
        self.duties.view_proposed = self.propose(&ManagementCommand::FormView { instances });
        self.duties.view_proposed
    }

    fn advance_jobs(&mut self) -> bool {
        // Without a view there is nobody who could hold a table, nor a number of partitions to spread it over.
        if self.machine.state().view.number == 0 {
            return false;
        }
        let due: Vec<([u8; 16], JobStage, u64)> = self
            .machine
            .jobs()
            .iter()
            .filter(|job| !self.duties.advanced.contains(&(job.request, job.stage, job.version)))
            .filter(|job| {
                self.all_members_report(|report| match (job.kind, job.stage) {
                    (JobKind::CreateIndex { .. }, JobStage::Preparing) => {
                        report.body.built_version.get() >= job.version
                    }
                    (JobKind::DropTable | JobKind::DropIndex { .. }, JobStage::Preparing)
                    | (_, JobStage::Announcing | JobStage::Releasing) => {
                        report.body.drained_version.get() >= job.version
                    }
                    (JobKind::CreateTable | JobKind::AddColumn, JobStage::Preparing)
                    | (_, JobStage::Completing) => report.body.state_version.get() >= job.version,
                })
            })
            .map(|job| (job.request, job.stage, job.version))
            .collect();
        let mut proposed = self.abort_jobs();
        for (request, stage, version) in due {
            if self.propose(&ManagementCommand::AdvanceJob { request, stage }) {
                self.duties.advanced.push((request, stage, version));
                proposed = true;
            }
        }
        let machine = &self.machine;
        self.duties.advanced.retain(|(request, _, _)| machine.job(request).is_some());
        proposed
    }

    /// Gives up the index that a member cannot build: it has no memory for it, or two rows have the same key.
    fn abort_jobs(&mut self) -> bool {
        let mut jobs = self.machine.jobs().iter().filter(|job| {
            matches!(job.kind, JobKind::CreateIndex { .. })
                && job.stage == JobStage::Preparing
                && !self.duties.aborted.contains(&job.request)
        });
        let Some(job) = jobs.next() else { return false };
        let JobKind::CreateIndex { index } = job.kind else { return false };
        let mut members = self.machine.state().view.groups.iter().flat_map(|group| &group.members);
        let failure = members.find_map(|member| {
            let report = self.report(member.node)?;
            if report.instance != member.instance() || report.body.state_version.get() < job.version {
                return None;
            }
            if report.body.refused_index.get() == index {
                let code = u16::try_from(report.body.refused_code.get()).unwrap_or_default();
                return Some((code, report.detail.clone()));
            }
            let detail = format!("node {} has no memory left for it", member.node);
            (report.body.failed_indexes.get() > 0).then_some((ErrorCode::IndexGivenUp as u16, detail))
        });
        let Some((code, detail)) = failure else { return false };
        let request = job.request;
        let proposed = self.propose(&ManagementCommand::AbortJob { request, code, detail });
        if proposed {
            self.duties.aborted = vec![request];
        }
        proposed
    }

    fn all_members_report(&self, holds: impl Fn(&Report) -> bool) -> bool {
        let mut members = self.machine.state().view.groups.iter().flat_map(|group| &group.members);
        members.all(|member| {
            self.report(member.node)
                .is_some_and(|report| report.instance == member.instance() && holds(report))
        })
    }

    /// The latest report of a data node.
    pub(crate) fn report(&self, node: u32) -> Option<&Report> {
        self.reports.get((node as usize).checked_sub(1)?)?.as_ref()
    }

    /// Creates the Raft group when nobody has: alone, or as the lowest of three that all know each other's Raft ids.
    pub(crate) fn create_group(&mut self) {
        let joins = !self.configuration.join.is_empty();
        if joins || self.consensus.has_group() || self.consensus.is_writing() {
            return;
        }
        let lowest = self.peers.iter().all(|peer| peer.node > self.configuration.node);
        let all_here = self.peers.iter().all(|peer| peer.link.is_some() && !peer.in_cluster);
        if !lowest || !all_here {
            return;
        }
        let peers = self.peers.iter().map(|peer| (peer.node, peer.raft_id, peer.address.clone()));
        let own = (self.configuration.node, self.consensus.raft_id(), self.own_address().to_owned());
        let mut management: Vec<ManagementRecord> = peers
            .chain([own])
            .map(|(node, raft_id, address)| ManagementRecord { node, raft_id, address })
            .collect();
        management.sort_by_key(|record| record.node);
        let voters: Vec<u64> = management.iter().map(|record| record.raft_id).collect();
        let cluster_id = self.configuration.cluster_id.max(1);
        let machine = Machine::genesis(cluster_id, self.configuration.cluster.clone(), management);
        match machine.to_snapshot() {
            Ok(data) => self.consensus.bootstrap(&voters, data),
            Err(code) => self.warn(format!("the cluster cannot be created: {code}")),
        }
    }

    /// Compares the highest view that anybody has named with the applied one, after catching up with the leader.
    pub(crate) fn check_rollback(&mut self, now: Nanoseconds) {
        if self.rollback.check(now, &self.machine, &mut self.consensus) {
            let (applied, heard) = (Known::of(&self.machine), self.rollback.heard);
            self.warn(format!(
                "view {} and state {} exist, and this node knows only {} and {}: its disk was rolled back; all changes are refused. {}",
                heard.view, heard.version, applied.view, applied.version, self.roll_back_advice()
            ));
        }
    }

    /// What to do with a node whose disk was rolled back.
    pub(crate) fn roll_back_advice(&self) -> String {
        let node = self.configuration.node;
        if self.machine.state().management.len() > 1 {
            return format!(
                "Stop it, and start it in an empty directory with --join after `duet admin replace-management {node}`"
            );
        }
        "Stop it, and start it with the newer copy of its directory; without one, start a new cluster and load it again".to_owned()
    }
}

/// What is known of the cluster, or named by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    view: u64,
    /// Version of the cluster state.
    version: u64,
}

impl Known {
    fn of(machine: &Machine) -> Known {
        let state = machine.state();
        Known { view: state.view.number, version: state.version }
    }

    fn exceeds(self, other: Known) -> bool {
        self.view > other.view || self.version > other.version
    }
}

/// Finds out whether this node's state is older than what others have seen of it (counterexample 3 of the protocol).
///
/// A view or state above the applied one may only mean that this node lags. So the node asks for a read index, which a majority
/// confirms, and compares again when it has applied that much.
#[derive(Debug, Default)]
pub(crate) struct RollbackCheck {
    /// Highest view and state version that anybody has named.
    heard: Known,
    /// What was heard, and context of the question under way, and when it was asked.
    asked: Option<(Known, Vec<u8>, Nanoseconds)>,
    /// Read index of the answer.
    confirmed: Option<u64>,
    questions: u64,
    rolled_back: bool,
}

impl RollbackCheck {
    /// A data node or management node names a view.
    pub(crate) fn hear(&mut self, view: u64) {
        self.heard.view = self.heard.view.max(view);
    }

    /// A data node names a version of the cluster state that it has installed.
    pub(crate) fn hear_version(&mut self, version: u64) {
        self.heard.version = self.heard.version.max(version);
    }

    /// Whether changes must be refused.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.rolled_back
    }

    /// A read index was confirmed.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        if self.asked.as_ref().is_some_and(|(_, asked, _)| asked == context) {
            self.confirmed = Some(index);
        }
    }

    /// Goes on with the check; `true` when the roll-back has just been proved.
    fn check(&mut self, now: Nanoseconds, machine: &Machine, consensus: &mut Consensus) -> bool {
        let applied = Known::of(machine);
        if self.rolled_back || machine.state().cluster_id == 0 || !self.heard.exceeds(applied) {
            self.asked = None;
            self.confirmed = None;
            return false;
        }
        if let (Some((heard, _, _)), Some(index)) = (&self.asked, self.confirmed) {
            if consensus.applied() >= index {
                self.rolled_back = heard.exceeds(applied);
                self.asked = None;
                self.confirmed = None;
                return self.rolled_back;
            }
            return false;
        }
        if self.asked.as_ref().is_none_or(|(_, _, asked_at)| now.saturating_sub(*asked_at) >= CHECK_PAUSE) {
            self.questions += 1;
            let context = format!("{}-{}", consensus.raft_id(), self.questions).into_bytes();
            consensus.read_index(context.clone());
            self.asked = Some((self.heard, context, now));
        }
        false
    }
}
