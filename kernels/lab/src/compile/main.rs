//! Compiles every kernel for every architecture, without a GPU, and holds what `ptxas -v` says of each (registers, spills,
//! shared memory) against `kernels/cu/resources.csv`. A warning, a new spill or any other difference fails.

mod ptxas;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stepsynth_kernels::cuda::SOURCES;
use stepsynth_kernels::cuda::driver::{Nvrtc, architecture, compile};

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
    /// The assembler; pip's nvidia-cuda-nvcc-cu12 brings it
    #[arg(long, default_value = "ptxas")]
    ptxas: PathBuf,
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

    let mut found = Table::default();
    let mut faults = Vec::new();
    for (capability, arch) in CAPABILITIES.into_iter().zip(&known).filter(|(_, arch)| wanted(arch)) {
        for source in SOURCES.iter().filter(|source| source.is_for(capability)) {
            let compiled = match compile(&nvrtc, source, arch) {
                Ok(compiled) => compiled,
                Err(log) => {
                    faults.push(log);
                    continue;
                }
            };
            let place = format!("{} for {arch}", source.name);
            if !compiled.log.is_empty() {
                faults.push(format!("{place}: {}", compiled.log));
            }
            let report = ptxas::assemble(&arguments.ptxas, arch, &compiled.ptx).map_err(|error| format!("{place}: {error}"))?;
            faults.extend(report.warnings.into_iter().map(|warning| format!("{place}: {warning}")));
            for (kernel, resources) in report.kernels {
                found.insert(source.stem(), &kernel, arch, resources);
            }
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
