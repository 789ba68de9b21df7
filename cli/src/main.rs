//! The `duet` command; see the library of this package.

fn main() -> std::process::ExitCode {
    duet_command::main()
}
