//! The one place where kernels are started.
//!
//! What makes a launch sound: the kernel's parameters are those of its declaration in number and kind (every launch that the
//! program can make is also made by the emulator's tests, which compare them), every address is a live block of this device
//! ([`Call`](crate::cuda::launch::Call) takes addresses from tensors alone), and a kernel stays within the shapes that it is
//! given, which the operation checks against the tensors and the emulator's tests check access by access.

#![expect(unsafe_code, reason = "the driver's C interface")]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute};

use super::context::{Context, describe};
use crate::cuda::device::{Argument, Launch};

/// Dynamic shared memory that a kernel has without asking, in bytes.
const SHARED_WITHOUT_ASKING: usize = 48 << 10;

/// Compiled sources on the device, each loaded once.
pub(super) struct Modules {
    modules: Mutex<HashMap<&'static str, Module>>,
    kernels: RwLock<HashMap<(&'static str, &'static str), Kernel>>,
    context: Arc<Context>,
}

struct Module(sys::CUmodule);

/// A function of a module that is never unloaded before it.
#[derive(Clone, Copy)]
struct Kernel(sys::CUfunction);

// SAFETY: modules may be used from any thread in their context.
unsafe impl Send for Module {}
// SAFETY: so may functions.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Modules {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { modules: Mutex::default(), kernels: RwLock::default(), context }
    }

    /// Puts a launch on the stream; `image` compiles a source that is needed for the first time. `shared_bytes` is the most
    /// shared memory that a block may have.
    pub(super) fn launch(
        &self,
        launch: &Launch,
        shared_bytes: u32,
        image: impl FnOnce(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        self.context.enter().map_err(describe)?;
        let kernel = self.kernel(launch, shared_bytes, image)?;
        let mut arguments = launch.arguments.clone();
        let mut pointers: Vec<*mut c_void> = arguments.iter_mut().map(pointer).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the function is of a module that lives as long as `self`; the parameters are copied before the call returns,
        // and the module's head says why they fit the kernel and why the kernel stays within its memory.
        let started = unsafe {
            result::launch_kernel(
                kernel.0,
                (x, y, z),
                (launch.block, 1, 1),
                launch.shared_bytes,
                self.context.stream(),
                &mut pointers,
            )
        };
        started.map_err(|error| {
            let Launch { grid, block, shared_bytes, .. } = launch;
            format!("{} (grid {grid:?}, {block} threads, {shared_bytes} bytes of shared memory)", describe(error))
        })
    }

    fn kernel(
        &self,
        launch: &Launch,
        shared_bytes: u32,
        image: impl FnOnce(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Kernel, String> {
        let name = (launch.source, launch.kernel);
        if let Some(kernel) = self.kernels.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(*kernel);
        }
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(launch.source) {
            Some(module) => module.0,
            None => {
                let image = image(launch.source)?;
                // SAFETY: the image is a whole cubin from NVRTC, whose header tells its length.
                let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
                let refused = |error| format!("the driver does not load kernels/cu/{}.cu: {}", launch.source, describe(error));
                modules.entry(launch.source).or_insert(Module(module.map_err(refused)?)).0
            }
        };
        let c_name = CString::new(launch.kernel).map_err(|error| error.to_string())?;
        // SAFETY: the module is live.
        let function = unsafe { result::module::get_function(module, c_name) }
            .map_err(|error| format!("kernels/cu/{}.cu has no kernel {}: {}", launch.source, launch.kernel, describe(error)))?;
        allow_shared(function, shared_bytes).map_err(describe)?;
        self.kernels.write().unwrap_or_else(PoisonError::into_inner).insert(name, Kernel(function));
        Ok(Kernel(function))
    }
}

/// Lets a kernel ask for all the shared memory that a block may have beside its own arrays.
fn allow_shared(function: sys::CUfunction, shared_bytes: u32) -> Result<(), DriverError> {
    // SAFETY: the function is live; the attributes are ones that may be read and set.
    unsafe {
        let fixed = result::function::get_function_attribute(function, Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?;
        let dynamic = shared_bytes as i32 - fixed;
        if dynamic as usize <= SHARED_WITHOUT_ASKING {
            return Ok(());
        }
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        result::function::set_function_attribute(function, attribute, dynamic)
    }
}

/// Where an argument's value lies, as the driver wants it.
fn pointer(argument: &mut Argument) -> *mut c_void {
    match argument {
        Argument::Input(value) | Argument::Output(value) | Argument::U64(value) => (&raw mut *value).cast(),
        Argument::I32(value) => (&raw mut *value).cast(),
        Argument::U32(value) => (&raw mut *value).cast(),
        Argument::I64(value) => (&raw mut *value).cast(),
        Argument::F32(value) => (&raw mut *value).cast(),
        Argument::Dropout(value) => (&raw mut *value).cast(),
        Argument::TensorMap(value) => (&raw mut *value).cast(),
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        let _ = self.context.synchronize();
        for module in self.modules.get_mut().unwrap_or_else(PoisonError::into_inner).drain() {
            // SAFETY: the module is live, its kernels have ended, and its functions go with this value.
            let _ = unsafe { result::module::unload(module.1.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel reads at each pointer: the declared type's bytes.
    #[test]
    fn arguments_lie_where_their_pointers_say_with_the_size_that_a_kernel_reads() {
        let arguments = [
            (Argument::Input(0x1122_3344_5566_7788), 0x1122_3344_5566_7788_u64.to_ne_bytes().to_vec()),
            (Argument::Output(7), 7_u64.to_ne_bytes().to_vec()),
            (Argument::I32(-3), (-3_i32).to_ne_bytes().to_vec()),
            (Argument::U32(u32::MAX - 1), (u32::MAX - 1).to_ne_bytes().to_vec()),
            (Argument::I64(-5_000_000_000), (-5_000_000_000_i64).to_ne_bytes().to_vec()),
            (Argument::U64(u64::MAX - 9), (u64::MAX - 9).to_ne_bytes().to_vec()),
            (Argument::F32(-1.5), (-1.5_f32).to_ne_bytes().to_vec()),
            (Argument::Dropout([1, 2, 3, 4, 5, 6]), [1_u32, 2, 3, 4, 5, 6].iter().flat_map(|word| word.to_ne_bytes()).collect()),
        ];
        for (mut argument, expected) in arguments {
            let at = pointer(&mut argument).cast::<u8>().cast_const();
            // SAFETY: the pointer is into `argument`, whose value has as many bytes as its kind says.
            let read: Vec<u8> = (0..expected.len()).map(|byte| unsafe { at.add(byte).read() }).collect();
            assert_eq!(read, expected, "{argument:?}");
        }
    }
}
