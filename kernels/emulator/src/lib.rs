//! A [`Device`] on the host: kernels of `kernels/cu` run with a block's threads as fibres, and every access is checked.

#![expect(unsafe_code, reason = "the C++ side is called here and nowhere else")]

use std::ffi::{CString, c_char, c_int, c_void};

use stepsynth_core::{Error, Result};
use stepsynth_kernels::cuda::{Argument, Device, Launch, Properties};

unsafe extern "C" {
    fn emulator_allocate(bytes: usize) -> u64;
    fn emulator_free(address: u64);
    fn emulator_kinds(name: *const c_char, kinds: *mut c_int, room: c_int) -> c_int;
    fn emulator_launch(
        name: *const c_char,
        grid: *const u32,
        block: u32,
        shared: u32,
        arguments: *mut *mut c_void,
        error: *mut c_char,
        room: usize,
    ) -> c_int;
}

/// The emulated device.
pub struct Emulator {
    properties: Properties,
}

impl Emulator {
    /// A device that claims this compute capability, which decides the tier of kernels.
    pub fn new(capability: (u32, u32)) -> Self {
        Self {
            properties: Properties {
                name: "emulator".into(),
                capability,
                // Few, so that loops that stride by the grid go round more than once.
                multiprocessors: 2,
                shared_bytes: 227 * 1024,
                memory_bytes: 1 << 30,
            },
        }
    }
}

fn fault(message: String) -> Error {
    Error::Device { device: "emulator".into(), message }
}

/// The number that `Kind` in emulator.hpp gives this argument.
fn kind(argument: &Argument) -> c_int {
    match argument {
        Argument::Output(_) => 0,
        Argument::Input(_) => 1,
        Argument::I32(_) => 2,
        Argument::U32(_) => 3,
        Argument::I64(_) => 4,
        Argument::U64(_) => 5,
        Argument::F32(_) => 6,
        Argument::Dropout(_) => 7,
    }
}

fn address(argument: &mut Argument) -> *mut c_void {
    match argument {
        Argument::Input(value) | Argument::Output(value) | Argument::U64(value) => (&raw mut *value).cast(),
        Argument::I32(value) => (&raw mut *value).cast(),
        Argument::U32(value) => (&raw mut *value).cast(),
        Argument::I64(value) => (&raw mut *value).cast(),
        Argument::F32(value) => (&raw mut *value).cast(),
        Argument::Dropout(value) => (&raw mut *value).cast(),
    }
}

impl Device for Emulator {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        // SAFETY: takes a number, touches memory of its own alone.
        match unsafe { emulator_allocate(bytes) } {
            0 => Err(fault(format!("no memory for {bytes} bytes"))),
            address => Ok(address),
        }
    }

    fn release(&self, address: u64) {
        // SAFETY: an address that is not an allocation is ignored.
        unsafe { emulator_free(address) }
    }

    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: `address` is an allocation of at least that many bytes (the pool's), distinct from `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) }
        Ok(())
    }

    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: as in `copy_in`.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) }
        Ok(())
    }

    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        // SAFETY: as in `copy_in`.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, bytes) }
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        let name = CString::new(launch.kernel).expect("a kernel's name has no zero");
        let mut kinds = [0; 64];
        // SAFETY: `kinds` has the room that is stated.
        let count = unsafe { emulator_kinds(name.as_ptr(), kinds.as_mut_ptr(), 64) };
        if count < 0 {
            return Err(fault(format!("{}: there is no kernel {}", launch.op, launch.kernel)));
        }
        let given: Vec<c_int> = launch.arguments.iter().map(kind).collect();
        if given[..] != kinds[..count as usize] {
            let declared = &kinds[..count as usize];
            return Err(fault(format!("{}: {} takes {declared:?}, got {given:?}", launch.op, launch.kernel)));
        }
        let mut arguments = launch.arguments.clone();
        let mut addresses: Vec<*mut c_void> = arguments.iter_mut().map(address).collect();
        let mut error = [0_u8; 512];
        // SAFETY: number and kinds of the arguments were checked against the kernel's declaration; every access of the
        // kernel is checked against the allocations.
        let status = unsafe {
            emulator_launch(
                name.as_ptr(),
                launch.grid.as_ptr(),
                launch.block,
                launch.shared_bytes,
                addresses.as_mut_ptr(),
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if status == 0 {
            return Ok(());
        }
        let end = error.iter().position(|&byte| byte == 0).unwrap_or(error.len());
        Err(fault(format!("{} in {}: {}", launch.kernel, launch.op, String::from_utf8_lossy(&error[..end]))))
    }
}
