//! Which instructions the matrix products use, chosen when a backend is made.

use std::fmt;
use std::str::FromStr;

use stepsynth_core::{Error, Result};

/// Names the instructions to use, in place of the best ones of the machine.
pub(crate) const VARIABLE: &str = "STEPSYNTH_CPU";

/// Numbers that the linear layers multiply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything in `f32`.
    #[default]
    F32,
    /// Both operands of a linear layer's products are rounded to bfloat16 (to nearest, ties to even; subnormal numbers to
    /// zero) and their products summed in `f32`. All tensors stay `f32`, and so does all other arithmetic.
    Bf16,
}

/// A set of vector instructions that the backend can compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What the compiler makes of plain loops for its target, such as NEON on aarch64.
    Portable,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512; bfloat16 is emulated: the same rounding at the speed of `f32`.
    Avx512,
    /// AVX-512 with its bfloat16 dot products.
    Avx512Bf16,
    /// The AMX tile unit for bfloat16, AVX-512 for `f32`.
    Amx,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// Name as in the environment variable `STEPSYNTH_CPU`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            Self::Avx512Bf16 => Self::Avx512.is_available() && is_x86_feature_detected!("avx512bf16"),
            Self::Amx => Self::Avx512Bf16.is_available() && super::amx::available(),
        }
        #[cfg(not(target_arch = "x86_64"))]
        matches!(self, Self::Portable)
    }

    /// Whether it multiplies pairs of bfloat16.
    pub(super) fn multiplies_pairs(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::Amx)
    }

    /// Itself, if this machine has it.
    ///
    /// # Errors
    /// [`Error::Device`] otherwise.
    pub(crate) fn checked(self) -> Result<Self> {
        if self.is_available() { Ok(self) } else { Err(failure("this machine lacks", self.name())) }
    }

    /// What this machine has, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The one that the environment variable `STEPSYNTH_CPU` names, or the fastest of this machine but for [`Isa::Amx`], which
    /// has to be asked for until it has run on hardware.
    ///
    /// # Errors
    /// [`Error::Device`] if the variable names none, or one that this machine lacks.
    pub fn choose() -> Result<Self> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::available().filter(|&isa| isa != Self::Amx).last().unwrap_or(Self::Portable)),
            Some(name) => name.to_string_lossy().parse(),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    /// One that this machine has, by its name.
    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|isa| isa.name() == name);
        known.ok_or_else(|| failure("there are no instructions named", name))?.checked()
    }
}

fn failure(problem: &str, name: &str) -> Error {
    let names: Vec<_> = Isa::available().map(Isa::name).collect();
    let message = format!("{problem} `{name}`; set {VARIABLE} to one of {}, or leave it unset", names.join(", "));
    Error::Device { device: "cpu".into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for isa in Isa::available() {
            assert_eq!(isa.name().parse::<Isa>().unwrap(), isa);
        }
        assert!(Isa::Portable.is_available());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_what_there_is() {
        let message = "avx9".parse::<Isa>().unwrap_err().to_string();
        assert!(message.contains("no instructions named `avx9`") && message.contains("portable"), "{message}");
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
            let message = isa.name().parse::<Isa>().unwrap_err().to_string();
            assert!(message.contains("this machine lacks"), "{message}");
        }
    }
}
