//! How a primary stops leading a fragment so that the other replica can, without a failure of anybody: nothing new begins, what has begun
//! ends, and only then the swap is proposed (`joining.rs`). No lock and no pending write has to move.

use crate::ldm::LocalDataManager;
use crate::ldm::planted::HASTY_HAND_OVER;
use crate::map::{ClusterMap, Role};
use duet_protocol::ids::TransactionId;

impl LocalDataManager {
    /// Closes the fragments that `node`, which is this one, should hand over, for an attempt; reads go on.
    pub fn close_for_hand_over(&mut self, map: &ClusterMap, node: u32, attempt: u64) {
        if self.closing == attempt {
            return;
        }
        for fragment in self.fragments.iter_mut().flatten() {
            fragment.closing = map.should_hand_over(fragment.partition, node);
        }
        self.closing = attempt;
    }

    /// Opens them again.
    pub fn reopen(&mut self) {
        if std::mem::replace(&mut self.closing, 0) == 0 {
            return;
        }
        for fragment in self.fragments.iter_mut().flatten() {
            fragment.closing = false;
        }
    }

    /// Whether fragments are closed and nothing is under way in them.
    pub fn is_ready_to_hand_over(&self, planted_bug: u32) -> bool {
        if planted_bug == HASTY_HAND_OVER {
            return self.closing != 0;
        }
        let quiet = |partition: u16| {
            let fragment = self.fragments[usize::from(partition)].as_ref();
            fragment.is_none_or(|fragment| {
                fragment.pending.is_empty() && fragment.taken_back.is_empty() && fragment.copy.is_none()
            })
        };
        let closed = self.fragments.iter().flatten().filter(|fragment| fragment.closing);
        let in_closed = |partition: u16| {
            self.fragments[usize::from(partition)].as_ref().is_some_and(|fragment| fragment.closing)
        };
        self.closing != 0
            && closed.map(|fragment| fragment.partition).all(quiet)
            && !self.participants.iter().any(|(_, participant)| in_closed(participant.partition))
            && !self.is_building()
    }

    /// Whether a fragment is closed and this transaction has not begun in any that is.
    pub(super) fn is_closed_to(&self, partition: u16, transaction: TransactionId) -> bool {
        self.closing != 0
            && self.fragments[usize::from(partition)].as_ref().is_some_and(|fragment| fragment.closing)
            && !self.has_begun_in_closed(transaction)
    }

    /// Whether a transaction has begun in a fragment that is closed: it must end for the hand-over, so it may go on.
    fn has_begun_in_closed(&self, transaction: TransactionId) -> bool {
        self.participants.iter().any(|(_, participant)| {
            let fragment = self.fragments[usize::from(participant.partition)].as_ref();
            participant.transaction == transaction && fragment.is_some_and(|fragment| fragment.closing)
        })
    }

    /// Another node leads a fragment now that was led here.
    pub(super) fn leave(&mut self, partition: u16) {
        let Some(fragment) = &mut self.fragments[usize::from(partition)] else { return };
        fragment.closing = false;
        assert!(fragment.pending.is_empty(), "partition {partition} is handed over with writes under way");
        let left: Option<TransactionId> = self
            .participants
            .iter()
            .find(|(_, participant)| participant.partition == partition)
            .map(|(_, participant)| participant.transaction);
        assert!(left.is_none(), "partition {partition} is handed over with {left:?} under way");
        self.left = true;
    }

    /// All coordinators of this node know what is led here.
    pub fn all_know(&mut self) {
        self.left = false;
    }

    /// Whether this node leads a fragment.
    pub(super) fn is_led(&self, partition: u16) -> bool {
        let fragment = self.fragments.get(usize::from(partition)).and_then(Option::as_ref);
        fragment.is_some_and(|fragment| matches!(fragment.role, Role::Primary { .. }))
    }
}
