//! Training steps and prediction of the `tiny` and `small` students on the CPU backend. Throughput is in tokens.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stepsynth::student::SHAPES;
use stepsynth_benches::{rows, sequences, tokenizer};
use stepsynth_core::config::Head;
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::random::Stream;
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, TrainSet, logits, train_step};
use stepsynth_datasets::Example;
use stepsynth_kernels::cpu::Cpu;

const HEAD: Head = Head::Classification { labels: 2 };

fn student(criterion: &mut Criterion) {
    let rows = rows("lab-questions", 32);
    let tokenizer = tokenizer(&rows);
    let labels = rows.iter().filter_map(Example::label).map(|label| label as i32).collect();
    let set = TrainSet { sequences: sequences(&tokenizer, &rows), targets: HostTargets::Labels(labels) };
    let batch: Vec<usize> = (0..rows.len()).collect();
    let tokens: usize = set.sequences.iter().map(|sequence| sequence.ids.len()).sum();
    let mut group = criterion.benchmark_group("student");
    group.throughput(Throughput::Elements(tokens as u64));
    for shape in SHAPES {
        for threads in [1, 2] {
            let backend = Cpu::new(threads).expect("a CPU");
            let config = shape.config(tokenizer.vocab_size(), 0, 64, vec!["a".into(), "b".into()]);
            let mut model = Model::new(&backend, config, HEAD, Initialisation::Scratch, 0).expect("a model");
            let name = format!("{} on {threads} threads", shape.name);
            group.bench_function(BenchmarkId::new("predict", &name), |bencher| {
                bencher.iter(|| logits(&backend, &model, &set.sequences, 4_096, &|_, _| true));
            });
            let mut optimizer = AdamW::new(&backend, &model, AdamWSettings::default()).expect("an optimizer");
            let mut step = 0;
            group.bench_function(BenchmarkId::new("train step", &name), |bencher| {
                bencher.iter(|| {
                    step += 1;
                    let masks = Some(Stream::new(0, "bench").child(step));
                    train_step(&backend, &mut model, &mut optimizer, &set, &batch, 1e-6, Some(1.0), masks)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, student);
criterion_main!(benches);
