//! Writing and reading `results.csv`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stepsynth::report::results::{self, COLUMNS, ResultRow};

const ROWS: usize = 10_000;

/// Rows as a run gives them.
fn rows() -> Vec<ResultRow> {
    let line = "4f1c,lab-reviews,s3,,tiny,simulated,simulated,clean,0,2,9,test,accuracy,0.8872,600,,,495,400,95,0,702,9000,7000,\
                0,53000,1.5e10,1.25,88.5,cpu,abc";
    let text = format!("{}\n{}", COLUMNS.join(","), format!("{line}\n").repeat(ROWS));
    results::read(text.as_bytes(), "benchmark").expect("rows of the schema")
}

fn results_csv(criterion: &mut Criterion) {
    let rows = rows();
    let mut file = Vec::new();
    results::write(&rows, &mut file).expect("writing to memory");
    let mut group = criterion.benchmark_group("results.csv");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::with_capacity(file.len());
            results::write(&rows, &mut out).map(|()| out.len())
        });
    });
    group.bench_function("read", |bencher| bencher.iter(|| results::read(file.as_slice(), "benchmark")));
    group.finish();
}

criterion_group!(benches, results_csv);
criterion_main!(benches);
