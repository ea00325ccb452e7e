//! Fragment layouts of the matrix instructions against a plain product, and when cp.async's bytes arrive.

#![cfg(emulated)]

mod support;

use stepsynth_core::random::Stream;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::{Argument, Device};
use support::{download_f32, launch, upload, upload_f32};

fn integers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Stream::new(seed, "mma").generator();
    (0..count).map(|_| random.below(17) as f32 - 8.0).collect()
}

/// These integers are exact in bf16.
fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_ne_bytes()).collect()
}

/// Twice a (16 x 16) times b, whose element (k, n) is at `at(k, n)`.
fn plain_product(a: &[f32], b: &[f32], at: impl Fn(usize, usize) -> usize) -> Vec<f32> {
    let sum = |row: usize, column: usize| (0..16).map(|k| a[row * 16 + k] * b[at(k, column)]).sum::<f32>();
    (0..16).flat_map(|row| (0..8).map(move |column| (row, column))).map(|(row, column)| 2.0 * sum(row, column)).collect()
}

#[test]
fn fragments_multiply_as_matrices() {
    for seed in 0..4 {
        let emulator = Emulator::new((8, 0));
        let (a, b) = (integers(256, seed), integers(128, seed + 100));
        let (left, right) = (upload(&emulator, &bf16_bytes(&a)), upload(&emulator, &bf16_bytes(&b)));
        let c = emulator.allocate(128 * 4).unwrap();
        let arguments = [Argument::Output(c), Argument::Input(left), Argument::Input(right)];
        launch(&emulator, "product_nn", 1, 32, &arguments).unwrap();
        assert_eq!(download_f32(&emulator, c, 128).unwrap(), plain_product(&a, &b, |k, n| k * 8 + n));
        for kernel in ["product_nt", "product_by_formula"] {
            launch(&emulator, kernel, 1, 32, &arguments).unwrap();
            assert_eq!(download_f32(&emulator, c, 128).unwrap(), plain_product(&a, &b, |k, n| n * 16 + k), "{kernel}");
        }
    }
}

#[test]
fn matrices_are_spread_over_the_lanes_as_the_manual_says() {
    let emulator = Emulator::new((8, 0));
    let numbers: Vec<u8> = (0..256_u16).flat_map(u16::to_ne_bytes).collect();
    let x = upload(&emulator, &numbers);
    let registers = emulator.allocate(256 * 4).unwrap();
    launch(&emulator, "matrix_registers", 1, 32, &[Argument::Output(registers), Argument::Input(x)]).unwrap();
    let found: Vec<u32> = download_f32(&emulator, registers, 256).unwrap().into_iter().map(f32::to_bits).collect();
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for j in 0..4 {
            // Number of the element in row r and column c of matrix j.
            let at = |r: u32, c: u32| j * 64 + r * 8 + c;
            let index = (lane * 8 + j) as usize;
            assert_eq!(found[index], at(g, 2 * t) | at(g, 2 * t + 1) << 16, "lane {lane}, matrix {j}");
            assert_eq!(found[index + 4], at(2 * t, g) | at(2 * t + 1, g) << 16, "lane {lane}, matrix {j} transposed");
        }
    }
}

#[test]
fn asynchronous_copies_arrive_in_order() {
    let emulator = Emulator::new((8, 0));
    let (tiles, count) = (5, 5 * 128 - 60);
    let values = integers(count, 7);
    let x = upload_f32(&emulator, &values);
    let y = emulator.allocate(tiles * 128 * 4).unwrap();
    let arguments = [Argument::Output(y), Argument::Input(x), Argument::I32(tiles as i32), Argument::I32(count as i32)];
    launch(&emulator, "copy_through_shared", 1, 32, &arguments).unwrap();
    let mut expected = values;
    expected.resize(tiles * 128, 0.0);
    assert_eq!(download_f32(&emulator, y, tiles * 128).unwrap(), expected);
}
