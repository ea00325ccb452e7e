//! Why there is no GPU to use.

use std::path::PathBuf;

/// Where NVRTC comes from, at the end of messages.
const HOW_TO_GET_NVRTC: &str =
    "get it with `pip install --target DIR nvidia-cuda-nvrtc-cu12` and set STEPSYNTH_NVRTC=DIR, or install the CUDA toolkit";

/// What keeps a GPU from being used, in one line with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The program was built without the feature `cuda`.
    #[error("this build has no CUDA support; build it with the feature `cuda`")]
    NotBuilt,
    /// There is no driver library.
    #[error("no NVIDIA driver here (libcuda.so.1 was not found)")]
    NoDriver,
    /// The driver library is there and reports an error.
    #[error("the NVIDIA driver does not work: {0}")]
    DriverFails(String),
    /// The driver is of a CUDA before 12.
    #[error("the NVIDIA driver is of CUDA {}.{}; update it to one of CUDA 12.0 or newer", .0.0, .0.1)]
    DriverTooOld((i32, i32)),
    /// There is no GPU with this number.
    #[error("there is no GPU {wanted}: the driver shows {count}, counted from 0 (CUDA_VISIBLE_DEVICES hides others)")]
    NoSuchDevice {
        /// Number asked for.
        wanted: usize,
        /// How many there are.
        count: usize,
    },
    /// The GPU is older than the kernels support.
    #[error("{name} has compute capability {}.{}; the kernels need 7.5 or newer", capability.0, capability.1)]
    DeviceTooOld {
        /// The GPU.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// NVRTC was not found.
    #[error("NVRTC, NVIDIA's compiler library, was not found in {searched}; {HOW_TO_GET_NVRTC}")]
    NoNvrtc {
        /// Where it was looked for.
        searched: String,
    },
    /// A library was found that cannot be used.
    #[error("{} cannot be used as NVRTC: {reason}; {HOW_TO_GET_NVRTC}", path.display())]
    BadNvrtc {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// NVRTC is older than the GPU.
    #[error("NVRTC {}.{} ({}) does not know {architecture}; use a newer one: {HOW_TO_GET_NVRTC}", version.0, version.1, path.display())]
    NvrtcTooOld {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: (i32, i32),
        /// The GPU's architecture.
        architecture: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_one_line_that_says_what_to_do() {
        let path = PathBuf::from("/opt/libnvrtc.so.12");
        let reasons = [
            (Unavailable::NotBuilt, "feature `cuda`"),
            (Unavailable::NoDriver, "libcuda.so.1"),
            (Unavailable::DriverFails("no CUDA-capable device is detected".into()), "no CUDA-capable device"),
            (Unavailable::DriverTooOld((11, 4)), "of CUDA 11.4; update it to one of CUDA 12.0"),
            (Unavailable::NoSuchDevice { wanted: 3, count: 1 }, "no GPU 3: the driver shows 1"),
            (Unavailable::DeviceTooOld { name: "Tesla P4".into(), capability: (6, 1) }, "Tesla P4 has compute capability 6.1"),
            (Unavailable::NoNvrtc { searched: "/usr/local/cuda".into() }, "pip install --target DIR nvidia-cuda-nvrtc-cu12"),
            (
                Unavailable::BadNvrtc { path: path.clone(), reason: "no nvrtcGetCUBIN".into() },
                "/opt/libnvrtc.so.12 cannot be used",
            ),
            (
                Unavailable::NvrtcTooOld { path, version: (12, 0), architecture: "sm_120".into() },
                "NVRTC 12.0 (/opt/libnvrtc.so.12) does not know sm_120",
            ),
        ];
        for (reason, part) in reasons {
            let text = reason.to_string();
            assert!(text.contains(part) && !text.contains('\n'), "{text}");
        }
    }
}
