//! Calls of the C++ side, `src/*.cpp`.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

use stepsynth_kernels::cuda::{Argument, Launch};

unsafe extern "C" {
    fn stepsynth_machine_new(shared_bytes: usize) -> *mut c_void;
    fn stepsynth_machine_delete(machine: *mut c_void);
    fn stepsynth_machine_set_order(machine: *mut c_void, order: u64);
    fn stepsynth_machine_set_output_check(machine: *mut c_void, check: c_int);
    fn stepsynth_machine_allocate(machine: *mut c_void, bytes: usize) -> u64;
    fn stepsynth_machine_release(machine: *mut c_void, address: u64);
    fn stepsynth_machine_forget(machine: *mut c_void, address: u64, bytes: usize);
    fn stepsynth_machine_copy_in(
        machine: *mut c_void,
        address: u64,
        from: *const u8,
        bytes: usize,
        error: *mut c_char,
        room: usize,
    ) -> c_int;
    fn stepsynth_machine_copy_out(
        machine: *mut c_void,
        address: u64,
        to: *mut u8,
        bytes: usize,
        error: *mut c_char,
        room: usize,
    ) -> c_int;
    fn stepsynth_kernel_kinds(name: *const c_char, kinds: *mut c_int, room: c_int) -> c_int;
    fn stepsynth_machine_launch(
        machine: *mut c_void,
        name: *const c_char,
        grid: *const c_uint,
        block: c_uint,
        shared: c_uint,
        arguments: *mut *mut c_void,
        error: *mut c_char,
        room: usize,
    ) -> c_int;
}

/// Most arguments a kernel may have.
const MOST_ARGUMENTS: usize = 64;

/// The emulator object of the C++ side.
pub(crate) struct Machine(*mut c_void);

// SAFETY: the C++ side belongs to no thread, and takes its own lock in every call.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

impl Machine {
    pub(crate) fn new(shared_bytes: u32) -> Self {
        // SAFETY: takes a number, returns an object that `drop` deletes.
        Self(unsafe { stepsynth_machine_new(shared_bytes as usize) })
    }

    pub(crate) fn set_order(&mut self, order: u64) {
        // SAFETY: the object is alive and nobody else uses it now.
        unsafe { stepsynth_machine_set_order(self.0, order) }
    }

    pub(crate) fn set_output_check(&mut self, check: bool) {
        // SAFETY: the object is alive and nobody else uses it now.
        unsafe { stepsynth_machine_set_output_check(self.0, check.into()) }
    }

    /// Address of new memory, or 0.
    pub(crate) fn allocate(&self, bytes: usize) -> u64 {
        // SAFETY: the object is alive.
        unsafe { stepsynth_machine_allocate(self.0, bytes) }
    }

    pub(crate) fn release(&self, address: u64) {
        // SAFETY: the object is alive; an address that is not an allocation is ignored.
        unsafe { stepsynth_machine_release(self.0, address) }
    }

    pub(crate) fn forget(&self, address: u64, bytes: usize) {
        // SAFETY: the object is alive; an address that is not an allocation is ignored, `bytes` is cut to its size.
        unsafe { stepsynth_machine_forget(self.0, address, bytes) }
    }

    pub(crate) fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        answer(|error, room| {
            // SAFETY: the object is alive, `bytes` and `error` have the lengths that are stated; `address` is checked there.
            unsafe { stepsynth_machine_copy_in(self.0, address, bytes.as_ptr(), bytes.len(), error, room) }
        })
    }

    pub(crate) fn zero(&self, address: u64, bytes: usize) -> Result<(), String> {
        answer(|error, room| {
            // SAFETY: as in `copy_in`; null stands for zeros.
            unsafe { stepsynth_machine_copy_in(self.0, address, std::ptr::null(), bytes, error, room) }
        })
    }

    pub(crate) fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        answer(|error, room| {
            // SAFETY: as in `copy_in`.
            unsafe { stepsynth_machine_copy_out(self.0, address, bytes.as_mut_ptr(), bytes.len(), error, room) }
        })
    }

    pub(crate) fn launch(&self, launch: &Launch) -> Result<(), String> {
        let name = CString::new(launch.kernel).expect("a kernel's name has no zero");
        let mut kinds = [0; MOST_ARGUMENTS];
        // SAFETY: `kinds` has the room that is stated.
        let count = unsafe { stepsynth_kernel_kinds(name.as_ptr(), kinds.as_mut_ptr(), MOST_ARGUMENTS as c_int) };
        let Ok(count) = usize::try_from(count) else {
            return Err("there is no such kernel".into());
        };
        let given: Vec<c_int> = launch.arguments.iter().map(kind).collect();
        if given[..] != kinds[..count] {
            return Err(format!("takes arguments {}, got {}", names(&kinds[..count]), names(&given)));
        }
        let mut arguments = launch.arguments.clone();
        let mut addresses: Vec<*mut c_void> = arguments.iter_mut().map(address).collect();
        answer(|error, room| {
            // SAFETY: the object is alive; number and kinds of the arguments are those of the kernel's declaration, and every
            // access of the kernel is checked against the allocations.
            unsafe {
                stepsynth_machine_launch(
                    self.0,
                    name.as_ptr(),
                    launch.grid.as_ptr(),
                    launch.block,
                    launch.shared_bytes,
                    addresses.as_mut_ptr(),
                    error,
                    room,
                )
            }
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: made by `new`, deleted once.
        unsafe { stepsynth_machine_delete(self.0) }
    }
}

/// Makes a call that says what is wrong into a buffer, and takes it from there.
fn answer(call: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<(), String> {
    let mut text = [0_u8; 1024];
    if call(text.as_mut_ptr().cast(), text.len()) == 0 {
        return Ok(());
    }
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    Err(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// Names of the kinds of arguments by the numbers that `Kind` in table.hpp gives them.
const KINDS: [&str; 8] = ["output", "input", "i32", "u32", "i64", "u64", "f32", "dropout"];

fn names(kinds: &[c_int]) -> String {
    let names: Vec<&str> = kinds.iter().map(|&kind| KINDS[kind as usize]).collect();
    format!("({})", names.join(", "))
}

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
        // Kernels that take one do not run here.
        Argument::TensorMap(_) => -1,
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
        Argument::TensorMap(value) => (&raw mut *value).cast(),
    }
}
