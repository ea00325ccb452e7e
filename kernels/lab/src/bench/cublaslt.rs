//! NVIDIA's own matrix products, as a yardstick: bf16, sums in f32.

#![expect(unsafe_code, reason = "the library's C interface")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cudarc::cublaslt::{CudaBlasLT, Matmul as _, MatmulConfig, sys};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use half::bf16;
use stepsynth_core::random::Stream;

/// Calls between two looks at the clock.
const CALLS: usize = 20;

/// The three products of a linear layer `y[N, M] = x[N, K] w[M, K]^T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// `x w^T`.
    Forward,
    /// `d_y w`.
    Input,
    /// `d_y^T x`.
    Weight,
}

/// An opened cuBLASLt with what it has measured.
pub(crate) struct Yardstick {
    stream: Arc<CudaStream>,
    library: CudaBlasLT,
    known: RefCell<HashMap<(Form, [usize; 3]), f64>>,
}

impl Yardstick {
    /// Opens the library; without it there is a reason in words.
    pub(crate) fn open(gpu: usize) -> Result<Self, String> {
        // SAFETY: opens and closes the library, which may be loaded at any time.
        if !unsafe { sys::is_culib_present() } {
            return Err("libcublasLt was not found in LD_LIBRARY_PATH".into());
        }
        let context = CudaContext::new(gpu).map_err(|error| error.to_string())?;
        let stream = context.new_stream().map_err(|error| error.to_string())?;
        let library = CudaBlasLT::new(Arc::clone(&stream)).map_err(|error| error.to_string())?;
        Ok(Self { stream, library, known: RefCell::default() })
    }

    /// Seconds of one product of random numbers for N rows, K inputs and M outputs.
    pub(crate) fn seconds(&self, form: Form, rows: usize, inputs: usize, outputs: usize) -> Result<f64, String> {
        let key = (form, [rows, inputs, outputs]);
        if let Some(&seconds) = self.known.borrow().get(&key) {
            return Ok(seconds);
        }
        let seconds = self.measure(form, rows, inputs, outputs)?;
        self.known.borrow_mut().insert(key, seconds);
        Ok(seconds)
    }

    fn random(&self, count: usize, purpose: &str) -> Result<CudaSlice<bf16>, String> {
        let mut generator = Stream::new(0, purpose).generator();
        let numbers: Vec<bf16> = (0..(1 << 18) + 3).map(|_| bf16::from_f64(generator.normal())).collect();
        let host: Vec<bf16> = numbers.iter().cycle().take(count).copied().collect();
        self.stream.clone_htod(&host).map_err(|error| error.to_string())
    }

    fn measure(&self, form: Form, rows: usize, inputs: usize, outputs: usize) -> Result<f64, String> {
        let text = |error: cudarc::driver::DriverError| error.to_string();
        let (a_count, b_count, c_count) = match form {
            Form::Forward => (outputs * inputs, rows * inputs, rows * outputs),
            Form::Input => (outputs * inputs, rows * outputs, rows * inputs),
            Form::Weight => (rows * inputs, rows * outputs, outputs * inputs),
        };
        let bytes = 2.0 * (a_count + b_count + c_count) as f64;
        let copies = crate::Timer::copies(bytes);
        let a = self.random(a_count, "a")?;
        let mut buffers = Vec::with_capacity(copies);
        for _ in 0..copies {
            buffers.push((self.random(b_count, "b")?, self.stream.alloc_zeros::<bf16>(c_count).map_err(text)?));
        }
        let mut call = |number: usize| {
            let (b, c) = &mut buffers[number % copies];
            // SAFETY: the buffers have the sizes that `config` names for this form, by the counts above.
            unsafe { self.library.matmul(config(form, rows, inputs, outputs), &a, b, c, None, None) }
                .map_err(|error| error.to_string())
        };
        (0..3).try_for_each(&mut call)?;
        let flags = Some(cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT);
        let mut samples = Vec::new();
        for _ in 0..5 {
            let start = self.stream.record_event(flags).map_err(text)?;
            (0..CALLS).try_for_each(&mut call)?;
            let end = self.stream.record_event(flags).map_err(text)?;
            samples.push(f64::from(start.elapsed_ms(&end).map_err(text)?) / 1e3 / CALLS as f64);
        }
        samples.sort_by(f64::total_cmp);
        Ok(samples[samples.len() / 2])
    }
}

/// The library counts by columns: it is asked for the transposed result.
fn config(form: Form, rows: usize, inputs: usize, outputs: usize) -> MatmulConfig {
    let (transa, transb, m, n, k) = match form {
        Form::Forward => (true, false, outputs, rows, inputs),
        Form::Input => (false, false, inputs, rows, outputs),
        Form::Weight => (false, true, inputs, outputs, rows),
    };
    MatmulConfig {
        transa,
        transb,
        transc: false,
        m: m as u64,
        n: n as u64,
        k: k as u64,
        alpha: 1.0,
        lda: if transa { k } else { m } as i64,
        ldb: if transb { n } else { k } as i64,
        beta: 0.0,
        ldc: m as i64,
        stride_a: None,
        stride_b: None,
        stride_c: None,
        stride_bias: None,
        batch_size: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain products by the library's rules on the matrices as we store them.
    #[test]
    fn forms_are_the_three_products_of_a_layer() {
        const N: usize = 3;
        const K: usize = 2;
        const M: usize = 4;
        let numbers = |count: usize, first: f64| (0..count).map(|i| first + i as f64 * i as f64).collect::<Vec<f64>>();
        let (x, w, d_y) = (numbers(N * K, 1.0), numbers(M * K, -3.0), numbers(N * M, 0.5));
        let sum = |count: usize, term: &dyn Fn(usize) -> f64| (0..count).map(term).sum::<f64>();
        let mut expected = [vec![0.0; N * M], vec![0.0; N * K], vec![0.0; M * K]];
        for n in 0..N {
            (0..M).for_each(|m| expected[0][n * M + m] = sum(K, &|k| x[n * K + k] * w[m * K + k]));
            (0..K).for_each(|k| expected[1][n * K + k] = sum(M, &|m| d_y[n * M + m] * w[m * K + k]));
        }
        for m in 0..M {
            (0..K).for_each(|k| expected[2][m * K + k] = sum(N, &|n| d_y[n * M + m] * x[n * K + k]));
        }
        let operands = [(Form::Forward, &w, &x), (Form::Input, &w, &d_y), (Form::Weight, &x, &d_y)];
        for ((form, a, b), expected) in operands.into_iter().zip(expected) {
            let c = config(form, N, K, M);
            let at = |values: &[f64], transposed: bool, row: usize, column: usize, ld: i64| {
                let (row, column) = if transposed { (column, row) } else { (row, column) };
                values[column * ld as usize + row]
            };
            let mut got = vec![0.0; (c.m * c.n) as usize];
            for row in 0..c.m as usize {
                for column in 0..c.n as usize {
                    let term = |k: usize| at(a, c.transa, row, k, c.lda) * at(b, c.transb, k, column, c.ldb);
                    got[column * c.ldc as usize + row] = sum(c.k as usize, &term);
                }
            }
            assert_eq!(got, expected, "{form:?}");
        }
    }
}
