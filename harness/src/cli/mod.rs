//! The command line: one file a subcommand. Results go to stdout, everything else to stderr.

mod data;
mod directory;
mod doctor;
mod doctor_gpu;
mod eval;
mod export;
mod gold;
mod model_card;
mod predict;
mod predict_line;
mod progress;
mod run;
mod task;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

#[derive(Parser)]
#[command(name = "stepsynth", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the four laboratory tasks with the simulated teacher: S3, ZeroGen, GoldGen and Gold, 3 seeds
    Quickstart(run::QuickstartArguments),
    /// Run the experiment of a spec, a TOML file or a preset
    Run(run::RunArguments),
    /// Train a model for a task and write it as a Hugging Face directory
    Train(train::TrainArguments),
    /// Measure a trained model on rows of a task
    Eval(eval::EvalArguments),
    /// Predict: JSON lines on stdin, one JSON line each on stdout
    Predict(predict::PredictArguments),
    /// Write a trained model as a directory to publish or to open with transformers
    Export(export::ExportArguments),
    /// Look at tasks
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Look at data files
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Say what this machine and this build offer
    Doctor,
}

/// Runs the command line; the exit code is that of the contract: 0 done, 1 failed, 2 bad usage, config or input, 3 a budget
/// was reached, 130 interrupted.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let done = match arguments.command {
        Command::Quickstart(arguments) => run::quickstart(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Train(arguments) => train::train(&arguments),
        Command::Eval(arguments) => eval::eval(&arguments),
        Command::Predict(arguments) => predict::predict(&arguments),
        Command::Export(arguments) => export::export(&arguments),
        Command::Task(command) => task::task(command),
        Command::Data(command) => data::data(&command),
        Command::Doctor => doctor::doctor(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            eprintln!("error: {}", text.lines().map(str::trim).collect::<Vec<_>>().join(" "));
            ExitCode::from(Failure::exit_code(&error))
        }
    }
}

/// Help and version are results; a usage error is one line with a pointer to the help.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let message: Vec<&str> = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage:"))
                .filter(|line| !line.is_empty())
                .collect();
            eprintln!("{}", message.join(" ").trim_end_matches(" For more information, try '--help'."));
            ExitCode::from(2)
        }
    }
}

/// Writes a result to stdout; a closed pipe is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
