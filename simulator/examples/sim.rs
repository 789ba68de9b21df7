//! Runs seeds without the rest of the `duet` command.

use clap::Parser;

/// Simulates clusters.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: duet_simulator::Arguments,
}
fn main() -> anyhow::Result<std::process::ExitCode> {
    let clean = duet_simulator::run(&Command::parse().arguments)?;
    Ok(if clean { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
}
