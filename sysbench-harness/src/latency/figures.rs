//! The ratios that are asked of a synchronous caller's latency.

use super::record::{Action, CaseResult};
use crate::report::{Asked, Figure, LatencySummary};

/// The ratios of a run that has all cases; each only if its cases are there.
pub(super) fn figures(cases: &[CaseResult]) -> Vec<Figure> {
    let find = |action, after_idling| {
        let found = cases.iter().find(|case| case.action == action && case.after_idling == after_idling);
        found.map(|case| case.median.latency_ns)
    };
    let mut figures = Vec::new();
    for after_idling in [false, true] {
        let when = if after_idling { " after idling" } else { "" };
        let Some(echo) = find(Action::Echo, after_idling) else { continue };
        for action in [Action::FloorRead, Action::Read, Action::Update] {
            let Some(latency) = find(action, after_idling) else { continue };
            let name = action.name();
            let asked = match action {
                // After idling only the tail is asked for.
                Action::Read if !after_idling => Some(Asked::AtMost(1.3)),
                Action::Update if !after_idling => Some(Asked::AtMost(2.5)),
                Action::Read | Action::Echo | Action::FloorRead | Action::Update => None,
            };
            figures.push(Figure::ratio(
                format!("{name} p50 / echo p50{when}"),
                latency.p50 as f64,
                echo.p50 as f64,
                asked,
            ));
            if action != Action::Read {
                continue;
            }
            let tail = |latency: LatencySummary| latency.p99 as f64 / latency.p50.max(1) as f64;
            figures.push(Figure::ratio(
                format!("{name} p99/p50 / echo p99/p50{when}"),
                tail(latency),
                tail(echo),
                Some(Asked::AtMost(1.5)),
            ));
            figures.push(Figure::ratio(
                format!("{name} p99 / {name} p50{when}"),
                latency.p99 as f64,
                latency.p50 as f64,
                after_idling.then_some(Asked::AtMost(3.0)),
            ));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::super::record::CaseRound;
    use super::*;

    fn case(action: Action, after_idling: bool, p50: u64, p99: u64) -> CaseResult {
        let latency_ns = LatencySummary { p50, p90: p99, p99, p999: p99, max: p99 };
        let median = CaseRound { operations: 10, latency_ns };
        CaseResult { action, after_idling, median, rounds: vec![median] }
    }

    #[test]
    fn every_ratio_is_to_the_echo_of_the_same_kind() {
        let cases = [
            case(Action::Echo, false, 10, 20),
            case(Action::Read, false, 12, 48),
            case(Action::Update, false, 30, 60),
            case(Action::Echo, true, 100, 200),
            case(Action::Read, true, 110, 330),
        ];
        let lines: Vec<String> = figures(&cases).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "read p50 / echo p50: 1.20 × (at most 1.3 is asked: met)",
                "read p99/p50 / echo p99/p50: 2.00 × (at most 1.5 is asked: missed)",
                "read p99 / read p50: 4.00 ×",
                "update p50 / echo p50: 3.00 × (at most 2.5 is asked: missed)",
                "read p50 / echo p50 after idling: 1.10 ×",
                "read p99/p50 / echo p99/p50 after idling: 1.50 × (at most 1.5 is asked: met)",
                "read p99 / read p50 after idling: 3.00 × (at most 3 is asked: met)",
            ]
        );
    }
}
