//! The `stepsynth` command.

fn main() -> std::process::ExitCode {
    stepsynth::cli::main()
}
