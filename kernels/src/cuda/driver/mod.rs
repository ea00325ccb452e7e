//! An NVIDIA GPU as a [`Device`]: its driver and its compiler NVRTC, both looked for when the program runs.

mod cache;
mod compile;
mod context;
mod launch;
mod memory;
mod nvrtc;
mod search;
mod tensor_map;

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;
use stepsynth_core::{Error, Result};

use self::cache::Cache;
use self::compile::Compiler;
use self::context::{Context, describe};
use self::launch::Modules;
use self::memory::Memory;
use super::device::{About, Device, Launch, Properties};
use super::unavailable::Unavailable;

pub use self::compile::{architecture, options};
pub use self::nvrtc::{Compiled, Nvrtc};

/// A GPU with one stream.
pub struct Driver {
    ordinal: usize,
    properties: Properties,
    driver: (i32, i32),
    compiler: Compiler,
    /// The operation and kernel launched last, for what is found out later.
    last: Mutex<Option<(&'static str, &'static str)>>,
    /// Whether each launch is waited for (STEPSYNTH_CUDA_SYNC=1), so that an error names its kernel.
    synchronous: bool,
    /// Whether memory is filled with NaN before each use (STEPSYNTH_CUDA_POISON=1), so that what is not written shows.
    poison: bool,
    modules: Modules,
    memory: Memory,
    context: Arc<Context>,
}

impl Driver {
    /// Opens GPU `ordinal`, counted from 0, with NVRTC from where the environment names it.
    ///
    /// # Errors
    /// If there is no such GPU, driver or NVRTC, with what is missing and how to get it. It never panics.
    pub fn open(ordinal: usize) -> Result<Self, Unavailable> {
        let found = context::find(ordinal)?;
        let nvrtc = Nvrtc::find(found.driver.0)?;
        let architecture = architecture(found.properties.capability);
        if !nvrtc.knows(found.properties.capability) {
            let (path, version) = (nvrtc.path().to_path_buf(), nvrtc.version());
            return Err(Unavailable::NvrtcTooOld { path, version, architecture });
        }
        let context = Context::open(&found).map_err(|error| Unavailable::DriverFails(describe(error)))?;
        let context = Arc::new(context);
        let variable = |name: &str| std::env::var_os(name);
        let asked = |name: &str| variable(name).is_some_and(|value| value == "1");
        Ok(Self {
            ordinal,
            properties: found.properties,
            driver: found.driver,
            compiler: Compiler { nvrtc, architecture, cache: Cache::of_user(variable) },
            last: Mutex::default(),
            synchronous: asked("STEPSYNTH_CUDA_SYNC"),
            poison: asked("STEPSYNTH_CUDA_POISON"),
            modules: Modules::new(Arc::clone(&context)),
            memory: Memory::new(Arc::clone(&context)),
            context,
        })
    }

    /// What people want to know of it.
    pub fn about(&self) -> About {
        let Compiler { nvrtc, architecture, cache } = &self.compiler;
        About {
            driver: self.driver,
            architecture: architecture.clone(),
            nvrtc: nvrtc.version(),
            nvrtc_path: nvrtc.path().to_path_buf(),
            cache: cache.as_ref().map(|cache| cache.folder().to_path_buf()),
        }
    }

    /// Seconds that the device takes for what `work` puts on the stream, without what came before.
    ///
    /// # Errors
    /// If the device or `work` fails.
    pub fn seconds(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        let fails = |error| self.fault("timing", error);
        let start = self.context.mark().map_err(fails)?;
        work()?;
        let end = self.context.mark().map_err(fails)?;
        end.wait().map_err(fails)?;
        start.seconds_to(&end).map_err(fails)
    }

    /// Bytes a second that a large copy within the device's memory reads and writes together: the ceiling of what is bound by
    /// memory.
    ///
    /// # Errors
    /// If the device fails or has no memory for it.
    pub fn copy_rate(&self) -> Result<f64> {
        const TIMES: u32 = 10;
        let (free, _) = self.context.memory().map_err(|error| self.fault("asking for free memory", error))?;
        let bytes = (free / 4).min(1 << 30);
        let blocks =
            [Block { driver: self, address: self.allocate(bytes)? }, Block { driver: self, address: self.allocate(bytes)? }];
        let copy = || {
            let copied = self.memory.copy_between(blocks[0].address, blocks[1].address, bytes);
            copied.map_err(|error| self.fault("copying within the device", error))
        };
        self.zero(blocks[1].address, bytes)?;
        copy()?;
        let seconds = self.seconds(|| (0..TIMES).try_for_each(|_| copy()))?;
        Ok(2.0 * bytes as f64 * f64::from(TIMES) / seconds)
    }

    /// An error of the driver while doing something.
    fn fault(&self, doing: &str, error: DriverError) -> Error {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // An error of a kernel shows in whatever is asked next.
        let hint = match last {
            Some((op, kernel)) if is_late(error) => format!(
                "; a kernel before it failed, {kernel} ({op}) was started last; STEPSYNTH_CUDA_SYNC=1 finds out which it was"
            ),
            _ => String::new(),
        };
        self.error(format!("{doing}: {}{hint}", describe(error)))
    }

    fn error(&self, message: String) -> Error {
        Error::Device { device: format!("cuda:{}", self.ordinal), message }
    }
}

/// A block that is given back.
struct Block<'a> {
    driver: &'a Driver,
    address: u64,
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.driver.release(self.address);
    }
}

/// Whether an error is one that kernels leave behind, which every later call reports.
fn is_late(error: DriverError) -> bool {
    matches!(
        error.0,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
    )
}

impl Device for Driver {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let address = self.memory.allocate(bytes).map_err(|error| match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory {
                device: format!("cuda:{}", self.ordinal),
                asked: bytes as u64,
                used: self.memory.used() as u64,
                free: self.context.memory().map_or(0, |(free, _)| free as u64),
            },
            _ => self.fault("taking memory", error),
        })?;
        self.retire(address);
        Ok(address)
    }

    fn release(&self, address: u64) {
        self.memory.release(address);
    }

    fn retire(&self, address: u64) {
        if self.poison {
            // If it fails, so will what follows.
            let _ = self.memory.poison(address);
        }
    }

    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.memory.copy_in(address, bytes).map_err(|error| self.fault("copying to the device", error))
    }

    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.copy_out(address, bytes).map_err(|error| self.fault("copying from the device", error))
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.memory.zero(address, bytes).map_err(|error| self.fault("clearing memory", error))
    }

    fn has_copy_engine(&self) -> bool {
        self.properties.capability.0 == 9
    }

    fn tensor_map(&self, address: u64, rows: usize, columns: usize) -> Result<[u64; 16]> {
        let encoded = self.context.enter().and_then(|()| tensor_map::encode(address, rows, columns));
        encoded.map_err(|error| self.fault(&format!("describing a matrix of {rows} x {columns} to the copy engine"), error))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let named = |message: String| self.error(format!("{} in {}: {message}", launch.kernel, launch.op));
        let image = |stem: &str| self.compiler.image(stem);
        self.modules.launch(launch, self.properties.shared_bytes, image).map_err(named)?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((launch.op, launch.kernel));
        if self.synchronous {
            self.context.synchronize().map_err(|error| named(describe(error)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Machines without a GPU get a reason; those with one, a device. Neither gets a panic.
    #[test]
    fn probing_never_panics() {
        match Driver::open(0) {
            Ok(driver) => assert!(driver.properties().capability >= (7, 5)),
            Err(reason) => assert!(!reason.to_string().is_empty()),
        }
        assert!(Driver::open(4096).is_err());
    }
}
