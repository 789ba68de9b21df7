//! The ratios that are asked of SQL.

use super::record::{LongCase, SysbenchCase};
use super::workload::SqlTarget;
use crate::report::{Asked, Figure};

/// The ratios of a run; each only if its cases are there.
pub(super) fn figures(cases: &[SysbenchCase], long: Option<&LongCase>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for duet in cases.iter().filter(|case| case.target == SqlTarget::Duet) {
        for other in [SqlTarget::Mariadb, SqlTarget::SemiSync] {
            let peer = cases.iter().find(|case| {
                case.target == other && case.workload == duet.workload && case.threads == duet.threads
            });
            let Some(peer) = peer else { continue };
            let asked = match other {
                SqlTarget::SemiSync => duet.workload.asked_of_pair(),
                SqlTarget::Duet | SqlTarget::Mariadb => duet.workload.asked_of_single(duet.threads),
            };
            figures.push(Figure::ratio(
                format!("{}, {} thread(s): duet / {}", duet.workload.name(), duet.threads, other.name()),
                duet.median.queries_per_second,
                peer.median.queries_per_second,
                Some(asked),
            ));
        }
    }
    if let Some(long) = long {
        let errors = long.result.ignored_errors + long.result.reconnects;
        let LongCase { workload, threads, seconds, .. } = long;
        figures.push(Figure::new(
            format!("errors of {} in {seconds} s, {threads} threads", workload.name()),
            errors as f64,
            "errors",
            Some(Asked::AtMost(0.0)),
        ));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::super::record::SysbenchRound;
    use super::super::workload::SysbenchWorkload;
    use super::*;

    fn case(
        workload: SysbenchWorkload,
        threads: u32,
        target: SqlTarget,
        queries_per_second: f64,
    ) -> SysbenchCase {
        let median = SysbenchRound { queries_per_second, ..SysbenchRound::default() };
        SysbenchCase { workload, threads, target, rounds: vec![median.clone()], median }
    }

    #[test]
    fn every_case_is_compared_with_its_like() {
        let insert = SysbenchWorkload::OltpInsert;
        let cases = [
            case(insert, 1, SqlTarget::Duet, 70.0),
            case(insert, 1, SqlTarget::Mariadb, 100.0),
            case(insert, 1, SqlTarget::SemiSync, 50.0),
            case(insert, 16, SqlTarget::Duet, 70.0),
            case(insert, 16, SqlTarget::Mariadb, 100.0),
            case(SysbenchWorkload::InList, 16, SqlTarget::Duet, 210.0),
            case(SysbenchWorkload::InList, 16, SqlTarget::Mariadb, 100.0),
        ];
        let result = SysbenchRound { ignored_errors: 2, reconnects: 1, ..SysbenchRound::default() };
        let long = LongCase { workload: insert, threads: 64, seconds: 60, result };
        let lines: Vec<String> = figures(&cases, Some(&long)).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "oltp_insert, 1 thread(s): duet / mariadb: 0.70 × (at least 0.6 is asked: met)",
                "oltp_insert, 1 thread(s): duet / mariadb semi-sync pair: 1.40 × (at least 1.5 is asked: missed)",
                "oltp_insert, 16 thread(s): duet / mariadb: 0.70 × (at least 1 is asked: missed)",
                "in_list of 100 keys, 16 thread(s): duet / mariadb: 2.10 × (at least 2 is asked: met)",
                "errors of oltp_insert in 60 s, 64 threads: 3.00 errors (at most 0 is asked: missed)",
            ]
        );
    }
}
