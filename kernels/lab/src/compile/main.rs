//! Compiles every kernel for every architecture, without a GPU, and holds what the assembler in NVRTC says of each (registers,
//! spills, shared memory) against `kernels/cu/resources.csv`. A warning, a new spill or any other difference fails.

mod report;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use stepsynth_kernels::cuda::driver::{Nvrtc, architecture, options};
use stepsynth_kernels::cuda::{HEADERS, SOURCES, Source};

use self::report::Report;
use self::table::Table;

/// Compute capabilities that are checked: the oldest device that the kernels support, one of each tier's first, and a small
/// device with less shared memory.
const CAPABILITIES: [(u32, u32); 4] = [(7, 5), (8, 0), (8, 7), (9, 0)];

/// The newest driver that is asked for when NVRTC is chosen: here none has to load the result.
const ANY_DRIVER: i32 = i32::MAX;

/// Compile every CUDA kernel without a GPU and compare its resources with the committed table
#[derive(Parser)]
struct Arguments {
    /// Architectures, of sm_75, sm_80, sm_87 and sm_90a [default: all]
    #[arg(long, value_delimiter = ',')]
    arch: Vec<String>,
    /// Write the table instead of comparing with it
    #[arg(long)]
    write: bool,
    /// The table
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../cu/resources.csv"))]
    table: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(summary) => {
            eprintln!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, String> {
    let known = CAPABILITIES.map(architecture);
    if let Some(other) = arguments.arch.iter().find(|arch| !known.contains(arch)) {
        return Err(format!("--arch {other}: use {}", known.join(", ")));
    }
    let wanted = |arch: &String| arguments.arch.is_empty() || arguments.arch.contains(arch);
    let nvrtc = Nvrtc::find(ANY_DRIVER).map_err(|error| error.to_string())?;
    let (major, minor) = nvrtc.version();
    eprintln!("NVRTC {major}.{minor} ({})", nvrtc.path().display());

    let targets = CAPABILITIES.into_iter().zip(&known).filter(|(_, arch)| wanted(arch));
    let jobs: Vec<(&Source, &str)> = targets
        .flat_map(|(capability, arch)| {
            SOURCES.iter().filter(move |source| source.is_for(capability)).map(move |source| (source, arch.as_str()))
        })
        .collect();
    let mut found = Table::default();
    let mut faults = Vec::new();
    for ((source, arch), outcome) in jobs.iter().zip(compile_all(&nvrtc, &jobs)) {
        let place = |fault: String| format!("{} for {arch}: {fault}", source.name);
        match outcome {
            Ok(report) => {
                faults.extend(report.warnings.into_iter().map(place));
                report.kernels.iter().for_each(|(kernel, &resources)| found.insert(source.stem(), kernel, arch, resources));
            }
            Err(fault) => faults.push(place(fault)),
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    if arguments.write {
        if !arguments.arch.is_empty() {
            return Err("--write: goes with all architectures, without --arch".into());
        }
        found.save(&arguments.table)?;
        return Ok(format!("{} kernels written to {}", found.len(), arguments.table.display()));
    }
    let committed = Table::load(&arguments.table)?;
    let differences = found.differences(&committed, wanted);
    if differences.is_empty() {
        return Ok(format!("{} kernels are as the table says; spills: {}", found.len(), found.spilling()));
    }
    let advice = "if that is meant: cargo run -p stepsynth-lab --bin compile -- --write";
    Err(format!("{}\n{advice}", differences.join("\n")))
}

/// Compiles the jobs on all cores; the reports are in their order.
fn compile_all(nvrtc: &Nvrtc, jobs: &[(&Source, &str)]) -> Vec<Result<Report, String>> {
    let reports: Vec<OnceLock<Result<Report, String>>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((number, (source, arch))) = pick(&next, jobs) {
            let compiled = nvrtc.compile(source, HEADERS, &verbose(arch));
            let report = compiled.map_err(|log| format!("does not compile: {log}")).and_then(|done| report::parse(&done.log));
            // Each number is picked once.
            let _ = reports[number].set(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    reports.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// The next job that nobody has.
fn pick<'a, T>(next: &AtomicUsize, jobs: &'a [T]) -> Option<(usize, &'a T)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(number).map(|job| (number, job))
}

/// The options that programs are compiled with, and the assembler's account.
fn verbose(arch: &str) -> Vec<String> {
    let mut options = options(arch);
    options.push("--ptxas-options=--verbose".into());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table may lag behind the sources by numbers, which takes NVRTC to see, but not by whole files.
    #[test]
    fn the_committed_table_names_the_sources_that_there_are() {
        let table = Table::load(&Arguments::parse_from(["compile"]).table).unwrap();
        let mut expected: Vec<&str> = SOURCES.iter().map(|source| source.stem()).collect();
        expected.sort_unstable();
        assert_eq!(table.sources(), expected, "run: cargo run -p stepsynth-lab --bin compile -- --write");
    }

    #[test]
    fn every_source_is_for_some_architecture() {
        for source in SOURCES {
            assert!(CAPABILITIES.iter().any(|&capability| source.is_for(capability)), "{}", source.name);
        }
    }
}
