//! Where students run: `--device`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use stepsynth_core::backend::Backend as _;
use stepsynth_core::reference::Reference;
use stepsynth_kernels::cpu::{self, Cpu, Isa};
use stepsynth_kernels::cuda::driver::Driver;
use stepsynth_kernels::cuda::{Cuda, Unavailable};

use crate::experiment::settings::Precision;
use crate::failure::Failure;

/// What `--device` may say.
const CHOICES: &str = "`auto`, `cpu`, `cuda`, `cuda:N` or `reference`";

/// Where students run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The CPU. A GPU has to be asked for until the kernels have run on one: they were checked by the emulator alone.
    #[default]
    Auto,
    /// The fast CPU backend.
    Cpu,
    /// The GPU with this number, counted from 0.
    Cuda(usize),
    /// The plain reference in f32: slow, for comparisons.
    Reference,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("`{name}`: `{text}` is not the number of a GPU; use cuda:0"));
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "reference" => Ok(Self::Reference),
            _ => match name.strip_prefix("cuda:") {
                Some(text) => number(text).map(Self::Cuda),
                None => Err(format!("`{name}` is not a device; use {CHOICES}")),
            },
        }
    }
}

impl Device {
    /// Replaces `auto` by what it stands for on this machine.
    pub fn resolve(self) -> Self {
        if self == Self::Auto { Self::Cpu } else { self }
    }

    /// Name of the device, as its backend names it in f32.
    ///
    /// # Errors
    /// If the backend cannot start.
    pub fn name(self) -> Result<String> {
        Ok(match self.resolve() {
            Self::Auto | Self::Cpu => cpu(1, Precision::F32)?.name(),
            Self::Cuda(ordinal) => gpu(ordinal, Precision::F32)?.name(),
            Self::Reference => Reference::<f32>::new().name(),
        })
    }

    /// Tokens of a batch that only predicts: enough to keep the device busy; on a CPU small enough to stay in its cache.
    pub(super) fn inference_tokens(self) -> usize {
        match self {
            Self::Cuda(_) => 32_768,
            Self::Auto | Self::Cpu | Self::Reference => 2048,
        }
    }
}

/// The fast CPU backend.
pub(super) fn cpu(threads: usize, precision: Precision) -> Result<Cpu> {
    Ok(Cpu::with_isa(threads, of_kernels(precision), isa()?)?)
}

fn of_kernels(precision: Precision) -> cpu::Precision {
    match precision {
        Precision::F32 => cpu::Precision::F32,
        Precision::Bf16 => cpu::Precision::Bf16,
    }
}

/// The instructions of the fast CPU backend, for `doctor`.
///
/// # Errors
/// [`Failure::Usage`] if the environment asks for instructions that there are not.
pub fn isa() -> Result<Isa> {
    Isa::choose().map_err(|error| Failure::Usage(error.to_string()).into())
}

/// The reference backend.
pub(super) fn reference(precision: Precision) -> Result<Reference<f32>> {
    match precision {
        Precision::F32 => Ok(Reference::new()),
        Precision::Bf16 => Err(Failure::usage("device reference computes in f32 alone; leave precision at f32")),
    }
}

/// The backend of a GPU, for someone who asked for it.
pub(super) fn gpu(ordinal: usize, precision: Precision) -> Result<Arc<Cuda<Driver>>> {
    cuda(ordinal, precision).map_err(|reason| Failure::Usage(format!("device cuda:{ordinal}: {reason}")).into())
}

/// The backend of a GPU. It is opened once for the whole program: its memory and its compiled kernels are shared by all
/// students.
///
/// # Errors
/// If there is no such GPU or it cannot be used.
pub fn cuda(ordinal: usize, precision: Precision) -> Result<Arc<Cuda<Driver>>, Unavailable> {
    type Opened = BTreeMap<(usize, bool), Arc<Cuda<Driver>>>;
    static OPENED: Mutex<Opened> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (ordinal, precision == Precision::Bf16);
    if let Some(cuda) = opened.get(&key) {
        return Ok(Arc::clone(cuda));
    }
    let cuda = Arc::new(Cuda::new(Driver::open(ordinal)?, of_kernels(precision)));
    opened.insert(key, Arc::clone(&cuda));
    Ok(cuda)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_the_help_says() {
        let parsed = |name: &str| name.parse::<Device>();
        assert_eq!(parsed("auto"), Ok(Device::Auto));
        assert_eq!(
            (parsed("cuda"), parsed("cuda:0"), parsed("cuda:12")),
            (Ok(Device::Cuda(0)), Ok(Device::Cuda(0)), Ok(Device::Cuda(12)))
        );
        for (name, part) in [
            ("gpu", CHOICES),
            ("cuda:", "`` is not the number of a GPU"),
            ("cuda:-1", "`-1` is not the number"),
            ("CPU", "`CPU` is not"),
        ] {
            let error = parsed(name).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    /// Whatever this machine has: what is asked for and missing is a usage error in one line; `auto` is never an error.
    #[test]
    fn a_gpu_that_is_not_there_is_a_usage_error() {
        let error = match gpu(4096, Precision::F32) {
            Ok(_) => panic!("there is no GPU 4096"),
            Err(error) => error,
        };
        assert!(error.to_string().starts_with("device cuda:4096: "), "{error}");
        assert_eq!(Failure::exit_code(&error), 2);
        assert_ne!(Device::Auto.resolve(), Device::Auto);
        assert!(Device::Auto.name().is_ok());
    }
}
