//! Speed of the linear layers' products on the encoders' shapes, beside the machine's peak and OpenBLAS.
//!
//! `cargo bench -p stepsynth-benches --bench gemm -- [--threads N] [--python PYTHON] [TOKENS]...`
//!
//! Prints GFLOP/s of the forward product, of `d_x` and of `d_w`, packing included, the best of several runs; in percent of the
//! peak, which a loop of multiply-adds reaches on one core, times the threads; and, given a Python with numpy, as multiple of
//! numpy's OpenBLAS (f32). Everything is measured in turns of a tenth of a second; on one thread in processor time, which
//! leaves out what other programs take, on several by the clock. `STEPSYNTH_CPU` chooses the instructions.
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use clap::Parser;
use stepsynth_core::backend::Backend;
use stepsynth_core::random::Stream;
use stepsynth_kernels::cpu::{Cpu, Tensor};
use stepsynth_kernels::{Isa, Precision};

/// (inputs, outputs) of the linear layers of MiniLM-L6 and DistilBERT.
const SHAPES: [(usize, usize); 8] =
    [(384, 1152), (384, 384), (384, 1536), (1536, 384), (768, 2304), (768, 768), (768, 3072), (3072, 768)];
const KINDS: [&str; 3] = ["forward", "d_x", "d_w"];
/// One turn: long enough for some runs.
const SECONDS: f64 = 0.1;
/// Turns, so that of each number some run is undisturbed.
const TURNS: usize = 4;

#[derive(Parser)]
struct Arguments {
    /// Threads of each side.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A Python with numpy.
    #[arg(long)]
    python: Option<String>,
    /// Rows of the products.
    #[arg(default_values_t = [256, 2048])]
    tokens: Vec<usize>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let Arguments { threads, python, tokens, .. } = Arguments::parse();
    let isa = Isa::choose().expect("a usable STEPSYNTH_CPU");
    let mut peer = python.map(|python| Peer::start(&python, threads));
    for precision in [Precision::F32, Precision::Bf16] {
        let cpu = Cpu::with_isa(threads, precision, isa).expect("a CPU");
        println!("{} with {isa} on {threads} threads; {}", cpu.name(), peer.as_ref().map_or("no peer", |peer| &peer.name));
        println!("{:>6} {:>6} {:>7}   GFLOP/s, % of peak, x OpenBLAS of forward, d_x, d_w", "tokens", "inputs", "outputs");
        for &tokens in &tokens {
            for (inputs, outputs) in SHAPES {
                let mut layer = Layer::new(&cpu, tokens, inputs, outputs);
                let (mut ours, mut theirs, mut peak) = ([f64::INFINITY; 3], [f64::INFINITY; 3], 0.0_f64);
                for _ in 0..TURNS {
                    peak = peak.max(cpu.peak().unwrap_or(f64::NAN) * threads as f64);
                    for (kind, ours) in ours.iter_mut().enumerate() {
                        *ours = ours.min(layer.seconds(kind, threads));
                    }
                    for (kind, theirs) in KINDS.iter().zip(&mut theirs) {
                        *theirs = theirs.min(peer.as_mut().map_or(f64::NAN, |peer| peer.seconds(kind, tokens, inputs, outputs)));
                    }
                }
                // `d_x` is only computed together with `d_w`.
                ours[1] -= ours[2];
                let work = 2e-9 * (tokens * inputs * outputs) as f64;
                print!("{tokens:>6} {inputs:>6} {outputs:>7}");
                for (ours, theirs) in ours.into_iter().zip(theirs) {
                    print!(" {:>8.1} {:>3.0}% {:>5.2}", work / ours, 100.0 * work / ours / peak, theirs / ours);
                }
                println!("   peak {peak:.0}");
            }
        }
    }
}

/// A linear layer with its input, gradients and results.
struct Layer<'a> {
    cpu: &'a Cpu,
    x: Tensor,
    w: Tensor,
    b: Tensor,
    d_y: Tensor,
    y: Tensor,
    d_x: Tensor,
    d_w: Tensor,
    d_b: Tensor,
}

impl<'a> Layer<'a> {
    fn new(cpu: &'a Cpu, tokens: usize, inputs: usize, outputs: usize) -> Self {
        let mut generator = Stream::new(1, "gemm").generator();
        let mut random = |rows: usize, columns: usize| -> Tensor {
            let values: Vec<f32> = (0..rows * columns).map(|_| generator.normal() as f32).collect();
            cpu.upload(rows, columns, &values).expect("memory")
        };
        let (x, w, b, d_y) = (random(tokens, inputs), random(outputs, inputs), random(1, outputs), random(tokens, outputs));
        let (y, d_x) = (random(tokens, outputs), random(tokens, inputs));
        let (d_w, d_b) = (random(outputs, inputs), random(1, outputs));
        Self { cpu, x, w, b, d_y, y, d_x, d_w, d_b }
    }

    /// The least time of a run, in seconds: forward, `d_x` and `d_w`, `d_w` alone.
    fn seconds(&mut self, kind: usize, threads: usize) -> f64 {
        let Self { cpu, x, w, b, d_y, y, d_x, d_w, d_b } = self;
        let begin = Instant::now();
        let mut least = f64::INFINITY;
        while begin.elapsed().as_secs_f64() < SECONDS || least.is_infinite() {
            // Training changes the weights between uses, which then have to be packed anew; the change is not timed.
            if kind == 0 {
                cpu.clear(w).expect("a tensor");
            }
            let start = now(threads);
            match kind {
                0 => cpu.linear(y, x, w, b),
                1 => cpu.linear_backward(Some(d_x), d_w, d_b, d_y, x, w),
                _ => cpu.linear_backward(None, d_w, d_b, d_y, x, w),
            }
            .expect("shapes");
            least = least.min(now(threads) - start);
        }
        least
    }
}

/// Seconds since some moment: of one thread's own time where the system tells it.
fn now(threads: usize) -> f64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let own = || {
        // The system brings the account up to date when it considers another thread.
        std::thread::yield_now();
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse::<f64>().ok()
    };
    let nanoseconds = if threads == 1 { own() } else { None };
    nanoseconds.map_or_else(|| BEGIN.elapsed().as_secs_f64(), |nanoseconds| nanoseconds * 1e-9)
}

/// The other side: see `peers/numpy_gemm.py`.
struct Peer {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    name: String,
}

impl Peer {
    fn start(python: &str, threads: usize) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/numpy_gemm.py");
        let mut command = Command::new(python);
        command.arg(script).env("OPENBLAS_NUM_THREADS", threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a Python with numpy");
        let (questions, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut peer = Self { child, questions, answers: BufReader::new(answers), name: String::new() };
        peer.name = peer.line();
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("text");
        assert!(!line.is_empty(), "the Python peer ended");
        line.trim().to_owned()
    }

    fn seconds(&mut self, kind: &str, tokens: usize, inputs: usize, outputs: usize) -> f64 {
        writeln!(self.questions, "{kind} {tokens} {inputs} {outputs} {SECONDS}").expect("the Python peer listens");
        self.line().parse().expect("seconds")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It waits for a line and has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
