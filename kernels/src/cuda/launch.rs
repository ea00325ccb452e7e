//! Builds a launch from tensors, so that lengths and aliasing are the borrow checker's and the operation's business.

use stepsynth_core::backend::Dropout;
use stepsynth_core::{Error, Result};

use super::backend::Cuda;
use super::device::{Argument, Device, Launch};
use super::memory::Memory;
use super::tensor::{Format, Indices, Tensor};

/// A kernel call in the making; arguments are given in the order of the kernel's declaration.
#[must_use]
pub(super) struct Call<'a, D> {
    cuda: &'a Cuda<D>,
    launch: Launch,
    error: Option<Error>,
}

impl<'a, D: Device> Call<'a, D> {
    /// A call of `kernel` in the file `source` for the backend's operation `op`: one block of 256 threads.
    pub(super) fn new(cuda: &'a Cuda<D>, op: &'static str, source: &'static str, kernel: &'static str) -> Self {
        let launch = Launch { op, source, kernel, grid: [1; 3], block: 256, shared_bytes: 0, arguments: Vec::with_capacity(16) };
        Self { cuda, launch, error: None }
    }

    /// Blocks along x, y, z.
    pub(super) fn grid(mut self, x: usize, y: usize, z: usize) -> Self {
        self.launch.grid = [x, y, z].map(|blocks| u32::try_from(blocks).expect("a grid fits 32 bits"));
        self
    }

    /// Threads of a block.
    pub(super) fn block(mut self, threads: u32) -> Self {
        self.launch.block = threads;
        self
    }

    /// Bytes of dynamic shared memory.
    pub(super) fn shared(mut self, bytes: usize) -> Self {
        self.launch.shared_bytes = u32::try_from(bytes).expect("shared memory fits 32 bits");
        self
    }

    /// A tensor that is read.
    pub(super) fn input(mut self, tensor: &Tensor) -> Self {
        match &tensor.storage {
            Some(storage) => self.launch.arguments.push(Argument::Input(storage.memory.address())),
            None => {
                self.error = Some(self.cuda.fault(format!("{}: an input was never written", self.launch.op)));
            }
        }
        self
    }

    /// A tensor that is read, or null.
    pub(super) fn maybe_input(mut self, tensor: Option<&Tensor>) -> Self {
        match tensor {
            Some(tensor) => self.input(tensor),
            None => {
                self.launch.arguments.push(Argument::Input(0));
                self
            }
        }
    }

    /// A tensor whose old contents do not matter; it gets memory of this format.
    pub(super) fn output(mut self, tensor: &mut Tensor, format: Format) -> Self {
        match self.cuda.prepare(tensor, format) {
            Ok(address) => self.launch.arguments.push(Argument::Output(address)),
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// A tensor as [`output`](Self::output) takes it, or null.
    pub(super) fn maybe_output(mut self, tensor: Option<&mut Tensor>, format: Format) -> Self {
        match tensor {
            Some(tensor) => self.output(tensor, format),
            None => {
                self.launch.arguments.push(Argument::Output(0));
                self
            }
        }
    }

    /// A tensor that is read and written.
    pub(super) fn update(mut self, tensor: &mut Tensor) -> Self {
        match &mut tensor.storage {
            Some(storage) => self.launch.arguments.push(Argument::Output(storage.address_to_write())),
            None => {
                self.error = Some(self.cuda.fault(format!("{}: a tensor to update was never written", self.launch.op)));
            }
        }
        self
    }

    /// A matrix of bf16 that the copy engine reads.
    pub(super) fn boxes(mut self, tensor: &Tensor) -> Self {
        let Some(storage) = &tensor.storage else { return self.input(tensor) };
        match self.cuda.device().tensor_map(storage.memory.address(), tensor.rows, tensor.columns) {
            Ok(map) => self.launch.arguments.push(Argument::TensorMap(map)),
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// A tensor that is read and written, or null.
    pub(super) fn maybe_update(mut self, tensor: Option<&mut Tensor>) -> Self {
        match tensor {
            Some(tensor) => self.update(tensor),
            None => {
                self.launch.arguments.push(Argument::Output(0));
                self
            }
        }
    }

    /// Memory without a tensor that is written.
    pub(super) fn write_scratch(mut self, memory: &Memory) -> Self {
        self.launch.arguments.push(Argument::Output(memory.address()));
        self
    }

    /// Memory without a tensor that is read.
    pub(super) fn read_scratch(mut self, memory: &Memory) -> Self {
        self.launch.arguments.push(Argument::Input(memory.address()));
        self
    }

    /// Indices, read.
    pub(super) fn indices(mut self, indices: &Indices) -> Self {
        self.launch.arguments.push(Argument::Input(indices.memory.address()));
        self
    }

    /// A count or size that the kernel takes as `int`.
    pub(super) fn int(mut self, value: usize) -> Self {
        self.launch.arguments.push(Argument::I32(i32::try_from(value).expect("a size fits 31 bits")));
        self
    }

    /// A count that the kernel takes as `i64`.
    pub(super) fn long(mut self, value: usize) -> Self {
        self.launch.arguments.push(Argument::I64(value as i64));
        self
    }

    /// A number.
    pub(super) fn float(mut self, value: f64) -> Self {
        self.launch.arguments.push(Argument::F32(value as f32));
        self
    }

    /// A dropout mask; none keeps everything.
    pub(super) fn dropout(mut self, dropout: Option<&Dropout>) -> Self {
        let words = dropout.map_or([0, 0, 0, 0, 0, 1.0_f32.to_bits()], |dropout| {
            let (key, purpose) = dropout.stream.words();
            [key[0], key[1], purpose[0], purpose[1], dropout.threshold, (dropout.scale as f32).to_bits()]
        });
        self.launch.arguments.push(Argument::Dropout(words));
        self
    }

    /// Puts the call on the device's stream.
    pub(super) fn run(self) -> Result<()> {
        match self.error {
            Some(error) => Err(error),
            None => self.cuda.device().launch(&self.launch),
        }
    }
}
