//! The way from an operation to its kernel and back.

#![cfg(emulated)]

use stepsynth_core::backend::Backend;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::Cuda;

#[test]
fn add_runs() {
    let cuda = Cuda::new(Emulator::new((8, 0)), Precision::F32);
    let mut y = cuda.upload(3, 1000, &vec![1.5; 3000]).unwrap();
    let x = cuda.upload(3, 1000, &(0..3000).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    cuda.add(&mut y, &x).unwrap();
    let expected: Vec<f32> = (0..3000).map(|i| 1.5 + i as f32).collect();
    assert_eq!(cuda.download(&y).unwrap(), expected);
}
