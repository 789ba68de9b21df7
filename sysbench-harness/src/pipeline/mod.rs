//! `duet bench pipeline`: the same data node under several thread plans, in alternating rounds; what each stage and the
//! hops between them cost. After the thread-pipeline study that RonDB published with its automatic thread
//! configuration.

mod arguments;
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
use crate::report::{MachineFacts, append, git_revision, read_all, utc_time};
use crate::target::KeyTarget;
use crate::workload::{KeyChooser, Workload};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

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
pub fn run(arguments: &PipelineArguments) -> Result<()> {
    arguments.check()?;
    let workload = arguments.workload();
    let (server_cpus, client_cpus) = arguments.placement()?;
    if cfg!(debug_assertions) {
        eprintln!("This is not a release build: its figures say nothing about speed.");
    }
    let began = utc_time();
    let machine = MachineFacts::read();
    // All before the first is loaded: a plan that the node refuses should be known early.
    let mut subjects = Vec::new();
    for plan in &arguments.plans {
        let target = DuetTarget::start(arguments.cluster(plan)?, &workload, server_cpus.as_ref())
            .with_context(|| format!("the plan `{plan}`"))?;
        let rounds = vec![Vec::new(); arguments.batches.len()];
        subjects.push(Subject { plan: plan.clone(), target, rounds });
    }
    // Threads of the generator inherit the CPUs.
    let mut generate = || run_rounds(arguments, &workload, &mut subjects);
    match &client_cpus {
        Some(cpus) => cpus.inherited_by(generate)?,
        None => generate(),
    }?;
    // The quota of a container may be less than its CPUs.
    let usable_cpus = server_cpus.as_ref().map_or(machine.cpus, |cpus| cpus.cpus().len().min(machine.cpus));
    let run = PipelineRecord {
        schema: PIPELINE_SCHEMA_VERSION,
        benchmark: "pipeline".to_owned(),
        time: began,
        revision: git_revision(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        machine,
        parameters: arguments.parameters(server_cpus.as_ref(), client_cpus.as_ref()),
        results: results(&arguments.batches, &subjects, usable_cpus),
    };
    println!("{}", table::render_terminal(&run));
    if let Some(directory) = arguments.results_directory() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        append(&lines(directory), &run)?;
        render(directory)?;
        println!("added to {}", lines(directory).display());
    }
    Ok(())
}

/// Renders `pipeline.md` of a directory of results, if it has any of this benchmark.
///
/// # Errors
/// A file cannot be read or written.
pub fn render(directory: &Path) -> Result<()> {
    let runs: Vec<PipelineRecord> = read_all(&lines(directory))?;
    if runs.is_empty() {
        return Ok(());
    }
    let path = directory.join("pipeline.md");
    std::fs::write(&path, table::render_markdown(&runs))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn lines(directory: &Path) -> PathBuf {
    directory.join("pipeline.jsonl")
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
    for round in 1..=arguments.rounds {
        for (index, batch) in arguments.batches.iter().enumerate() {
            for Subject { plan, target, rounds } in &mut *subjects {
                let name = format!("{plan}, {batch} in flight, round {round}/{}", arguments.rounds);
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
