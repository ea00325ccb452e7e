//! What the cases of `backend_cases` do not show of the CUDA backend: errors, formats, work on many tensors at once.

use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch};
use stepsynth_core::{Batch, Sequence};
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cpu::Cpu;
use stepsynth_kernels::cuda::Cuda;

use crate::counting::counting_cuda;

/// Two sequences of three tokens and one.
fn batch<B: Backend>(backend: &B, ids: [i32; 4], token_types: [i32; 4]) -> DeviceBatch<B::Indices> {
    let sequence = |from: usize, to: usize| Sequence { ids: ids[from..to].to_vec(), token_types: token_types[from..to].to_vec() };
    backend.upload_batch(Batch::pack(&[sequence(0, 3), sequence(3, 4)]).unwrap()).unwrap()
}

/// The messages of calls with wrong shapes and indices.
fn messages<B: Backend>(backend: &B) -> Vec<String> {
    let [mut a, mut b, mut c, mut d] =
        [(2, 3), (3, 2), (1, 3), (4, 2)].map(|(rows, columns)| backend.zeros(rows, columns).unwrap());
    let [mut scratch, mut other] = [(4, 3), (2, 1)].map(|(rows, columns)| backend.zeros(rows, columns).unwrap());
    let (table, wide) = (backend.zeros(5, 3).unwrap(), backend.zeros(5, 4).unwrap());
    let indices = |values: &[i32]| backend.upload_indices(values).unwrap();
    let good = batch(backend, [0, 1, 2, 3], [0, 1, 0, 1]);
    let dropped = |result: stepsynth_core::Result<()>| result.unwrap_err().to_string();
    let step =
        AdamWStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 0.1, weight_decay: 0.0, step: 1, gradient_scale: 1.0 };
    vec![
        dropped(backend.add(&mut a, &b)),
        dropped(backend.copy(&mut a, &b)),
        dropped(backend.activation(&mut a, &b, Activation::Relu)),
        dropped(backend.activation_backward(&mut a, &b, &scratch, Activation::Relu)),
        dropped(backend.activation_backward(&mut a, &b, &c, Activation::Relu)),
        dropped(backend.layer_norm(&mut a, &mut b, &scratch, &c, &c, 0.1)),
        dropped(backend.layer_norm(&mut scratch, &mut b, &table, &c, &c, 0.1)),
        dropped(backend.layer_norm_backward(&mut a, &mut c, &mut d, &scratch, &scratch, &b, &table)),
        dropped(backend.gather_rows(&mut a, &table, &indices(&[1]))),
        dropped(backend.gather_rows(&mut a, &table, &indices(&[1, 5]))),
        dropped(backend.gather_rows(&mut a, &table, &indices(&[-1, 0]))),
        dropped(backend.scatter_rows(&mut scratch, &a, &indices(&[1]))),
        dropped(backend.scatter_rows(&mut scratch, &a, &indices(&[1, 4]))),
        dropped(backend.embed(&mut a, &good, &table, &table, None)),
        dropped(backend.embed(&mut scratch, &good, &table, &wide, None)),
        dropped(backend.embed(&mut scratch, &good, &table, &table, Some(&wide))),
        dropped(backend.embed(&mut scratch, &batch(backend, [0, 5, 0, 0], [0; 4]), &table, &table, None)),
        dropped(backend.embed(&mut scratch, &batch(backend, [0; 4], [0, -1, 0, 0]), &table, &table, Some(&table))),
        dropped(backend.embed(&mut scratch, &good, &table, &a, None)),
        dropped(backend.embed_backward(&mut a, &mut c, None, &b, &good)),
        dropped(backend.embed_backward(&mut a, &mut c, None, &scratch, &good)),
        dropped(backend.cross_entropy(&mut other, &mut a, &a_like(backend), &indices(&[0]))),
        dropped(backend.cross_entropy(&mut other, &mut a, &a_like(backend), &indices(&[0, 3]))),
        dropped(backend.cross_entropy(&mut other, &mut a, &a_like(backend), &indices(&[-1, 0]))),
        dropped(backend.cross_entropy(&mut c, &mut a, &a_like(backend), &indices(&[0, 0]))),
        dropped(backend.span_loss(&mut other, &mut d, &scratch, &good, &indices(&[0, 0]), &indices(&[0, 0]))),
        dropped(backend.span_loss(&mut other, &mut b, &d_like(backend), &good, &indices(&[0, 0]), &indices(&[0, 0]))),
        dropped(backend.span_loss(&mut other, &mut d, &d_like(backend), &good, &indices(&[0]), &indices(&[0, 0]))),
        dropped(backend.span_loss(&mut other, &mut d, &d_like(backend), &good, &indices(&[0, 1]), &indices(&[2, 0]))),
        dropped(backend.span_loss(&mut other, &mut d, &d_like(backend), &good, &indices(&[0, 0]), &indices(&[3, 0]))),
        dropped({
            let slot = AdamWSlot { parameter: &mut a, gradient: &table, first: &mut b, second: &mut c, decay: true };
            backend.adamw(&mut [slot], &step)
        }),
    ]
}

fn a_like<B: Backend>(backend: &B) -> B::Tensor {
    backend.zeros(2, 3).unwrap()
}

fn d_like<B: Backend>(backend: &B) -> B::Tensor {
    backend.zeros(4, 2).unwrap()
}

