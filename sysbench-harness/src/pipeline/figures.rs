//! What a hop between threads costs.

use super::plan::{FOUR_STAGES, ONE_THREAD};
use super::record::PipelineResult;
use crate::report::{Asked, Figure};

/// Operations in flight for which a cost is asked, in nanoseconds of CPU time per operation.
const ASKED_BATCH: usize = 128;
const ASKED_NS: f64 = 60.0;
/// Hops that the plan of four threads has more than that of one thread.
const HOPS: f64 = 3.0;

/// For every batch size with both plans: their difference, by hop.
pub(super) fn figures(results: &[PipelineResult]) -> Vec<Figure> {
    let four_stages = results.iter().filter(|result| result.plan == FOUR_STAGES);
    let figures = four_stages.filter_map(|four| {
        let one = results.iter().find(|one| one.plan == ONE_THREAD && one.batch == four.batch)?;
        let cost = four.median.node_cpu_ns_per_operation - one.median.node_cpu_ns_per_operation;
        Some(Figure::new(
            format!("hop between threads with {} in flight: ({FOUR_STAGES} − {ONE_THREAD}) / 3", four.batch),
            cost / HOPS,
            "ns/op",
            (four.batch == ASKED_BATCH).then_some(Asked::AtMost(ASKED_NS)),
        ))
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::round;
    use super::*;

    fn result(plan: &str, batch: usize, scale: u64) -> PipelineResult {
        PipelineResult {
            plan: plan.to_owned(),
            batch,
            threads: 1,
            lanes: 1,
            usable_cpus: 4,
            oversubscribed: false,
            hops_cpu_ns_per_operation: None,
            median: round(scale),
            rounds: Vec::new(),
        }
    }

    #[test]
    fn a_hop_is_a_third_of_the_difference_with_the_same_batch() {
        let results = [result(ONE_THREAD, 16, 1), result(ONE_THREAD, 128, 2), result(FOUR_STAGES, 128, 5)];
        let figures = figures(&results);
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].value, 400.0);
        assert_eq!(figures[0].asked, Some(Asked::AtMost(60.0)));
    }
}
