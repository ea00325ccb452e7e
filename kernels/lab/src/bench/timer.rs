//! Inputs of random numbers and the time that an operation takes on them.

use std::cell::Cell;

use stepsynth_core::Result;
use stepsynth_core::backend::Backend as _;
use stepsynth_core::random::Stream;
use stepsynth_kernels::cuda::driver::Driver;
use stepsynth_kernels::cuda::{Cuda, Tensor};

/// Bytes that have to be moved before a buffer is used again: several times what the largest second-level cache holds.
const OUT_OF_CACHE: usize = 256 << 20;

/// Random numbers that tensors are filled with, over and over: products of ones and zeros would run faster than of these.
const NUMBERS: usize = (1 << 20) + 7;

/// Seconds that a sample should take, so that starting and stopping the clock does not count.
const SAMPLE: f64 = 0.02;

/// Samples; the median counts.
const SAMPLES: usize = 5;

/// Draws inputs and times operations.
pub(crate) struct Timer<'a> {
    pub(crate) cuda: &'a Cuda<Driver>,
    numbers: Vec<f32>,
    drawn: Cell<usize>,
}

impl<'a> Timer<'a> {
    pub(crate) fn new(cuda: &'a Cuda<Driver>) -> Self {
        let mut generator = Stream::new(0, "bench").generator();
        Self { cuda, numbers: (0..NUMBERS).map(|_| generator.normal() as f32).collect(), drawn: Cell::new(0) }
    }

    /// Random numbers in f32, as parameters are.
    pub(crate) fn parameter(&self, rows: usize, columns: usize) -> Result<Tensor> {
        // Each tensor begins elsewhere.
        let start = self.drawn.replace((self.drawn.get() + 7919) % NUMBERS);
        let host: Vec<f32> = self.numbers.iter().cycle().skip(start).take(rows * columns).copied().collect();
        self.cuda.upload(rows, columns, &host)
    }

    /// Random numbers stored as activations are.
    pub(crate) fn activation(&self, rows: usize, columns: usize) -> Result<Tensor> {
        let mut stored = self.cuda.empty(rows, columns)?;
        self.cuda.copy(&mut stored, &self.parameter(rows, columns)?)?;
        Ok(stored)
    }

    /// So many copies of buffers that one call moves `bytes` of that the first has left the cache when its turn comes again.
    pub(crate) fn copies(bytes: f64) -> usize {
        (OUT_OF_CACHE as f64 / bytes.max(1.0)).ceil().clamp(1.0, 16.0) as usize
    }

    /// Seconds of one call; `call` gets the number of the call, to choose its buffers by.
    pub(crate) fn seconds(&self, mut call: impl FnMut(usize) -> Result<()>) -> Result<f64> {
        let device = self.cuda.device();
        // The first compiles, loads and allocates.
        (0..3).try_for_each(&mut call)?;
        let one = device.seconds(|| (0..3).try_for_each(&mut call))? / 3.0;
        let calls = (SAMPLE / one.max(1e-6)).ceil().clamp(3.0, 2000.0) as usize;
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            samples.push(device.seconds(|| (0..calls).try_for_each(&mut call))? / calls as f64);
        }
        samples.sort_by(f64::total_cmp);
        Ok(samples[SAMPLES / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_rotate_and_large_ones_need_not() {
        assert_eq!((Timer::copies(1.0), Timer::copies(1e8), Timer::copies(1e10)), (16, 3, 1));
    }
}