#[test]
fn wrong_arguments_are_told_as_the_cpu_tells_them() {
    let expected = messages(&Cpu::new(1).unwrap());
    for precision in [Precision::F32, Precision::Bf16] {
        assert_eq!(messages(&Cuda::new(Emulator::new((8, 0)), precision)), expected);
    }
}

/// The ids of tokens that a table without segments never looks at may be anything.
#[test]
fn token_types_without_a_table_do_not_matter() {
    let cuda = Cuda::new(Emulator::new((8, 0)), Precision::F32);
    let batch = batch(&cuda, [1, 1, 0, 1], [-7, i32::MAX, 0, 3]);
    let d_out = cuda.upload(4, 1, &[1.0, 2.0, 4.0, 8.0]).unwrap();
    let (mut d_word, mut d_position) = (cuda.zeros(2, 1).unwrap(), cuda.zeros(3, 1).unwrap());
    cuda.embed_backward(&mut d_word, &mut d_position, None, &d_out, &batch).unwrap();
    assert_eq!(cuda.download(&d_word).unwrap(), [4.0, 11.0]);
    assert_eq!(cuda.download(&d_position).unwrap(), [9.0, 2.0, 4.0]);
}

#[test]
fn not_a_number_passes_through() {
    for precision in [Precision::F32, Precision::Bf16] {
        let cuda = Cuda::new(Emulator::new((8, 0)), precision);
        let host = [1.0, f32::NAN, 2.0, 1.0, 2.0, 3.0];
        let x = cuda.upload(2, 3, &host).unwrap();
        let mut copy = cuda.empty(2, 3).unwrap();
        cuda.copy(&mut copy, &x).unwrap();
        let values = cuda.download(&copy).unwrap();
        assert!(values[1].is_nan() && values.iter().filter(|value| value.is_nan()).count() == 1);
        let (mut losses, mut d_logits) = (cuda.empty(2, 1).unwrap(), cuda.empty(2, 3).unwrap());
        cuda.cross_entropy(&mut losses, &mut d_logits, &x, &cuda.upload_indices(&[0, 1]).unwrap()).unwrap();
        let (losses, d_logits) = (cuda.download(&losses).unwrap(), cuda.download(&d_logits).unwrap());
        assert!(losses[0].is_nan() && losses[1].is_finite());
        assert!(d_logits[..3].iter().all(|value| value.is_nan()) && d_logits[3..].iter().all(|value| value.is_finite()));
        assert!(cuda.sum_of_squares(&[x]).unwrap().is_nan());
    }
}

/// Gradients beyond the square root of f32's range have a norm.
#[test]
fn large_gradients_have_a_norm() {
    let cuda = Cuda::new(Emulator::new((8, 0)), Precision::F32);
    let x = cuda.upload(1, 5, &[1e30; 5]).unwrap();
    let sum = cuda.sum_of_squares(&[x]).unwrap();
    assert!((sum / (5.0 * f64::from(1e30_f32).powi(2)) - 1.0).abs() < 1e-15, "{sum}");
    assert_eq!(cuda.sum_of_squares(&[]).unwrap(), 0.0);
}

/// However many tensors, a step is one launch and its norm two, and the table of tensors is uploaded once.
#[test]
fn work_on_many_tensors_is_one_launch() {
    const SIZES: [(usize, usize); 4] = [(1, 3), (129, 65), (1, 1), (0, 5)];
    let cuda = counting_cuda((8, 0), Precision::F32);
    let upload = |scale: f32| {
        SIZES.map(|(rows, columns)| {
            let values: Vec<f32> = (0..rows * columns).map(|index| scale * (index as f32).sin()).collect();
            cuda.upload(rows, columns, &values).unwrap()
        })
    };
    let (mut parameters, gradients) = (upload(1.0), upload(0.1));
    let [mut first, mut second] = [(); 2].map(|()| SIZES.map(|(rows, columns)| cuda.zeros(rows, columns).unwrap()));
    let mut constants =
        AdamWStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0, step: 0, gradient_scale: 1.0 };
    let mut counts = Vec::new();
    for step in 1..=3 {
        constants.step = step;
        let moments = first.iter_mut().zip(&mut second);
        let mut slots: Vec<_> = parameters
            .iter_mut()
            .zip(&gradients)
            .zip(moments)
            .map(|((parameter, gradient), (first, second))| AdamWSlot { parameter, gradient, first, second, decay: false })
            .collect();
        cuda.adamw(&mut slots, &constants).unwrap();
        cuda.sum_of_squares(&gradients).unwrap();
        counts.push([cuda.device().uploads(), cuda.device().launches(), cuda.device().allocations()]);
    }
    assert_eq!(counts[2][0], counts[0][0], "uploads");
    assert_eq!(counts[2][1], counts[1][1] + 3, "launches");
    assert_eq!(counts[2][2], counts[0][2], "allocations");
    // Other tensors are another table.
    cuda.sum_of_squares(&upload(0.2)).unwrap();
    let expected: f64 = gradients.iter().flat_map(|x| cuda.download(x).unwrap()).map(|x| f64::from(x).powi(2)).sum();
    let again = cuda.sum_of_squares(&gradients).unwrap();
    // Some thousand additions in f64, one after another.
    assert!((again / expected - 1.0).abs() < 1e-12, "{again} {expected}");
}
