//! Defects of leases, views and take-over that the simulator's tests plant in a node (`NodeConfiguration::planted_bug`), to
//! see that they would be found. Never on in a real node. Those of a local data manager are in `ldm/planted.rs`.

/// Observations need no lease.
pub(crate) const NO_LEASE: u32 = 22;
/// Observations are judged by the time before the rows were looked at (counterexample 7).
pub(crate) const JUDGED_TOO_EARLY: u32 = 23;
/// A partition that is taken over answers at once (counterexamples 4 and 21).
pub(crate) const NO_WARMING: u32 = 24;
/// Transactions go on although a primary that they used was removed (counterexample 21).
pub(crate) const GOES_ON: u32 = 25;
/// Decided transactions are not told to those that lead now (counterexample 24).
pub(crate) const NOT_TOLD: u32 = 26;
/// The next version of a table is taken only once it is active (counterexample 37).
pub(crate) const ONLY_ACTIVE_VERSIONS: u32 = 29;
/// A joining member is promoted while the one that has everything still believes that it is alone (counterexample 1).
pub(crate) const PROMOTED_WHILE_SOLE: u32 = 31;
/// A node whose proposal was too late takes that for its removal (counterexample 10).
pub(crate) const LOSER_STOPS: u32 = 37;
/// A promise lasts no longer than the lease that it is given for.
pub(crate) const NO_ALLOWANCE: u32 = 39;
/// A coordinator takes reports of a view that it has not installed (counterexample 21).
pub(crate) const EARLY_REPORTS: u32 = 40;
/// A node that leaves ends once it has proposed its removal.
pub(crate) const LEFT_TOO_EARLY: u32 = 41;
