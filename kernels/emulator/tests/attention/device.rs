//! A backend on the emulator whose bf16 tensors can be given contents.

use std::sync::Mutex;

use stepsynth_core::Result;
use stepsynth_core::backend::Backend;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::{Cuda, Device, Launch, Properties, Tensor};

/// The emulator; where memory is to be zeroed it puts what waits in `contents`.
pub(crate) struct Filling {
    emulator: Emulator,
    contents: Mutex<Option<Vec<u8>>>,
}

impl Device for Filling {
    fn properties(&self) -> &Properties {
        self.emulator.properties()
    }
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.emulator.allocate(bytes)
    }
    fn release(&self, address: u64) {
        self.emulator.release(address);
    }
    fn issue(&self, address: u64, bytes: usize) {
        self.emulator.issue(address, bytes);
    }
    fn retire(&self, address: u64) {
        self.emulator.retire(address);
    }
    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.emulator.copy_in(address, bytes)
    }
    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.emulator.copy_out(address, bytes)
    }
    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        match self.contents.lock().unwrap().take() {
            Some(contents) => {
                assert_eq!(contents.len(), bytes);
                self.emulator.copy_in(address, &contents)
            }
            None => self.emulator.zero(address, bytes),
        }
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.emulator.launch(launch)
    }
}

/// A backend on a device of this capability.
pub(crate) fn cuda(capability: (u32, u32), precision: Precision) -> Cuda<Filling> {
    Cuda::new(Filling { emulator: Emulator::new(capability), contents: Mutex::default() }, precision)
}

/// A tensor as activations are stored, rounded to that format.
pub(crate) fn upload(cuda: &Cuda<Filling>, rows: usize, columns: usize, values: &[f32]) -> Tensor {
    if cuda.precision() == Precision::F32 {
        return cuda.upload(rows, columns, values).unwrap();
    }
    let bytes = values.iter().flat_map(|&value| ((to_bf16(value).to_bits() >> 16) as u16).to_ne_bytes()).collect();
    *cuda.device().contents.lock().unwrap() = Some(bytes);
    let mut tensor = cuda.empty(rows, columns).unwrap();
    cuda.clear(&mut tensor).unwrap();
    tensor
}

/// Rounded to bf16, to nearest with ties to even.
pub(crate) fn to_bf16(value: f32) -> f32 {
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}
