//! A [`Device`] on the host: kernels of `kernels/cu` run with a block's threads as fibres, and every access is checked.

#![allow(unsafe_code, reason = "the C++ side is called in machine.rs and nowhere else")]

#[cfg(not(emulated))]
#[path = "absent.rs"]
mod machine;
#[cfg(emulated)]
mod machine;

use machine::Machine;
use stepsynth_core::{Error, Result};
use stepsynth_kernels::cuda::{Device, Launch, Properties};

/// The emulated device. A launch is over when [`launch`](Device::launch) returns, and its error is what the checks found: kernel,
/// block, thread, and what the access was to.
///
/// Reported are
/// * reads and writes outside the memory that a pointer was made for, writes to inputs, vectors that are not aligned, and
///   writes beside an allocation that went past the checks;
/// * reads of global or shared memory that nobody wrote since it was allocated, retired, or the block began;
/// * races: accesses to the same bytes, one of them a write and not both atomic, by two blocks of a launch, or by two threads
///   of a block without a barrier between them (of the warp, where they are in one);
/// * threads that wait for each other at different places, and warp operations that a lane is missing from;
/// * copies to the host of bytes that nobody wrote.
pub struct Emulator {
    properties: Properties,
    machine: Machine,
}

impl Emulator {
    /// A device that claims this compute capability, which decides the tier of kernels.
    pub fn new(capability: (u32, u32)) -> Self {
        let shared_bytes = 227 * 1024;
        let properties = Properties {
            name: "emulator".into(),
            capability,
            // Few, so that loops that stride by the grid go round more than once.
            multiprocessors: 2,
            shared_bytes,
            memory_bytes: 1 << 30,
        };
        Self { properties, machine: Machine::new(shared_bytes) }
    }

    /// Whether the kernels were compiled, for which the build needs a C++17 compiler. If not, says so on standard error and
    /// nothing can be allocated: a test that needs the emulator asks first and returns.
    pub fn available() -> bool {
        if cfg!(not(emulated)) {
            eprintln!("skipped: the build found no C++17 compiler for the emulated kernels");
        }
        cfg!(emulated)
    }

    /// Takes blocks, warps and lanes in another order than by their index: backwards for seed 0, else shuffled anew at every
    /// turn. Results must not depend on it.
    #[must_use]
    pub fn with_order(mut self, seed: u64) -> Self {
        self.machine.set_order(seed.saturating_add(1));
        self
    }

    /// Lets the host copy bytes that were never written. Without this such a copy is an error, which is how a test finds that
    /// a launch left a part of its output out.
    #[must_use]
    pub fn with_unwritten_copies(mut self) -> Self {
        self.machine.set_output_check(false);
        self
    }
}

fn fault(message: String) -> Error {
    Error::Device { device: "emulator".into(), message }
}

impl Device for Emulator {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        match self.machine.allocate(bytes) {
            0 if cfg!(not(emulated)) => Err(fault("was built without a C++17 compiler".into())),
            0 => Err(fault(format!("no memory for {bytes} bytes"))),
            address => Ok(address),
        }
    }

    fn release(&self, address: u64) {
        self.machine.release(address);
    }

    fn issue(&self, address: u64, bytes: usize) {
        self.machine.forget(address, bytes);
    }

    fn retire(&self, address: u64) {
        self.machine.forget(address, usize::MAX);
    }

    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.machine.copy_in(address, bytes).map_err(|message| fault(format!("copy to the device: {message}")))
    }

    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.machine.copy_out(address, bytes).map_err(|message| fault(format!("copy to the host: {message}")))
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.machine.zero(address, bytes).map_err(|message| fault(format!("zeros: {message}")))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.machine.launch(launch).map_err(|message| fault(format!("{} in {}: {message}", launch.kernel, launch.op)))
    }
}
