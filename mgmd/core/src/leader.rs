//! What a leader does by itself: it forms the view, carries schema changes on, and keeps the group complete. And the
//! check, done by every management node, that its disk was not rolled back.

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
    /// Stages of jobs that were proposed to be over.
    advanced: Vec<([u8; 16], JobStage)>,
    /// Jobs that were proposed to be given up.
    aborted: Vec<[u8; 16]>,
    /// Management nodes.
    management: Vec<ManagementRecord>,
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
        let due: Vec<([u8; 16], JobStage)> = self
            .machine
            .jobs()
            .iter()
            .filter(|job| !self.duties.advanced.contains(&(job.request, job.stage)))
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
            .map(|job| (job.request, job.stage))
            .collect();
        let mut proposed = self.abort_jobs();
        for (request, stage) in due {
            if self.propose(&ManagementCommand::AdvanceJob { request, stage }) {
                self.duties.advanced.push((request, stage));
                proposed = true;
            }
        }
        let machine = &self.machine;
        self.duties.advanced.retain(|(request, _)| machine.job(request).is_some());
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

    /// Raft ids of the management nodes as configured: this one, the connected ones, and the recorded ones.
    fn wanted_members(&self) -> Vec<(u32, String, Option<u64>)> {
        let recorded = |node: u32| {
            let management = &self.machine.state().management;
            management.iter().find(|record| record.node == node).map(|record| record.raft_id)
        };
        self.configuration
            .management
            .iter()
            .map(|configured| {
                let node = configured.node;
                let connected = self.peers.iter().find(|peer| peer.node == node && peer.link.is_some());
                let raft_id = if node == self.configuration.node {
                    Some(self.consensus.raft_id())
                } else {
                    connected.map(|peer| peer.raft_id).or_else(|| recorded(node))
                };
                (node, configured.address.clone(), raft_id)
            })
            .collect()
    }

    /// Keeps the list of management nodes in the cluster state true.
    fn record_management(&mut self) -> bool {
        let voters = self.consensus.voters();
        let mut management: Vec<ManagementRecord> = self
            .wanted_members()
            .into_iter()
            .filter_map(|(node, address, raft_id)| {
                let raft_id = raft_id.filter(|raft_id| voters.contains(raft_id))?;
                Some(ManagementRecord { node, raft_id, address })
            })
            .collect();
        management.sort_by_key(|record| record.node);
        let complete = management.len() == voters.len();
        if !complete || management == self.machine.state().management || management == self.duties.management
        {
            return false;
        }
        let proposed = self.propose(&ManagementCommand::SetManagement { management: management.clone() });
        if proposed {
            self.duties.management = management;
        }
        proposed
    }

    /// Creates the Raft group when nobody has: alone, or as the lowest of three that all know each other's Raft ids.
    pub(crate) fn create_group(&mut self) {
        if self.consensus.has_group() || self.consensus.is_writing() {
            return;
        }
        let lowest = self.peers.iter().all(|peer| peer.node > self.configuration.node);
        let all_here = self.peers.iter().all(|peer| peer.link.is_some() && !peer.in_cluster);
        if !lowest || !all_here {
            return;
        }
        let mut management: Vec<ManagementRecord> = self
            .wanted_members()
            .into_iter()
            .filter_map(|(node, address, raft_id)| {
                Some(ManagementRecord { node, raft_id: raft_id?, address })
            })
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

    /// Takes in management nodes whose Raft id is new (a directory was wiped, or one node grows to three): first as
    /// learners, then in one joint change as voters in place of their former ids.
    pub(crate) fn reconcile_members(&mut self) {
        if !self.consensus.is_acting_leader() || self.rollback.is_rolled_back() {
            return;
        }
        if self.consensus.members_are_changing() {
            return self.consensus.leave_joint_change();
        }
        let wanted = self.wanted_members();
        let voters = self.consensus.voters();
        let learners = self.consensus.learners();
        let is_member = |raft_id: &u64| voters.contains(raft_id) || learners.contains(raft_id);
        let wanted: Option<Vec<u64>> = wanted.into_iter().map(|(_, _, raft_id)| raft_id).collect();
        let connected = self.peers.iter().filter(|peer| peer.link.is_some()).map(|peer| peer.raft_id);
        if let Some(newcomer) = connected.into_iter().find(|raft_id| !is_member(raft_id)) {
            return self.consensus.add_learner(newcomer);
        }
        let Some(wanted) = wanted else { return };
        let added: Vec<u64> = wanted.iter().copied().filter(|raft_id| !voters.contains(raft_id)).collect();
        let members = voters.iter().chain(&learners).copied();
        let removed: Vec<u64> = members.filter(|raft_id| !wanted.contains(raft_id)).collect();
        let ready = added.iter().all(|raft_id| is_member(raft_id) && self.consensus.has_caught_up(*raft_id));
        if ready && !(added.is_empty() && removed.is_empty()) {
            self.consensus.replace_voters(&added, &removed);
        }
    }

    /// Compares the highest view that anybody has named with the applied one, after catching up with the leader.
    pub(crate) fn check_rollback(&mut self, now: Nanoseconds) {
        if self.rollback.check(now, &self.machine, &mut self.consensus) {
            let applied = self.machine.state().view.number;
            let heard = self.rollback.heard;
            self.warn(format!(
                "view {heard} exists and this node knows only {applied}: its disk was rolled back; all changes are refused"
            ));
        }
    }
}

/// Finds out whether this node's state is older than what others have seen of it (counterexample 3 of the protocol).
///
/// A view above the applied one may only mean that this node lags. So the node asks for a read index, which a majority
/// confirms, and compares again when it has applied that much.
#[derive(Debug, Default)]
pub(crate) struct RollbackCheck {
    /// Highest view that anybody has named.
    heard: u64,
    /// View and context of the question under way, and when it was asked.
    asked: Option<(u64, Vec<u8>, Nanoseconds)>,
    /// Read index of the answer.
    confirmed: Option<u64>,
    questions: u64,
    rolled_back: bool,
}

impl RollbackCheck {
    /// A data node or management node names a view.
    pub(crate) fn hear(&mut self, view: u64) {
        self.heard = self.heard.max(view);
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
        let applied_view = machine.state().view.number;
        if self.rolled_back || machine.state().cluster_id == 0 || self.heard <= applied_view {
            self.asked = None;
            self.confirmed = None;
            return false;
        }
        if let (Some((view, _, _)), Some(index)) = (&self.asked, self.confirmed) {
            if consensus.applied() >= index {
                self.rolled_back = *view > applied_view;
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
