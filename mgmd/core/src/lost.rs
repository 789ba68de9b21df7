//! Node groups of which nobody with the rows lives: that is told to everybody, so that requests get a plain answer and nobody waits
//! for their nodes. It is taken back should one of them report after all.

use crate::interface::Nanoseconds;
use crate::machine::Machine;
use crate::node::{ManagementNode, is_fresh};
use duet_protocol::record::{ManagementCommand, MemberState};

impl Machine {
    /// Notes whether a group is lost, if it has not changed meanwhile.
    pub(crate) fn mark_group(&mut self, group: u16, changed_in_view: u64, lost: bool) {
        let state = &mut self.content.state;
        let found = state.view.groups.get(usize::from(group));
        let unchanged = found.is_some_and(|found| found.changed_in_view == changed_in_view);
        if !unchanged || state.lost_groups.contains(&group) == lost {
            return;
        }
        match lost {
            true => state.lost_groups.push(group),
            false => state.lost_groups.retain(|known| *known != group),
        }
        state.lost_groups.sort_unstable();
        state.version += 1;
    }
}

impl ManagementNode {
    /// Proposes to note that a group is lost or is not, once per state; whether it was proposed.
    pub(crate) fn mark(&mut self, group: u16, lost: bool) -> bool {
        let state = self.machine.state();
        let wanted = Some((group, lost, state.version));
        let Some(found) = state.view.groups.get(usize::from(group)) else { return false };
        if self.duties.marked == wanted || state.lost_groups.contains(&group) == lost {
            return false;
        }
        let changed_in_view = found.changed_in_view;
        let proposed = self.propose(&ManagementCommand::MarkGroup { group, changed_in_view, lost });
        if proposed {
            self.duties.marked = wanted;
            if lost {
                self.warn(format!(
                    "group {group} is lost: all processes with its rows have ended. Start a new cluster and load it again; the other groups serve what they hold"
                ));
            }
        }
        proposed
    }

    /// A group is not lost when a member with all rows reports. Whether anything was proposed.
    pub(crate) fn find_lost_groups(&mut self, now: Nanoseconds) -> bool {
        let state = self.machine.state();
        let lives = |group: &u16| {
            let members = state.view.groups.get(usize::from(*group)).map(|group| &group.members);
            members.into_iter().flatten().filter(|member| member.state == MemberState::Full).any(|member| {
                let report = self.report(member.node);
                report.is_some_and(|report| report.instance == member.instance() && is_fresh(report, now))
            })
        };
        let found = state.lost_groups.iter().copied().find(lives);
        found.is_some_and(|group| self.mark(group, false))
    }
}
