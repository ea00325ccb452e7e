//! Linear layers on every instruction set, the tile unit included.
//!
//! The operands are whole numbers so small that they are exact in bfloat16 and their sums in `f32` whatever the order. What
//! is done to the sums does not depend on the instruction set. So every set, precision and number of threads has to give the
//! same bits.

use proptest::prelude::*;
use stepsynth_core::backend::{Activation, Backend, Dropout, InputGradient, Real};
use stepsynth_core::random::Stream;
use stepsynth_core::reference::Reference;

use super::super::{Cpu, Isa, Precision};

const ACTIVATIONS: [Activation; 4] = [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh];

#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

/// Whole numbers from -3 to 3: sums of 100 000 products are exact.
fn whole<B: Backend>(backend: &B, rows: usize, columns: usize, seed: u64) -> B::Tensor {
    let mut generator = Stream::new(seed, "whole numbers").generator();
    let host: Vec<_> = (0..rows * columns).map(|_| B::Scalar::of(generator.below(7) as f64 - 3.0)).collect();
    backend.upload(rows, columns, &host).unwrap()
}

type Outputs = Vec<(String, Vec<f64>)>;

fn keep<B: Backend>(outputs: &mut Outputs, backend: &B, name: impl Into<String>, tensor: &B::Tensor) {
    outputs.push((name.into(), backend.download(tensor).unwrap().into_iter().map(Real::f64).collect()));
}

/// The products alone.
fn products<B: Backend>(backend: &B, Shape { rows, inputs, outputs }: Shape) -> Outputs {
    let draw = |rows, columns, seed| whole(backend, rows, columns, seed);
    let (x, w, b, d_y) = (draw(rows, inputs, 1), draw(outputs, inputs, 2), draw(1, outputs, 3), draw(rows, outputs, 4));
    let (mut y, mut d_x) = (backend.empty(rows, outputs).unwrap(), backend.empty(rows, inputs).unwrap());
    let (mut d_w, mut d_b) = (draw(outputs, inputs, 5), draw(1, outputs, 6));
    backend.linear(&mut y, &x, &w, &b).unwrap();
    backend.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    backend.linear_backward(None, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    let mut kept = Vec::new();
    for (name, tensor) in [("y", &y), ("d_x", &d_x), ("d_w", &d_w), ("d_b", &d_b)] {
        keep(&mut kept, backend, name, tensor);
    }
    kept
}

/// What is made of the products, forward and backward.
fn finished(cpu: &Cpu, Shape { rows, inputs, outputs }: Shape) -> Outputs {
    let draw = |rows, columns, seed| whole(cpu, rows, columns, seed);
    let (x, w, b, d_y) = (draw(rows, inputs, 1), draw(outputs, inputs, 2), draw(1, outputs, 3), draw(rows, outputs, 4));
    let (residual, other) = (draw(rows, outputs, 7), draw(rows, inputs, 8));
    let (mut y, mut inner) = (cpu.empty(rows, outputs).unwrap(), cpu.empty(rows, outputs).unwrap());
    let (mut d_x, mut d_w, mut d_b) = (cpu.empty(rows, inputs).unwrap(), draw(outputs, inputs, 5), draw(1, outputs, 6));
    let mut kept = Vec::new();
    for kind in ACTIVATIONS {
        cpu.linear_activation(&mut y, Some(&mut inner), &x, &w, &b, kind).unwrap();
        keep(&mut kept, cpu, format!("{kind:?}"), &y);
        keep(&mut kept, cpu, format!("inner of {kind:?}"), &inner);
        let through = InputGradient::Through { inner: &other, kind };
        cpu.linear_backward_into(&mut d_x, through, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
        keep(&mut kept, cpu, format!("d_x through {kind:?}"), &d_x);
    }
    for p in [0.0, 0.3] {
        let dropout = Dropout::new(p, Stream::new(9, "mask"));
        cpu.linear_residual(&mut y, &x, &w, &b, dropout.as_ref(), &residual).unwrap();
        keep(&mut kept, cpu, format!("with residual, dropout {p}"), &y);
    }
    cpu.linear_backward_into(&mut d_x, InputGradient::Plus(&other), &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    keep(&mut kept, cpu, "d_x plus another", &d_x);
    keep(&mut kept, cpu, "d_w", &d_w);
    kept
}

fn check(shape: Shape) {
    let truth = products(&Reference::<f64>::new(), shape);
    let expected = finished(&Cpu::with_isa(1, Precision::F32, Isa::Portable).unwrap(), shape);
    for isa in Isa::available() {
        for (precision, threads) in [(Precision::F32, 1), (Precision::F32, 2), (Precision::Bf16, 1), (Precision::Bf16, 3)] {
            let cpu = Cpu::with_isa(threads, precision, isa).unwrap();
            let found = products(&cpu, shape).into_iter().chain(finished(&cpu, shape));
            for ((name, found), (_, expected)) in found.zip(truth.iter().chain(&expected)) {
                // As bits, for a NaN is equal to nothing; adding zero leaves one zero.
                let differs = |(one, other): (&f64, &f64)| (one + 0.0).to_bits() != (other + 0.0).to_bits();
                let at = found.iter().zip(expected).position(differs);
                let place = at.map(|at| (at, found[at], expected[at]));
                assert_eq!(place, None, "{name} of {shape:?} on {isa} in {precision:?} with {threads} threads");
            }
        }
    }
}

/// The tile unit is among them, whether real or emulated, so the whole way to it runs: packing, blocks of the depth, edges.
#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn the_tile_unit_is_tested_where_it_can_be() {
    assert_eq!(Isa::available().any(|isa| isa == Isa::Amx), Isa::Avx512Bf16.is_available());
}

/// Around the sizes of tiles, panels and blocks of rows, and deeper than one block of the depth in either direction.
#[test]
fn edges_are_the_same_on_every_instruction_set() {
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (1, 3, 5),
        (15, 64, 17),
        (16, 32, 33),
        (17, 31, 32),
        (33, 513, 15),
        (64, 40, 129),
        (65, 1100, 9),
        (513, 33, 31),
        (511, 17, 96),
        (1100, 15, 33),
    ] {
        check(Shape { rows, inputs, outputs });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_size_is_the_same_on_every_instruction_set(rows in 1..140_usize, inputs in 1..90_usize, outputs in 1..90_usize) {
        check(Shape { rows, inputs, outputs });
    }
}
