//! Stands for the driver's device in builds without the feature `cuda`: it is never there.

use stepsynth_core::Result;

use super::device::{About, Device, Launch, Properties};
use super::unavailable::Unavailable;

/// A GPU, of which this build has none.
pub enum Driver {}

impl Driver {
    /// Opens no GPU.
    ///
    /// # Errors
    /// Always.
    pub fn open(_ordinal: usize) -> Result<Self, Unavailable> {
        Err(Unavailable::NotBuilt)
    }

    /// What people want to know of it.
    pub fn about(&self) -> About {
        match *self {}
    }

    /// Seconds that the device takes for what `work` puts on the stream.
    ///
    /// # Errors
    /// None: there is no such device.
    pub fn seconds(&self, _work: impl FnOnce() -> Result<()>) -> Result<f64> {
        match *self {}
    }

    /// Bytes a second of a large copy.
    ///
    /// # Errors
    /// None: there is no such device.
    pub fn copy_rate(&self) -> Result<f64> {
        match *self {}
    }
}

impl Device for Driver {
    fn properties(&self) -> &Properties {
        match *self {}
    }

    fn allocate(&self, _bytes: usize) -> Result<u64> {
        match *self {}
    }

    fn release(&self, _address: u64) {
        match *self {}
    }

    fn copy_in(&self, _address: u64, _bytes: &[u8]) -> Result<()> {
        match *self {}
    }

    fn copy_out(&self, _address: u64, _bytes: &mut [u8]) -> Result<()> {
        match *self {}
    }

    fn zero(&self, _address: u64, _bytes: usize) -> Result<()> {
        match *self {}
    }

    fn launch(&self, _launch: &Launch) -> Result<()> {
        match *self {}
    }
}
