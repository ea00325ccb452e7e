//! The lines of `stepsynth doctor` about a GPU.

use std::fmt::Write as _;

use anyhow::Result;
use stepsynth_core::backend::Backend as _;
use stepsynth_core::random::Stream;
use stepsynth_kernels::cuda::Device as _;

use crate::experiment::settings::Precision;
use crate::student;

/// Rows and columns of the measured product's matrices: a power of two that keeps any GPU busy.
const SIDE: usize = 4096;

/// Products between two looks at the clock.
const TIMES: u32 = 20;

/// What there is, or the reason why nothing is.
pub(super) fn describe() -> String {
    let mut out = String::new();
    let cuda = match student::cuda(0, Precision::F32) {
        Ok(cuda) => cuda,
        Err(reason) => return format!("device cuda: not usable: {reason}\n"),
    };
    let (about, properties) = (cuda.device().about(), cuda.device().properties());
    let (major, minor) = properties.capability;
    let _ = writeln!(
        out,
        "device cuda (to be asked for; its kernels have run under an emulator alone so far): {}, compute capability {major}.{minor}, {} multiprocessors, {:.1} GiB",
        properties.name,
        properties.multiprocessors,
        properties.memory_bytes as f64 / f64::from(1 << 30)
    );
    let _ = writeln!(out, "cuda driver: CUDA {}.{}", about.driver.0, about.driver.1);
    let _ = writeln!(out, "cuda compiler: NVRTC {}.{} ({})", about.nvrtc.0, about.nvrtc.1, about.nvrtc_path.display());
    let kept = about.cache.map_or_else(|| "not kept on disk".to_owned(), |folder| format!("kept in {}", folder.display()));
    let _ = writeln!(out, "cuda kernels: {}, tier {}, {kept}", about.architecture, properties.tier().name());
    let copy = cuda.device().copy_rate().map(|rate| format!("{:.2} TB/s, read and written", rate / 1e12));
    let _ = writeln!(out, "cuda copy: {}", copy.unwrap_or_else(|error| error.to_string()));
    for precision in [Precision::F32, Precision::Bf16] {
        let rate = product_rate(precision).map(|rate| format!("{:.1} TFLOP/s", rate / 1e12));
        let rate = rate.unwrap_or_else(|error| format!("{error:#}"));
        let _ = writeln!(out, "cuda product {precision:?}: {rate} ({SIDE} x {SIDE} x {SIDE})");
    }
    out
}

/// Floating-point operations a second of our own kernel for a large product of random numbers.
fn product_rate(precision: Precision) -> Result<f64> {
    let cuda = student::cuda(0, precision)?;
    let numbers = |purpose: &str, count: usize| -> Vec<f32> {
        let mut generator = Stream::new(0, purpose).generator();
        (0..count).map(|_| generator.uniform() as f32 - 0.5).collect()
    };
    let seed = cuda.upload(SIDE, SIDE, &numbers("x", SIDE * SIDE))?;
    let weights = cuda.upload(SIDE, SIDE, &numbers("w", SIDE * SIDE))?;
    let bias = cuda.zeros(1, SIDE)?;
    let (mut x, mut y) = (cuda.empty(SIDE, SIDE)?, cuda.empty(SIDE, SIDE)?);
    // A product's result is stored as activations are, so the ones that are timed read what a layer reads.
    cuda.linear(&mut x, &seed, &weights, &bias)?;
    cuda.linear(&mut y, &x, &weights, &bias)?;
    let seconds = cuda.device().seconds(|| (0..TIMES).try_for_each(|_| cuda.linear(&mut y, &x, &weights, &bias)))?;
    Ok(2.0 * (SIDE as f64).powi(3) * f64::from(TIMES) / seconds)
}
