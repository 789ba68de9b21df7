//! Defects that the simulator's tests plant in a local data manager (`NodeConfiguration::planted_bug`), to see that they
//! would be found. Never on in a real node.

use crate::ldm::lock::Change;
use crate::ldm::{Context, LocalDataManager};

/// Locks of reads for share are let go as soon as the read is answered.
pub(super) const SHORT_SHARED_LOCKS: u32 = 13;
/// A backup takes whatever position comes (counterexample 17).
pub(super) const ANY_POSITION: u32 = 14;
/// An update of an indexed column leaves the entry of the row before.
pub(super) const OLD_ENTRIES: u32 = 18;
/// Expired rows are deleted whatever has become of them meanwhile.
pub(super) const PURGE_WITHOUT_VERSION: u32 = 21;
/// A range goes on behind the key that follows the last one it came to (counterexample 36).
pub(super) const WRONG_RESUME: u32 = 19;
/// PREPARE does not wait for operations of its transaction that wait for their rows.
pub(super) const HASTY_PREPARE: u32 = 28;

/// A row is entered into a unique index that is being built as it is committed, without a lock (counterexample 35).
pub(super) const UNLOCKED_ENTERING: u32 = 27;

/// Rows are copied to a joining replica a turn after they were read (counterexample 33).
pub(super) const LATE_COPY: u32 = 30;
/// A joining replica is promoted while a transaction from before it is committed here only (counterexample 24).
pub(super) const DECISIONS_NOT_AWAITED: u32 = 42;
/// Outcome records are not copied to a joining replica (counterexample 14).
pub(super) const NO_OUTCOMES_COPIED: u32 = 32;
/// What was prepared before a joining replica was in the chain is not sent to it when it is committed (counterexample 24).
pub(super) const CHANGES_NOT_COPIED: u32 = 33;
/// A fragment is handed over while writes are under way in it (counterexample 18).
pub(super) const HASTY_HAND_OVER: u32 = 34;

/// An unknown transaction is told to be aborted without a record of that (counterexample 15).
pub(super) const NO_FENCE: u32 = 38;

impl LocalDataManager {
    /// A participant leaves a lock under which it has only read.
    #[cold]
    pub(super) fn let_go(&mut self, context: &mut Context<'_>, participant: u32, number: u32) {
        let lock = self.locks.get_mut(number);
        if lock.exclusive
            || lock.change != Change::None
            || !self.participants.get(participant).waiting.is_empty()
        {
            return;
        }
        lock.holders.retain(|holder| *holder != participant);
        self.participants.get_mut(participant).locks.retain(|held| *held != number);
        self.grant_waiting(context, number);
    }
}
