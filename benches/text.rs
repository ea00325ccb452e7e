//! Learning a vocabulary, tokenising, packing.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stepsynth_benches::{rows, sequences, texts, tokenizer};
use stepsynth_core::Batch;
use stepsynth_core::tokenize::Tokenizer;

fn text(criterion: &mut Criterion) {
    let rows = rows("lab-questions", 512);
    let tokenizer = tokenizer(&rows);
    let sequences = sequences(&tokenizer, &rows);
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("learn vocabulary", |bencher| bencher.iter(|| Tokenizer::train(texts(&rows), 1_000, 2)));
    group.bench_function("tokenise", |bencher| bencher.iter(|| stepsynth_benches::sequences(&tokenizer, &rows)));
    group.bench_function("pack", |bencher| bencher.iter(|| Batch::pack(&sequences)));
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
