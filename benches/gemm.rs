//! Speed of the linear layers on the encoder's shapes: `cargo bench -p stepsynth-benches --bench gemm -- [TOKENS]...`
//!
//! Prints GFLOP/s, the best of several runs on one thread. `STEPSYNTH_CPU` chooses the instructions.
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::time::Instant;

use stepsynth_core::backend::Backend;
use stepsynth_core::random::Stream;
use stepsynth_kernels::cpu::{Cpu, Tensor};
use stepsynth_kernels::{Isa, Precision};

/// (inputs, outputs) of the linear layers of MiniLM-L6 and DistilBERT.
const SHAPES: [(usize, usize); 8] =
    [(384, 1152), (384, 384), (384, 1536), (1536, 384), (768, 2304), (768, 768), (768, 3072), (3072, 768)];
/// Measured time of one number: long enough for some runs, of which some are undisturbed.
const SECONDS: f64 = 0.4;

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let asked = if asked.is_empty() { vec![256, 2048] } else { asked };
    let isa = Isa::choose().expect("a usable STEPSYNTH_CPU");
    for precision in [Precision::F32, Precision::Bf16] {
        let cpu = Cpu::with_isa(1, precision, isa).expect("a CPU");
        println!("{} with {isa}", cpu.name());
        println!("{:>6} {:>6} {:>7} {:>9} {:>9} {:>9}   GFLOP/s", "tokens", "inputs", "outputs", "forward", "d_x", "d_w");
        for &tokens in &asked {
            for (inputs, outputs) in SHAPES {
                let rates = rates(&cpu, tokens, inputs, outputs);
                println!("{tokens:>6} {inputs:>6} {outputs:>7} {:>9.1} {:>9.1} {:>9.1}", rates[0], rates[1], rates[2]);
            }
        }
    }
}

/// GFLOP/s of the forward product, of `d_x` and of `d_w`.
fn rates(cpu: &Cpu, tokens: usize, inputs: usize, outputs: usize) -> [f64; 3] {
    let mut generator = Stream::new(1, "gemm").generator();
    let mut random = |rows: usize, columns: usize| -> Tensor {
        let values: Vec<f32> = (0..rows * columns).map(|_| generator.normal() as f32).collect();
        cpu.upload(rows, columns, &values).expect("memory")
    };
    let (x, w, b, d_y) = (random(tokens, inputs), random(outputs, inputs), random(1, outputs), random(tokens, outputs));
    let (mut y, mut d_x) = (random(tokens, outputs), random(tokens, inputs));
    let (mut d_w, mut d_b) = (random(outputs, inputs), random(1, outputs));
    let forward = best(|| cpu.linear(&mut y, &x, &w, &b).expect("shapes"));
    let weights = best(|| cpu.linear_backward(None, &mut d_w, &mut d_b, &d_y, &x, &w).expect("shapes"));
    let both = best(|| cpu.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &d_y, &x, &w).expect("shapes"));
    [forward, both - weights, weights].map(|seconds| 2e-9 * (tokens * inputs * outputs) as f64 / seconds)
}

/// The least time of a run, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    while begin.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}
