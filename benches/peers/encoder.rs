//! Times fine-tuning steps and inference of a full-size encoder on the CPU or a GPU, on batches of given lengths, and prints
//! one JSON line. `run.sh` beside it times PyTorch on the same work.
//!
//! Weights and token ids are random: speed does not depend on them. Tokens counted are real tokens; there is no padding.

use std::error::Error;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use stepsynth_core::backend::{Activation, Backend};
use stepsynth_core::config::{Dropouts, EncoderConfig, Family, Head};
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::random::Stream;
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, TrainSet, train_step};
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::Precision;
use stepsynth_kernels::cpu::Cpu;
use stepsynth_kernels::cuda::Cuda;
use stepsynth_kernels::cuda::driver::Driver;

#[derive(Parser)]
struct Arguments {
    #[arg(long, value_enum, default_value = "distilbert")]
    model: ModelName,
    /// File with one sequence length a line
    #[arg(long)]
    lengths: std::path::PathBuf,
    #[arg(long, value_enum, default_value = "train")]
    mode: Mode,
    /// Sequences in a batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Batches in a pass
    #[arg(long, default_value_t = 4)]
    batches: usize,
    /// Timed passes, after one that is not timed; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// cpu, or cuda for the first GPU
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceName,
    /// Threads of the CPU
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Numbers that linear layers multiply
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceName {
    Cpu,
    Cuda,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionName {
    F32,
    Bf16,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ModelName {
    Distilbert,
    #[value(name = "minilm-l6")]
    MiniLmL6,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Train,
    Infer,
}

impl ModelName {
    /// The published configuration.
    fn config(self) -> EncoderConfig {
        let (family, hidden, layers, heads, token_types, classifier) = match self {
            Self::Distilbert => (Family::DistilBert, 768, 6, 12, 0, 0.2),
            Self::MiniLmL6 => (Family::Bert, 384, 6, 12, 2, 0.1),
        };
        EncoderConfig {
            family,
            vocab_size: 30_522,
            hidden,
            layers,
            heads,
            feed_forward: 4 * hidden,
            max_positions: 512,
            token_types,
            layer_norm_epsilon: 1e-12,
            activation: Activation::GeluErf,
            dropouts: Dropouts { hidden: 0.1, attention: 0.1, classifier, question_answering: 0.0 },
            initializer_range: 0.02,
            pad_token_id: 0,
            id2label: vec!["a".into(), "b".into()],
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let precision = match arguments.precision {
        PrecisionName::F32 => Precision::F32,
        PrecisionName::Bf16 => Precision::Bf16,
    };
    match arguments.device {
        DeviceName::Cpu => measure(&arguments, &Cpu::with(arguments.threads, precision)?),
        DeviceName::Cuda => measure(&arguments, &Cuda::new(Driver::open(0)?, precision)),
    }
}

fn measure<B: Backend>(arguments: &Arguments, backend: &B) -> Result<(), Box<dyn Error>> {
    let set = rows(arguments)?;
    let mut model =
        Model::new(backend, arguments.model.config(), Head::Classification { labels: 2 }, Initialisation::Transformers, 0)?;
    let order: Vec<usize> = (0..set.sequences.len()).collect();
    let mut seconds = match arguments.mode {
        Mode::Train => train(arguments, backend, &mut model, &set, &order)?,
        Mode::Infer => infer(arguments, backend, &model, &set)?,
    };
    seconds.sort_by(f64::total_cmp);
    let seconds = seconds[seconds.len() / 2];
    let tokens: usize = set.sequences.iter().map(|sequence| sequence.ids.len()).sum();
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|value| value.get_name().to_owned());
    let line = serde_json::json!({
        "side": "stepsynth",
        "variant": backend.name(),
        "device": name(&|| arguments.device.to_possible_value()),
        "model": name(&|| arguments.model.to_possible_value()),
        "lengths": arguments.lengths.file_stem().map(|stem| stem.to_string_lossy()),
        "mode": name(&|| arguments.mode.to_possible_value()),
        "batch": arguments.batch,
        "threads": arguments.threads,
        "rows": set.sequences.len(),
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_s": tokens as f64 / seconds,
        "peak_rss_mb": peak_rss_mb(),
    });
    report(&line.to_string());
    Ok(())
}

/// Rows of random tokens with the lengths of the file.
fn rows(arguments: &Arguments) -> Result<TrainSet, Box<dyn Error>> {
    let text = std::fs::read_to_string(&arguments.lengths)?;
    let lengths = text.split_whitespace().take(arguments.batch * arguments.batches).map(str::parse::<usize>);
    let mut generator = Stream::new(0, "speed").generator();
    let mut sequences = Vec::new();
    for length in lengths {
        let ids = (0..length?).map(|_| 1_000 + generator.below(29_000) as i32).collect::<Vec<_>>();
        sequences.push(Sequence { token_types: vec![0; ids.len()], ids });
    }
    let labels = (0..sequences.len()).map(|row| (row % 2) as i32).collect();
    Ok(TrainSet { sequences, targets: HostTargets::Labels(labels) })
}

fn train<B: Backend>(
    arguments: &Arguments,
    backend: &B,
    model: &mut Model<B>,
    set: &TrainSet,
    order: &[usize],
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut optimizer = AdamW::new(backend, model, AdamWSettings::default())?;
    let masks = Stream::new(0, "dropout");
    let last = backend.zeros(1, 1)?;
    passes(arguments.repeats, |pass| {
        for (index, batch) in order.chunks(arguments.batch).enumerate() {
            let masks = Some(masks.child((pass * arguments.batches + index) as u64));
            train_step(backend, model, &mut optimizer, set, batch, 1e-5, Some(1.0), masks)?;
        }
        // A GPU still works on the last step; a copy from it comes after everything before.
        backend.download(&last)?;
        Ok(())
    })
}

fn infer<B: Backend>(arguments: &Arguments, backend: &B, model: &Model<B>, set: &TrainSet) -> Result<Vec<f64>, Box<dyn Error>> {
    passes(arguments.repeats, |_| {
        for rows in set.sequences.chunks(arguments.batch) {
            let logits = model.logits(backend, &backend.upload_batch(Batch::pack(rows)?)?)?;
            std::hint::black_box(backend.download(&logits)?);
        }
        Ok(())
    })
}

/// Seconds of every pass but the first.
fn passes(repeats: usize, mut pass: impl FnMut(usize) -> Result<(), Box<dyn Error>>) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut seconds = Vec::new();
    for number in 0..=repeats.max(1) {
        let start = Instant::now();
        pass(number)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok(seconds.split_off(1))
}

/// Largest resident memory so far, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0).round())
}

#[expect(clippy::print_stdout, reason = "the line is the program's result")]
fn report(line: &str) {
    println!("{line}");
}
