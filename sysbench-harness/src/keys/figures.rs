//! What a run says about the figures that are asked of Duet; what is asked belongs to one shape of run each.

use crate::report::{Asked, Figure, RoundResult, RunParameters, TargetResult};

/// Operations in flight, and concurrent callers, for which figures are asked.
const ASKED_BATCH: usize = 128;
const ASKED_CALLERS: u32 = 64;
const HOT: &str = "hot keys";
const UNIFORM: &str = "uniform keys";
const HALF_LOAD: &str = "half load";

/// The figures of a run.
pub(super) fn figures(parameters: &RunParameters, targets: &[TargetResult]) -> Vec<Figure> {
    let find = |name: &str, variant: Option<&str>| {
        let found = targets.iter().find(|it| it.name == name && it.variant.as_deref() == variant);
        found.map(|target| &target.median)
    };
    let batches = in_asked_batches(parameters);
    let mut figures = Vec::new();
    for name in names(targets) {
        // Only of Duet something is asked; the same ratio of the others says what the machine has to do with it.
        let asked = |mix, bound| (name == "duet" && batches && parameters.mix == mix).then_some(bound);
        if let (Some(hot), Some(uniform)) = (find(name, Some(HOT)), find(name, Some(UNIFORM))) {
            figures.push(Figure::ratio(
                format!("{name}: operations/s of one row / of uniform keys"),
                hot.operations_per_second,
                uniform.operations_per_second,
                asked("read=100", Asked::AtLeast(0.8)),
            ));
            figures.push(Figure::ratio(
                format!("{name}: operations per server CPU second of one row / of uniform keys"),
                per_server_second(hot),
                per_server_second(uniform),
                None,
            ));
        }
        if let Some(half) = find(name, Some(HALF_LOAD)) {
            figures.push(Figure::new(
                format!("{name}: p99 of a batch at half load"),
                half.latency_ns.p99 as f64 / 1e6,
                "ms",
                asked("update=100", Asked::AtMost(2.0)),
            ));
        }
    }
    if let Some(duet) = find("duet", None) {
        figures.extend(of_duet(parameters, duet));
        for other in targets.iter().filter(|other| other.name != "duet" && other.variant.is_none()) {
            figures.push(Figure::ratio(
                format!("operations per server CPU second: duet / {}", other.name),
                per_server_second(duet),
                per_server_second(&other.median),
                asked_beside(parameters, &other.name),
            ));
        }
    }
    figures
}

fn names(targets: &[TargetResult]) -> Vec<&str> {
    let mut names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    names.dedup();
    names
}

/// What Duet costs by itself.
fn of_duet(parameters: &RunParameters, duet: &RoundResult) -> Vec<Figure> {
    let asked = |yes: bool, bound| yes.then_some(Asked::AtMost(bound));
    let batches = in_asked_batches(parameters);
    let data_nodes = duet.server_processes.iter().filter(|process| process.role.starts_with("data node"));
    let data_nodes: f64 = data_nodes.map(|process| process.cpu_us_per_operation).sum();
    match parameters.mix.as_str() {
        "read=100" => {
            vec![Figure::new("CPU of the data nodes per read", data_nodes, "µs", asked(batches, 0.40))]
        }
        "update=100" => vec![Figure::new(
            "CPU of client and data nodes per acknowledged update",
            data_nodes + duet.client_cpu_us_per_operation,
            "µs",
            asked(batches && parameters.replicas == 2, 1.5),
        )],
        _ => Vec::new(),
    }
}

/// What is asked of Duet's operations per server CPU second as a multiple of another target's.
fn asked_beside(parameters: &RunParameters, other: &str) -> Option<Asked> {
    let reads = parameters.mix == "read=100";
    let batches = in_asked_batches(parameters);
    match other {
        "redis" if reads && parameters.callers == ASKED_CALLERS => Some(Asked::AtLeast(5.0)),
        "redis" if reads && batches => Some(Asked::AtLeast(4.0)),
        "floor" if reads && batches => Some(Asked::AtLeast(0.45)),
        _ => None,
    }
}

/// Whether a closed loop has so many operations in flight as most figures are asked for.
fn in_asked_batches(parameters: &RunParameters) -> bool {
    parameters.callers == 0 && parameters.batch == ASKED_BATCH && parameters.rate.is_none()
}

fn per_server_second(median: &RoundResult) -> f64 {
    match median.server_cpu_us_per_operation {
        cost if cost > 0.0 => 1e6 / cost,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::record_tests::run;

    fn target(name: &str, variant: Option<&str>, scale: u64) -> TargetResult {
        let mut target = run().targets.remove(0);
        target.name = name.to_owned();
        target.variant = variant.map(str::to_owned);
        target.median = crate::report::record_tests::round(scale);
        target
    }

    fn lines(parameters: &RunParameters, targets: &[TargetResult]) -> Vec<String> {
        figures(parameters, targets).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_are_compared_with_every_other_target() {
        let mut parameters = run().parameters;
        let targets = [target("duet", None, 1), target("floor", None, 1), target("redis", None, 10)];
        let batches = lines(&parameters, &targets);
        assert_eq!(
            batches,
            [
                "CPU of the data nodes per read: 0.50 µs (at most 0.4 is asked: missed)",
                "operations per server CPU second: duet / floor: 1.00 × (at least 0.45 is asked: met)",
                "operations per server CPU second: duet / redis: 10.00 × (at least 4 is asked: met)",
            ]
        );
        parameters.callers = 64;
        let callers = lines(&parameters, &targets);
        assert!(callers[2].contains("at least 5 is asked"), "{callers:?}");
        assert!(!callers[0].contains("asked"), "{callers:?}");
    }

    #[test]
    fn one_row_and_half_load_are_compared_within_each_target() {
        let mut parameters = run().parameters;
        let targets = [target("duet", Some(UNIFORM), 4), target("duet", Some(HOT), 3)];
        let hot = lines(&parameters, &targets);
        assert_eq!(
            hot[0],
            "duet: operations/s of one row / of uniform keys: 0.75 × (at least 0.8 is asked: missed)"
        );
        parameters.mix = "update=100".to_owned();
        let half = lines(&parameters, &[target("duet", None, 2), target("duet", Some(HALF_LOAD), 1)]);
        assert_eq!(
            half,
            [
                "duet: p99 of a batch at half load: 0.03 ms (at most 2 is asked: met)",
                "CPU of client and data nodes per acknowledged update: 1.50 µs (at most 1.5 is asked: met)",
            ]
        );
    }
}
