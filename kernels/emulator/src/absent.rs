//! In the place of `machine.rs` where the build found no C++17 compiler: nothing can be allocated, and nothing runs.

use stepsynth_kernels::cuda::Launch;

const WHY: &str = "the emulator was built without a C++17 compiler";

pub(crate) struct Machine;

impl Machine {
    pub(crate) fn new(_shared_bytes: u32) -> Self {
        Self
    }

    pub(crate) fn set_order(&mut self, _order: u64) {}

    pub(crate) fn set_output_check(&mut self, _check: bool) {}

    pub(crate) fn allocate(&self, _bytes: usize) -> u64 {
        0
    }

    pub(crate) fn release(&self, _address: u64) {}

    pub(crate) fn forget(&self, _address: u64, _bytes: usize) {}

    pub(crate) fn copy_in(&self, _address: u64, _bytes: &[u8]) -> Result<(), String> {
        Err(WHY.into())
    }

    pub(crate) fn zero(&self, _address: u64, _bytes: usize) -> Result<(), String> {
        Err(WHY.into())
    }

    pub(crate) fn copy_out(&self, _address: u64, _bytes: &mut [u8]) -> Result<(), String> {
        Err(WHY.into())
    }

    pub(crate) fn launch(&self, _launch: &Launch) -> Result<(), String> {
        Err(WHY.into())
    }
}
