//! How fast the emulator is: `cargo test -p stepsynth-emulator --test speed -- --ignored --nocapture`.

#![cfg(emulated)]

mod support;

use std::time::Instant;

use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::{Argument, Device};
use support::{launch, upload_f32};

/// Seconds that this thread has run, where Linux tells; else on the clock.
fn seconds(start: Instant) -> f64 {
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = ran.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds * 1e-9)
}

fn report(what: &str, unit: &str, count: f64, work: impl Fn()) {
    let clock = Instant::now();
    let times = (0..5).map(|_| {
        let start = seconds(clock);
        work();
        seconds(clock) - start
    });
    let best = times.fold(f64::INFINITY, f64::min);
    eprintln!("{what}: {:.1} million {unit} a second", count / best / 1e6);
}

#[test]
#[ignore = "a measurement"]
fn accesses_and_barriers_a_second() {
    let emulator = Emulator::new((8, 0));
    let count = 1_000_000;
    let (x, y) = (upload_f32(&emulator, &vec![1.0; count]), upload_f32(&emulator, &vec![2.0; count]));
    let add = [Argument::Output(y), Argument::Input(x), Argument::I64(count as i64)];
    report("add_f32", "accesses", 3.0 * count as f64, || launch(&emulator, "add_f32", 16, 256, &add).unwrap());

    let (blocks, rounds) = (4, 100);
    let y = emulator.allocate(blocks * 256 * 4).unwrap();
    let sums = [Argument::Output(y), Argument::Input(x), Argument::I32(rounds)];
    let waits = f64::from(rounds) * blocks as f64 * 256.0 * 7.0;
    report("many_barriers", "waits of a thread", waits, || {
        launch(&emulator, "many_barriers", blocks as u32, 256, &sums).unwrap()
    });
}
