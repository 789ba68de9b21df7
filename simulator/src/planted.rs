//! Bugs that can be planted in the data nodes, to see that they are found. The blocks ask for the number
//! (`NodeConfiguration::planted_bug`); `docs/commit.md` tells the same list with the counterexamples.

/// What each bug is; the first one has number 1. A new one adds its line at the end.
pub const PLANTED_BUGS: &[&str] = &[
    "the backup skips a write",
    "a write is acknowledged before the backup accepted it",
    "a lane does not resend after a reconnect",
    "an outcome is forgotten",
    "an abort is sent straight to the backup",
    "a participant gives up by itself what it has prepared",
    "rows are exposed before the backup knows the decision",
    "the outcome of a transaction is kept by the primary only",
    "a scan goes in the order of buckets",
    "reads for share take no lock",
    "epochs are not raised by what is heard, nor is the highest one taken for a commit",
    "an epoch counts as drained while commits of it are unfinished",
    "locks of reads for share are let go before the transaction ends",
    "a lane does not resend after a reconnect, and the backup takes any position",
    "a write is one-pass although entries of unique indexes change with it",
    "a look-up believes the entry of a unique index without a look at the row",
    "a look-up believes at once that there is no row",
    "an update of an indexed column leaves the entry of the row before",
    "a range goes on behind the wrong key",
    "what is on its way is not entered into an index that is being built",
    "expired rows are deleted whatever has become of them meanwhile",
    "observations need no lease",
    "observations are judged by the time before the rows were looked at",
    "a partition that is taken over answers at once",
    "transactions go on although a primary that they used was removed",
    "decided transactions are not told to those that lead now",
    "rows are entered without a lock into a unique index that is being built",
    "PREPARE does not wait for operations of its transaction that wait for their rows",
    "a node takes the next version of a table only once it is active",
    "rows are copied to a joining replica a turn after they were read",
    "a joining member is promoted while the one that has everything still believes that it is alone",
    "outcome records are not copied to a joining replica",
    "what was prepared before a joining replica was in the chain is not sent to it",
    "a partition is handed over while writes are under way in it",
    "a restarted process passes for the one before it",
    "a management node whose directory was wiped comes back under its old Raft id",
    "a node whose proposal was too late takes that for its removal",
    "an unknown transaction is told to be aborted without making sure of it",
    "no allowance is made for clocks that run at different rates",
    "a coordinator takes reports of a view that it has not installed",
    "a node that leaves ends once it has proposed its removal",
    "a joining replica is promoted while a transaction from before it is committed by its primary only",
];

/// A restarted data node registers as the process that it was before (counterexample 2).
pub(crate) const SAME_PROCESS: u32 = 35;
/// A management node whose directory was wiped comes back under its old Raft id (counterexample 3).
pub(crate) const SAME_RAFT_ID: u32 = 36;

/// The list as it is shown on the command line.
pub fn planted_bugs_text() -> String {
    let lines = PLANTED_BUGS.iter().zip(1..).map(|(what, number)| format!("{number} {what}"));
    format!(
        "Plant a bug in the data nodes, to see that it is found: {}",
        lines.collect::<Vec<_>>().join(", ")
    )
}
