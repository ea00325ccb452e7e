//! An emulated device that counts what it is asked for.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use stepsynth_core::Result;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::{Cuda, Device, Launch, Properties};

pub(crate) struct Counting {
    emulator: Emulator,
    allocations: AtomicUsize,
    uploads: AtomicUsize,
    launches: AtomicUsize,
}

/// The backend on a device that counts.
pub(crate) fn counting_cuda(capability: (u32, u32), precision: Precision) -> Cuda<Counting> {
    let [allocations, uploads, launches] = [(); 3].map(|()| AtomicUsize::new(0));
    Cuda::new(Counting { emulator: Emulator::new(capability), allocations, uploads, launches }, precision)
}

impl Counting {
    pub(crate) fn allocations(&self) -> usize {
        self.allocations.load(Relaxed)
    }

    /// Copies from the host.
    pub(crate) fn uploads(&self) -> usize {
        self.uploads.load(Relaxed)
    }

    pub(crate) fn launches(&self) -> usize {
        self.launches.load(Relaxed)
    }
}

impl Device for Counting {
    fn properties(&self) -> &Properties {
        self.emulator.properties()
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.allocations.fetch_add(1, Relaxed);
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
        self.uploads.fetch_add(1, Relaxed);
        self.emulator.copy_in(address, bytes)
    }

    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.emulator.copy_out(address, bytes)
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.emulator.zero(address, bytes)
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.launches.fetch_add(1, Relaxed);
        self.emulator.launch(launch)
    }
}
