//! `duet sim --faults`: which kinds of faults may strike.

use crate::clock::BootClock;
use crate::crash::draw_crash_points;
use crate::plan::{ALWAYS, Ending, FaultKind, Plan, draw_fault};
use crate::random::{Purpose, Random};

/// Which kinds of faults may strike in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultChoice {
    /// Those that a plan draws by itself: all but slow nodes, clocks, lost directories, clients that vanish and crash points.
    Usual,
    /// Every kind; the seed draws which of them, and how often.
    All,
    /// These in every seed, which draws how often; none of them is a run without faults.
    Only(Vec<FaultKind>),
}

impl FaultChoice {
    /// Reads `usual`, `all`, `none`, or names separated by commas.
    ///
    /// # Errors
    /// A sentence that names what is unknown and what there is.
    pub fn parse(text: &str) -> Result<FaultChoice, String> {
        match text {
            "usual" => return Ok(FaultChoice::Usual),
            "all" => return Ok(FaultChoice::All),
            "none" => return Ok(FaultChoice::Only(Vec::new())),
            _ => {}
        }
        let mut kinds = Vec::new();
        for name in text.split(',').map(str::trim) {
            let Some(kind) = FaultKind::ALL.iter().find(|kind| kind.name() == name) else {
                let names: Vec<&str> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
                return Err(format!(
                    "there is no fault {name:?}; give all, none, usual, or some of: {}",
                    names.join(", ")
                ));
            };
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        Ok(FaultChoice::Only(kinds))
    }

    /// As it was given on the command line.
    pub fn text(&self) -> String {
        match self {
            FaultChoice::Usual => "usual".to_owned(),
            FaultChoice::All => "all".to_owned(),
            FaultChoice::Only(kinds) if kinds.is_empty() => "none".to_owned(),
            FaultChoice::Only(kinds) => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(","),
        }
    }

    /// Changes a plan so that these faults strike.
    pub fn apply(&self, plan: &mut Plan) {
        let mut random = Random::new(plan.seed, Purpose::Choice);
        let nodes = plan.management_nodes;
        match self {
            FaultChoice::Usual => return,
            FaultChoice::All => {
                let draw = |kind: &FaultKind| draw_fault(&mut random, *kind, chance(*kind), nodes);
                plan.faults = FaultKind::ALL.iter().filter_map(draw).collect();
            }
            FaultChoice::Only(kinds) => {
                let draw = |kind: &FaultKind| draw_fault(&mut random, *kind, ALWAYS, nodes);
                plan.faults = kinds.iter().filter_map(draw).collect();
                if !kinds.contains(&FaultKind::KillDataNode) {
                    plan.ending = Ending::Rest;
                }
                plan.cut_at_promotion = 0;
                if kinds.is_empty() {
                    let network = &mut plan.network;
                    network.spike_per_million = 0;
                    network.late_prefix_per_million = 0;
                    network.refuse_connection_per_million = 0;
                    network.slow_flow_per_million = 0;
                }
            }
        }
        plan.watched = true;
        let has = |kind| plan.faults.iter().any(|fault| fault.kind == kind);
        if has(FaultKind::SkewClocks) {
            let servers = (plan.management_nodes + plan.data_nodes) as usize;
            plan.clocks = BootClock::draw(&mut random, servers);
        }
        if has(FaultKind::CrashPoints) {
            plan.crash_points = draw_crash_points(&mut Random::new(plan.seed, Purpose::CrashPoints));
        }
    }
}

/// How many seeds of a million have a kind of fault.
fn chance(kind: FaultKind) -> u32 {
    match kind {
        FaultKind::CrashPoints => 850_000,
        FaultKind::SkewClocks => 500_000,
        FaultKind::KillDataNode
        | FaultKind::FreezeDataNode
        | FaultKind::CutDataNodes
        | FaultKind::IsolateDataNode
        | FaultKind::SlowDataNode
        | FaultKind::CutManagement => 150_000,
        FaultKind::ResetClient
        | FaultKind::ResetLane
        | FaultKind::ResetAllLanes
        | FaultKind::ResetManagement
        | FaultKind::ResetConsensus
        | FaultKind::PauseDataNode
        | FaultKind::PauseManagement
        | FaultKind::PauseClient
        | FaultKind::Stall
        | FaultKind::RestartManagement
        | FaultKind::JumpClock
        | FaultKind::WipeManagement
        | FaultKind::RollBackManagement
        | FaultKind::VanishClient => 300_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_unknown_ones_are_told() {
        assert_eq!(FaultChoice::parse("all"), Ok(FaultChoice::All));
        assert_eq!(FaultChoice::parse("none"), Ok(FaultChoice::Only(Vec::new())));
        let some = FaultChoice::parse("jump-clock, stall,stall");
        assert_eq!(some, Ok(FaultChoice::Only(vec![FaultKind::JumpClock, FaultKind::Stall])));
        let told = FaultChoice::parse("stall,earthquake").expect_err("there is none");
        assert!(told.contains("\"earthquake\"") && told.contains("kill-data-node"), "{told}");
    }

    #[test]
    fn every_kind_strikes_under_all_and_only_those_named_otherwise() {
        let plans: Vec<Plan> = (0..200)
            .map(|seed| {
                let mut plan = Plan::new(seed, 0);
                FaultChoice::All.apply(&mut plan);
                plan
            })
            .collect();
        for kind in FaultKind::ALL {
            let with = plans.iter().filter(|plan| plan.faults.iter().any(|fault| fault.kind == kind)).count();
            assert!((10..190).contains(&with), "{kind:?} in {with} of 200");
        }
        let mut plan = Plan::new(3, 0);
        FaultChoice::Only(vec![FaultKind::Stall]).apply(&mut plan);
        let kinds: Vec<FaultKind> = plan.faults.iter().map(|fault| fault.kind).collect();
        assert_eq!((kinds, plan.ending), (vec![FaultKind::Stall], Ending::Rest));
    }
}
