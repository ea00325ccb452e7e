//! Times every operation on a GPU in the shapes of two encoders, beside ceilings measured in the same run: a copy within the
//! device's memory, and cuBLASLt for products of the same shapes. Prints a table and writes CSV. The numbers are random, and
//! buffers change from call to call so that none is served from the cache.
//!
//! It needs a GPU, its driver and NVRTC, and neither Rust nor this repository: the sources are inside.

mod cublaslt;
mod operations;
mod shapes;
mod timer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::driver::Driver;
use stepsynth_kernels::cuda::{Cuda, Device as _};

use self::cublaslt::Yardstick;
use self::operations::{Bound, Measured};
use self::shapes::{ENCODERS, workloads};
use self::timer::Timer;

/// Columns of the CSV file.
const COLUMNS: [&str; 10] =
    ["model", "lengths", "tokens", "precision", "operation", "microseconds", "tflops", "gb_per_s", "bound", "share_of_ceiling"];

/// Time every operation on a GPU beside ceilings measured in the same run
#[derive(Parser)]
struct Arguments {
    /// Which GPU, counted from 0
    #[arg(long, default_value_t = 0)]
    gpu: usize,
    /// Sequences in a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// The CSV file to write
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_path(&arguments.out)?;
    writer.write_record(COLUMNS)?;
    let mut copy_rate = 0.0;
    for precision in [Precision::Bf16, Precision::F32] {
        let cuda = Cuda::new(Driver::open(arguments.gpu)?, precision);
        if precision == Precision::Bf16 {
            let about = cuda.device().about();
            let properties = cuda.device().properties();
            copy_rate = cuda.device().copy_rate()?;
            eprintln!(
                "{}: {}, tier {}, driver CUDA {:?}",
                properties.name,
                about.architecture,
                properties.tier().name(),
                about.driver
            );
            eprintln!("copy: {:.0} GB/s, read and written", copy_rate / 1e9);
        }
        let yardstick = match Yardstick::open(arguments.gpu) {
            Ok(yardstick) if precision == Precision::Bf16 => Some(yardstick),
            Ok(_) => None,
            Err(reason) => {
                eprintln!("no cuBLASLt to compare with: {reason}");
                None
            }
        };
        for encoder in &ENCODERS {
            for workload in workloads(arguments.batch) {
                let timer = Timer::new(&cuda);
                for measured in operations::all(&timer, encoder, &workload, yardstick.as_ref())? {
                    let row = row(&measured, copy_rate);
                    let tokens = workload.lengths.iter().sum::<usize>().to_string();
                    let name = if precision == Precision::Bf16 { "bf16" } else { "f32" };
                    let record = [encoder.name, workload.name, &tokens, name, measured.operation].into_iter();
                    let record: Vec<&str> = record.chain(row.iter().map(String::as_str)).collect();
                    eprintln!("{}", record.join("  "));
                    writer.write_record(&record)?;
                }
                writer.flush()?;
            }
        }
    }
    Ok(())
}

/// The columns from `microseconds` on.
fn row(measured: &Measured, copy_rate: f64) -> [String; 5] {
    let Measured { seconds, flops, bytes, bound, .. } = measured;
    let (bound, share) = match bound {
        Bound::Memory => ("copy", Some(bytes / seconds / copy_rate)),
        Bound::Product(ceiling) => ("cublaslt", ceiling.map(|ceiling| ceiling / seconds)),
        Bound::Attention => ("attention", None),
    };
    [
        format!("{:.2}", seconds * 1e6),
        format!("{:.2}", flops / seconds / 1e12),
        format!("{:.1}", bytes / seconds / 1e9),
        bound.to_owned(),
        share.map_or_else(String::new, |share| format!("{share:.3}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_ceiling_that_binds() {
        let measured = |bound| Measured { operation: "x", seconds: 1e-3, flops: 2e9, bytes: 3e9, bound };
        assert_eq!(row(&measured(Bound::Memory), 4e12), ["1000.00", "2.00", "3000.0", "copy", "0.750"]);
        assert_eq!(row(&measured(Bound::Product(Some(5e-4))), 4e12)[3..], ["cublaslt", "0.500"]);
        assert_eq!(row(&measured(Bound::Product(None)), 4e12)[3..], ["cublaslt", ""]);
        assert_eq!(row(&measured(Bound::Attention), 4e12)[3..], ["attention", ""]);
    }
}
