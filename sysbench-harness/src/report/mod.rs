//! Results: one JSON line per run, kept in the repository, and what is rendered from them.

mod html;
mod machine;
mod markdown;
mod plot;
mod record;
mod statistics;
mod store;
mod table;

pub use machine::{MachineFacts, git_revision, utc_time};
pub use record::{
    LatencySummary, ProcessCpu, RoundResult, RunParameters, RunRecord, SCHEMA_VERSION, TargetResult,
};
pub use statistics::{median, ratio};
pub use store::{Line, Results, append, read_all};
pub(crate) use table::grouped;
pub use table::{render_targets, summary_line};
