//! Times each operation of a training step.
//!
//! `cargo run --release -p stepsynth-kernels --example profile -- MODEL LENGTHS_FILE THREADS [f32|bf16|without-linear]`
//!
//! MODEL is `distilbert`, `minilm`, `small` or `tiny`; the file holds one sequence length a line, of which 16 make a batch.
//! `without-linear` leaves the matrix products out, which then give zeros, to see the rest without waiting for them.
//! The last line copies 256 MiB, to compare with.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, InputGradient};
use stepsynth_core::config::{Dropouts, EncoderConfig, Family, Head};
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::random::Stream;
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, TrainSet, train_step};
use stepsynth_core::{Result, Sequence};
use stepsynth_kernels::cpu::{Cpu, Precision, Tensor};

const BATCH: usize = 16;
const STEPS: usize = 4;
/// Passes over the steps; the least time of each call counts, which other programs disturb least.
const ROUNDS: usize = 4;

/// The CPU backend with a clock on every operation.
struct Timed {
    cpu: Cpu,
    without_linear: bool,
    /// Seconds of each call, in order.
    spent: Mutex<BTreeMap<&'static str, Vec<f64>>>,
}

impl Timed {
    fn time<R>(&self, name: &'static str, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.spent.lock().expect("one thread").entry(name).or_default().push(start.elapsed().as_secs_f64());
        result
    }
}

/// Operations that are only passed on, with a clock around them.
macro_rules! timed {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$result> {
            self.time(stringify!($name), || self.cpu.$name($($argument),*))
        })*
    };
}

impl Backend for Timed {
    type Scalar = f32;
    type Tensor = Tensor;
    type Indices = Vec<i32>;

