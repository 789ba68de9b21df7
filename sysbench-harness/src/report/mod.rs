//! Results: one JSON line per run, kept in the repository, and what is rendered from them.

mod figure;
mod figure_plots;
mod head;
mod html;
mod machine;
mod markdown;
mod plot;
mod record;
mod statistics;
mod store;
mod table;

pub(crate) use figure::figure_lines;
pub use figure::{Asked, Figure};
pub(crate) use figure_plots::plots_of_figures;
pub use head::{CommonParameters, RunHead};
pub use machine::{MachineFacts, git_revision, utc_time};
#[cfg(test)]
pub(crate) use record::tests as record_tests;
pub use record::{
    LatencySummary, ProcessCpu, RoundResult, RunParameters, RunRecord, SCHEMA_VERSION, TargetResult,
};
pub use statistics::{median, ratio};
pub use store::{Line, Results, append, read_all};
pub(crate) use table::{grouped, microseconds};
pub use table::{render_targets, summary_line};
