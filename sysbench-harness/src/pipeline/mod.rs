//! `duet bench pipeline`: the same data node under several thread plans, in alternating rounds; what each stage and the
//! hops between them cost. After the thread-pipeline study that RonDB published with its automatic thread
//! configuration.

mod arguments;
mod figures;
mod plan;
mod record;
mod table;

pub use arguments::PipelineArguments;
pub use plan::ThreadPlan;
pub use record::{
    PIPELINE_SCHEMA_VERSION, PipelineParameters, PipelineRecord, PipelineResult, PipelineRound, StageCpu,
    hop_cost,
};

use crate::driver::drive;
use crate::duet::DuetTarget;
use crate::keys::{check_answers, progress_bar};
use crate::options::{Say, warn_of_debug_build};
use crate::report::{Results, RunHead};
use crate::target::KeyTarget;
use crate::workload::{KeyChooser, Workload};
use anyhow::{Context, Result};

/// A plan, its cluster, and its rounds for every batch size.
struct Subject {
    plan: ThreadPlan,
    target: DuetTarget,
    rounds: Vec<Vec<PipelineRound>>,
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// A plan is none, a cluster could not be started, failed, or gave a wrong answer; results that cannot be written.
pub fn run(arguments: &PipelineArguments, say: Say<'_>) -> Result<()> {
    arguments.check()?;
    let workload = arguments.workload();
    let placement = arguments.run.placement()?;
    warn_of_debug_build();
    let head = RunHead::begin("pipeline", PIPELINE_SCHEMA_VERSION);
    // All before the first is loaded: a plan that the node refuses should be known early.
    let mut subjects = Vec::new();
    for plan in &arguments.plans {
        let target = DuetTarget::start(arguments.cluster(plan)?, &workload, placement.servers.as_ref())
            .with_context(|| format!("the plan `{plan}`"))?;
        let rounds = vec![Vec::new(); arguments.batches.len()];
        subjects.push(Subject { plan: plan.clone(), target, rounds });
    }
    placement.generate(|| run_rounds(arguments, &workload, &mut subjects))?;
    // The quota of a container may be less than its CPUs.
    let cpus = head.machine.cpus;
    let usable_cpus = placement.servers.as_ref().map_or(cpus, |servers| servers.cpus().len().min(cpus));
    let results = results(&arguments.batches, &subjects, usable_cpus);
    let figures = figures::figures(&results);
    let parameters = arguments.parameters(&placement);
    let run = PipelineRecord { head, parameters, results, figures };
    say(format_args!("{}", table::render_terminal(&run)))?;
    if let Some(directory) = arguments.run.record.directory() {
        let results = Results::new(directory);
        results.add(&run)?;
        say(format_args!("added to {}", results.lines::<PipelineRecord>().display()))?;
    }
    Ok(())
}

/// Loads every cluster, and measures all of them in turn with every batch size.
fn run_rounds(arguments: &PipelineArguments, workload: &Workload, subjects: &mut [Subject]) -> Result<()> {
    for Subject { plan, target, .. } in &mut *subjects {
        let bar = progress_bar(&format!("{plan} loads"), workload.rows);
        target
            .load(workload, &mut |rows| bar.set_position(rows))
            .with_context(|| format!("loading under the plan `{plan}`"))?;
        bar.finish_and_clear();
    }
    let chooser = KeyChooser::new(workload.distribution, workload.rows);
    for round in 1..=arguments.run.rounds {
        for (index, batch) in arguments.batches.iter().enumerate() {
            for Subject { plan, target, rounds } in &mut *subjects {
                let name = format!("{plan}, {batch} in flight, round {round}/{}", arguments.run.rounds);
                let bar = progress_bar(&name, 1000);
                let show = &mut |share: f64| bar.set_position((share * 1000.0) as u64);
                let measurement = drive(target, workload, chooser, &arguments.drive(*batch), show)
                    .with_context(|| name.clone())?;
                bar.finish_and_clear();
                check_answers(&name, &measurement)?;
                rounds[index].push(PipelineRound::from(&measurement));
            }
        }
    }
    Ok(())
}

fn results(batches: &[usize], subjects: &[Subject], usable_cpus: usize) -> Vec<PipelineResult> {
    let mut results = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        let medians = subjects.iter().map(|subject| PipelineRound::median_of(&subject.rounds[index]));
        let medians: Vec<PipelineRound> = medians.collect();
        let reference = subjects.iter().position(|subject| subject.plan.is_batch());
        let reference = reference.map(|place| medians[place].node_cpu_ns_per_operation);
        for (subject, median) in subjects.iter().zip(medians) {
            let plan = &subject.plan;
            results.push(PipelineResult {
                plan: plan.to_string(),
                batch: *batch,
                threads: plan.threads(),
                lanes: plan.managers(),
                usable_cpus,
                oversubscribed: plan.threads() > usable_cpus,
                hops_cpu_ns_per_operation: if plan.is_batch() {
                    None
                } else {
                    hop_cost(median.node_cpu_ns_per_operation, reference)
                },
                median,
                rounds: subject.rounds[index].clone(),
            });
        }
    }
    results
}