    fn name(&self) -> String {
        self.cpu.name()
    }

    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        self.cpu.shape(tensor)
    }

    fn linear(&self, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
        self.time("linear", || if self.without_linear { self.cpu.clear(y) } else { self.cpu.linear(y, x, w, b) })
    }

    fn linear_backward(
        &self,
        d_x: Option<&mut Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        self.time("linear_backward", || match d_x {
            Some(d_x) if self.without_linear => self.cpu.clear(d_x),
            None if self.without_linear => Ok(()),
            d_x => self.cpu.linear_backward(d_x, d_w, d_b, d_y, x, w),
        })
    }

    fn linear_activation(
        &self,
        y: &mut Tensor,
        inner: Option<&mut Tensor>,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        kind: Activation,
    ) -> Result<()> {
        self.time("linear_activation", || match inner {
            Some(inner) if self.without_linear => {
                self.cpu.clear(inner)?;
                self.cpu.activation(y, inner, kind)
            }
            inner => self.cpu.linear_activation(y, inner, x, w, b, kind),
        })
    }

    fn linear_residual(
        &self,
        y: &mut Tensor,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        dropout: Option<&Dropout>,
        residual: &Tensor,
    ) -> Result<()> {
        self.time("linear_residual", || match dropout {
            Some(dropout) if self.without_linear => {
                self.cpu.clear(y)?;
                self.cpu.dropout(y, dropout)?;
                self.cpu.add(y, residual)
            }
            None if self.without_linear => self.cpu.copy(y, residual),
            dropout => self.cpu.linear_residual(y, x, w, b, dropout, residual),
        })
    }

    fn linear_backward_into(
        &self,
        d_x: &mut Tensor,
        then: InputGradient<'_, Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        self.time("linear_backward_into", || match then {
            InputGradient::Plus(other) if self.without_linear => self.cpu.copy(d_x, other),
            InputGradient::Through { inner, kind } if self.without_linear => {
                self.cpu.activation_backward(d_x, inner, inner, kind)
            }
            then => self.cpu.linear_backward_into(d_x, then, d_w, d_b, d_y, x, w),
        })
    }

    timed! {
        empty(rows: usize, columns: usize) -> Tensor;
        zeros(rows: usize, columns: usize) -> Tensor;
        upload(rows: usize, columns: usize, host: &[f32]) -> Tensor;
        upload_indices(host: &[i32]) -> Vec<i32>;
        download(tensor: &Tensor) -> Vec<f32>;
        clear(tensor: &mut Tensor) -> ();
        embed(out: &mut Tensor, batch: &DeviceBatch<Vec<i32>>, word: &Tensor, position: &Tensor, kind: Option<&Tensor>) -> ();
        embed_backward(
            d_word: &mut Tensor, d_position: &mut Tensor, d_kind: Option<&mut Tensor>, d_out: &Tensor,
            batch: &DeviceBatch<Vec<i32>>
        ) -> ();
        layer_norm(y: &mut Tensor, stats: &mut Tensor, x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> ();
        layer_norm_backward(
            d_x: &mut Tensor, d_gamma: &mut Tensor, d_beta: &mut Tensor, d_y: &Tensor, x: &Tensor, stats: &Tensor,
            gamma: &Tensor
        ) -> ();
        activation(y: &mut Tensor, x: &Tensor, kind: Activation) -> ();
        activation_backward(d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> ();
        attention(
            out: &mut Tensor, lse: &mut Tensor, qkv: &Tensor, batch: &DeviceBatch<Vec<i32>>, heads: usize,
            dropout: Option<&Dropout>
        ) -> ();
        attention_backward(
            d_qkv: &mut Tensor, d_out: &Tensor, out: &Tensor, lse: &Tensor, qkv: &Tensor, batch: &DeviceBatch<Vec<i32>>,
            heads: usize, dropout: Option<&Dropout>
        ) -> ();
        dropout(y: &mut Tensor, dropout: &Dropout) -> ();
        copy(y: &mut Tensor, x: &Tensor) -> ();
        add(y: &mut Tensor, x: &Tensor) -> ();
        gather_rows(out: &mut Tensor, x: &Tensor, rows: &Vec<i32>) -> ();
        scatter_rows(d_x: &mut Tensor, d_out: &Tensor, rows: &Vec<i32>) -> ();
        cross_entropy(losses: &mut Tensor, d_logits: &mut Tensor, logits: &Tensor, labels: &Vec<i32>) -> ();
        span_loss(
            losses: &mut Tensor, d_logits: &mut Tensor, logits: &Tensor, batch: &DeviceBatch<Vec<i32>>, starts: &Vec<i32>,
            ends: &Vec<i32>
        ) -> ();
        sum_of_squares(tensors: &[Tensor]) -> f64;
        adamw(slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> ();
    }
}

fn config(name: &str) -> EncoderConfig {
    let (hidden, layers, heads, vocab_size) = match name {
        "distilbert" => (768, 6, 12, 30_522),
        "minilm" => (384, 6, 12, 30_522),
        "small" => (128, 2, 4, 8_000),
        "tiny" => (64, 2, 4, 1_000),
        _ => panic!("no model {name}"),
    };
    let dropout = if name == "tiny" { 0.0 } else { 0.1 };
    let family = if name == "distilbert" { Family::DistilBert } else { Family::Bert };
    EncoderConfig {
        family,
        vocab_size,
        hidden,
        layers,
        heads,
        feed_forward: if name == "tiny" { 96 } else { 4 * hidden },
        max_positions: 512,
        token_types: if family == Family::Bert { 2 } else { 0 },
        layer_norm_epsilon: 1e-12,
        activation: Activation::GeluErf,
        dropouts: Dropouts { hidden: dropout, attention: dropout, classifier: dropout, question_answering: 0.0 },
        initializer_range: 0.02,
        pad_token_id: 0,
        id2label: vec!["a".into(), "b".into()],
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, lengths, threads, rest @ ..] = &arguments[..] else {
        panic!("profile MODEL LENGTHS_FILE THREADS [f32|bf16|without-linear]");
    };
    let lengths = std::fs::read_to_string(lengths).expect("the file of lengths");
    let lengths: Vec<usize> = lengths.lines().map(|line| line.trim().parse().expect("a length")).take(BATCH * STEPS).collect();
    let threads = threads.parse().expect("a number of threads");
    let how = rest.first().map_or("f32", String::as_str);
    let precision = if how == "bf16" { Precision::Bf16 } else { Precision::F32 };
    let cpu = Cpu::with(threads, precision)?;
    let backend = Timed { cpu, without_linear: how == "without-linear", spent: Mutex::default() };
    let config = config(model);
    let mut ids = Stream::new(0, "ids").generator();
    let sequence = |&length: &usize| Sequence {
        // Squared, so that small ids are common as in real text.
        ids: (0..length).map(|_| (ids.uniform().powi(2) * config.vocab_size as f64) as i32).collect(),
        token_types: vec![0; length],
    };
    let sequences: Vec<_> = lengths.iter().map(sequence).collect();
    let set = TrainSet { targets: HostTargets::Labels(vec![0; sequences.len()]), sequences };
    let head = Head::Classification { labels: 2 };
    let mut model = Model::new(&backend, config, head, Initialisation::Transformers, 0)?;
    let mut optimizer = AdamW::new(&backend, &model, AdamWSettings::default())?;
    let mut step = |number: usize| {
        let rows: Vec<usize> = (number * BATCH..(number + 1) * BATCH).collect();
        let masks = Some(Stream::new(0, "masks").child(number as u64));
        train_step(&backend, &mut model, &mut optimizer, &set, &rows, 1e-5, Some(1.0), masks)
    };
    let mut best: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        for number in 0..STEPS {
            step(number)?;
        }
        let spent = std::mem::take(&mut *backend.spent.lock().expect("one thread"));
        // The first round pays for new memory.
        for (name, calls) in spent.into_iter().filter(|_| round > 0) {
            let least = best.entry(name).or_insert_with(|| calls.clone());
            least.iter_mut().zip(calls).for_each(|(least, call)| *least = least.min(call));
        }
    }
    let total: f64 = best.values().flatten().sum();
    let tokens = lengths.iter().sum::<usize>() / STEPS;
    println!("{tokens} tokens a step; milliseconds a step, share, calls a step");
    for (name, calls) in best {
        let time: f64 = calls.iter().sum();
        println!("{name:20} {:9.2} {:5.1}% {:5}", time / STEPS as f64 * 1e3, 100.0 * time / total, calls.len() / STEPS);
    }
    println!("{:20} {:9.2}", "total", total / STEPS as f64 * 1e3);
    let (from, mut to) = (vec![1_f32; 1 << 26], vec![0_f32; 1 << 26]);
    let mut rate = 0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        to.copy_from_slice(&from);
        rate = rate.max(2.0 * 0.268_435 / start.elapsed().as_secs_f64());
        assert!(to == from);
    }
    println!("{:20} {rate:9.2} GB/s read and written", "copy");
    Ok(())
}
