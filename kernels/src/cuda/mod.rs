//! The student on a GPU: hand-written CUDA kernels (`kernels/cu`) behind [`Backend`](stepsynth_core::backend::Backend).
//!
//! [`Cuda`] is written over a [`Device`], which holds memory and launches kernels by name. The driver's device is a GPU; the
//! emulator (`kernels/emulator`, tests only) compiles the same sources for the host and checks every access. An operation's
//! file here sits beside its source: `layer_norm.rs` launches what `layer_norm.cu` holds.

mod activation;
mod attention;
mod backend;
mod device;
#[cfg(feature = "cuda")]
pub mod driver;
#[cfg(not(feature = "cuda"))]
#[path = "no_driver.rs"]
pub mod driver;
mod elementwise;
mod embed;
mod launch;
mod layer_norm;
mod linear;
mod linear_head;
mod linear_plan;
mod loss;
mod memory;
mod optimizer;
mod rows;
mod source;
mod tensor;
mod unavailable;

pub use backend::Cuda;
pub use device::{About, Argument, Device, Launch, Properties, Tier};
pub use source::{HEADERS, SOURCES, Source};
pub use tensor::{Format, Indices, Tensor};
pub use unavailable::Unavailable;
