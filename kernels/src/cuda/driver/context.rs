//! The driver's side of a device: what it is, its context and the one stream, and time on that stream.

#![expect(unsafe_code, reason = "the driver's C interface")]

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use crate::cuda::device::Properties;
use crate::cuda::unavailable::Unavailable;

/// The oldest driver, by the CUDA that it supports: the bindings' version.
const OLDEST_DRIVER: (i32, i32) = (12, 0);

/// The oldest GPUs that the kernels are written for.
const OLDEST_DEVICE: (u32, u32) = (7, 5);

/// What the driver says of itself and of one GPU.
pub(super) struct Found {
    handle: sys::CUdevice,
    pub(super) properties: Properties,
    pub(super) driver: (i32, i32),
}

/// Looks for GPU `ordinal`.
pub(super) fn find(ordinal: usize) -> Result<Found, Unavailable> {
    let fails = |error: DriverError| Unavailable::DriverFails(describe(error));
    // SAFETY: opens and closes the driver's library, which may be loaded at any time. Without it every call below would panic.
    if !unsafe { sys::is_culib_present() } {
        return Err(Unavailable::NoDriver);
    }
    result::init().map_err(fails)?;
    let mut version = 0;
    // SAFETY: the pointer is to a live integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(fails)?;
    let driver = (version / 1000, version % 1000 / 10);
    if driver < OLDEST_DRIVER {
        return Err(Unavailable::DriverTooOld(driver));
    }
    let count = usize::try_from(result::device::get_count().map_err(fails)?).unwrap_or(0);
    if ordinal >= count {
        return Err(Unavailable::NoSuchDevice { wanted: ordinal, count });
    }
    let handle = result::device::get(ordinal as i32).map_err(fails)?;
    let name = result::device::get_name(handle).map_err(fails)?;
    let attribute = |attribute: Attribute| {
        // SAFETY: the handle is the driver's.
        let value = unsafe { result::device::get_attribute(handle, attribute) };
        value.map(|value| value.unsigned_abs()).map_err(fails)
    };
    let capability = (
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    if capability < OLDEST_DEVICE {
        return Err(Unavailable::DeviceTooOld { name, capability });
    }
    let properties = Properties {
        name,
        capability,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        // SAFETY: the handle is the driver's.
        memory_bytes: unsafe { result::device::total_mem(handle) }.map_err(fails)? as u64,
    };
    Ok(Found { handle, properties, driver })
}

/// The device's primary context and a stream in it.
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
}

// SAFETY: contexts and streams may be used from any thread; the driver locks what it has to. What is specific to a thread is
// the current context, which `enter` sets before each use.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    pub(super) fn open(found: &Found) -> Result<Self, DriverError> {
        let device = found.handle;
        // SAFETY: the handle is the driver's; the context is released when this value is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }?;
        let mut opened = Self { device, context, stream: std::ptr::null_mut() };
        opened.enter()?;
        // Nothing else runs on the legacy stream; this one does not wait for it.
        opened.stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        Ok(opened)
    }

    /// Makes the context this thread's.
    pub(super) fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context is retained as long as this value lives.
        unsafe { result::ctx::set_current(self.context) }
    }

    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// Waits for everything on the stream.
    pub(super) fn synchronize(&self) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the stream is live.
        unsafe { result::stream::synchronize(self.stream) }
    }

    /// Free and total memory in bytes.
    pub(super) fn memory(&self) -> Result<(usize, usize), DriverError> {
        self.enter()?;
        result::mem_get_info()
    }

    /// A mark on the stream, after everything on it so far.
    pub(super) fn mark(&self) -> Result<Mark, DriverError> {
        self.enter()?;
        let mark = Mark(result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)?);
        self.record(&mark)?;
        Ok(mark)
    }

    /// Sets the mark again, after everything on the stream so far.
    pub(super) fn record(&self, mark: &Mark) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: event and stream are live and of this context.
        unsafe { result::event::record(mark.0, self.stream) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Errors that were not seen yet are of no use to anyone now.
        let _ = self.synchronize();
        if !self.stream.is_null() {
            // SAFETY: the stream is live and not used after.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        // SAFETY: retained by `open`, released once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// An event of the driver. It does not outlive its context: every owner of marks is dropped before.
pub(super) struct Mark(sys::CUevent);

// SAFETY: events may be used from any thread.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    /// Waits until the stream has passed it.
    pub(super) fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the event is live.
        unsafe { result::event::synchronize(self.0) }
    }

    /// Seconds from this mark to a later one; both have passed.
    pub(super) fn seconds_to(&self, later: &Self) -> Result<f64, DriverError> {
        // SAFETY: both events are live.
        unsafe { result::event::elapsed(self.0, later.0) }.map(|milliseconds| f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: the event is live and not used after; the driver waits where it has to.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// An error of the driver in its own words.
pub(super) fn describe(error: DriverError) -> String {
    let text = |found: Result<&std::ffi::CStr, DriverError>| found.ok().map(|text| text.to_string_lossy().into_owned());
    let (name, words) = (text(error.error_name()), text(error.error_string()));
    match (words, name) {
        (Some(words), Some(name)) => format!("{words} ({name})"),
        _ => format!("error {}", error.0 as u32),
    }
}
