//! [`Backend`] for [`Cuda`]: every operation is in the file named after it.

use std::sync::Arc;

use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, InputGradient, expect_shape};
use stepsynth_core::{Error, Result};

use super::linear::Finish;
use super::memory::{Memory, Pool};
use super::optimizer::Tables;
use super::tensor::Storage;
use super::{
    Device, Format, Indices, Tensor, activation, attention, elementwise, embed, layer_norm, linear, loss, optimizer, rows,
};
use crate::Precision;

/// The backend over a device.
pub struct Cuda<D> {
    device: Arc<D>,
    pool: Arc<Pool>,
    precision: Precision,
    tables: Tables,
}

impl<D: Device> Cuda<D> {
    /// Runs on `device`. In [`Precision::Bf16`] activations are stored and products taken in bf16, sums, parameters and
    /// parameters' gradients in f32.
    pub fn new(device: D, precision: Precision) -> Self {
        let device = Arc::new(device);
        Self { pool: Pool::new(Arc::clone(&device) as Arc<dyn Device>), device, precision, tables: Tables::default() }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Numbers in which linear layers multiply and activations are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How activations and their gradients are stored.
    pub(super) fn activations(&self) -> Format {
        match self.precision {
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
        }
    }

    /// Blocks for a loop over `count` items that strides by the grid: enough to fill the device, no more than needed.
    pub(super) fn blocks(&self, count: usize, threads: usize) -> usize {
        let full = self.device.properties().multiprocessors as usize * (2048 / threads);
        count.div_ceil(threads).clamp(1, full.max(1))
    }

    /// Gives `tensor` memory of this format if it has none, and returns the address.
    pub(super) fn prepare(&self, tensor: &mut Tensor, format: Format) -> Result<u64> {
        let bytes = tensor.count() * format.bytes();
        let storage = match tensor.storage.take() {
            Some(storage) if storage.format == format => storage,
            _ => Storage::new(format, self.pool.take(bytes)?),
        };
        Ok(tensor.storage.insert(storage).address_to_write())
    }

    /// Memory for what lives as long as an operation.
    pub(super) fn memory(&self, bytes: usize) -> Result<Memory> {
        self.pool.take(bytes)
    }

    /// Memory that holds `bytes`, for what kernels read beside tensors.
    pub(super) fn memory_with(&self, bytes: &[u8]) -> Result<Memory> {
        let memory = self.memory(bytes.len())?;
        self.device.copy_in(memory.address(), bytes)?;
        Ok(memory)
    }

    /// Tables of the operations that work on many tensors at once.
    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// How `tensor` is stored.
    pub(super) fn format_of(&self, op: &str, tensor: &Tensor) -> Result<Format> {
        tensor.format().ok_or_else(|| self.fault(format!("{op}: a tensor was never written")))
    }

    /// Checks that tensors that are updated in f32 are kept in f32: parameters, their gradients and moments.
    pub(super) fn expect_f32(&self, op: &str, tensors: &[&Tensor]) -> Result<()> {
        for tensor in tensors {
            if self.format_of(op, tensor)? != Format::F32 {
                return Err(self.fault(format!("{op}: parameters and their gradients are kept in f32")));
            }
        }
        Ok(())
    }

    /// The format that all these tensors have.
    pub(super) fn same_format(&self, op: &str, first: &Tensor, others: &[&Tensor]) -> Result<Format> {
        let of = |tensor: &Tensor| tensor.storage.as_ref().map(|storage| storage.format);
        let format = of(first).ok_or_else(|| self.fault(format!("{op}: a tensor was never written")))?;
        if others.iter().all(|other| of(other) == Some(format)) {
            Ok(format)
        } else {
            Err(self.fault(format!("{op}: tensors are stored in different formats")))
        }
    }

    /// An error of this device.
    pub(super) fn fault(&self, message: String) -> Error {
        Error::Device { device: self.name(), message }
    }
}

/// The values as the device holds them.
pub(super) fn bytes_of<const N: usize, T: Copy>(values: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

impl<D: Device> Backend for Cuda<D> {
    type Scalar = f32;
    type Tensor = Tensor;
    type Indices = Indices;

    fn name(&self) -> String {
        match self.precision {
            Precision::F32 => "cuda".into(),
            Precision::Bf16 => "cuda-bf16".into(),
        }
    }

    fn empty(&self, rows: usize, columns: usize) -> Result<Tensor> {
        Ok(Tensor::unwritten(rows, columns))
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Tensor> {
        let mut tensor = self.empty(rows, columns)?;
        self.prepare(&mut tensor, Format::F32)?;
        self.clear(&mut tensor)?;
        Ok(tensor)
    }

    fn upload(&self, rows: usize, columns: usize, host: &[f32]) -> Result<Tensor> {
        expect_shape("upload", "host data", (1, host.len()), (1, rows * columns))?;
        let mut tensor = self.empty(rows, columns)?;
        let address = self.prepare(&mut tensor, Format::F32)?;
        self.device.copy_in(address, &bytes_of(host, f32::to_ne_bytes))?;
        Ok(tensor)
    }

    fn upload_indices(&self, host: &[i32]) -> Result<Indices> {
        let memory = self.memory_with(&bytes_of(host, i32::to_ne_bytes))?;
        Ok(Indices { host: host.to_vec(), memory, sorted: Default::default() })
    }

    fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let Some(storage) = &tensor.storage else {
            return Err(self.fault("download: the tensor was never written".into()));
        };
        let mut bytes = vec![0; tensor.count() * storage.format.bytes()];
        self.device.copy_out(storage.memory.address(), &mut bytes)?;
        Ok(match storage.format {
            Format::F32 => bytes.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect(),
            Format::Bf16 => {
                let bits = bytes.as_chunks().0.iter().map(|&bytes| u16::from_ne_bytes(bytes));
                bits.map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()
            }
        })
    }

    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        tensor.shape()
    }

    fn clear(&self, tensor: &mut Tensor) -> Result<()> {
        let format = tensor.storage.as_ref().map_or(self.activations(), |storage| storage.format);
        let address = self.prepare(tensor, format)?;
        self.device.zero(address, tensor.count() * format.bytes())
    }

    fn embed(
        &self,
        out: &mut Tensor,
        batch: &DeviceBatch<Indices>,
        word: &Tensor,
        position: &Tensor,
        token_type: Option<&Tensor>,
    ) -> Result<()> {
        embed::forward(self, out, batch, word, position, token_type)
    }

    fn embed_backward(
        &self,
        d_word: &mut Tensor,
        d_position: &mut Tensor,
        d_token_type: Option<&mut Tensor>,
        d_out: &Tensor,
        batch: &DeviceBatch<Indices>,
    ) -> Result<()> {
        embed::backward(self, d_word, d_position, d_token_type, d_out, batch)
    }

    fn linear(&self, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
        let finish = Finish { bias: b, activation: None, dropout: None, residual: None };
        linear::forward(self, "linear", y, None, x, w, &finish)
    }

    fn linear_activation(
        &self,
        y: &mut Tensor,
        inner: Option<&mut Tensor>,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        kind: Activation,
    ) -> Result<()> {
        let finish = Finish { bias: b, activation: Some(kind), dropout: None, residual: None };
        linear::forward(self, "linear_activation", y, inner, x, w, &finish)
    }

    fn linear_residual(
        &self,
        y: &mut Tensor,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        dropout: Option<&Dropout>,
        residual: &Tensor,
    ) -> Result<()> {
        let finish = Finish { bias: b, activation: None, dropout, residual: Some(residual) };
        linear::forward(self, "linear_residual", y, None, x, w, &finish)
    }

    fn linear_backward(
        &self,
        d_x: Option<&mut Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        linear::backward(self, "linear_backward", d_x, None, d_w, d_b, d_y, x, w)
    }

    fn linear_backward_into(
        &self,
        d_x: &mut Tensor,
        then: InputGradient<'_, Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        linear::backward(self, "linear_backward_into", Some(d_x), Some(then), d_w, d_b, d_y, x, w)
    }

    fn layer_norm(
        &self,
        y: &mut Tensor,
        stats: &mut Tensor,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        epsilon: f64,
    ) -> Result<()> {
        layer_norm::forward(self, y, stats, x, gamma, beta, epsilon)
    }

    fn layer_norm_backward(
        &self,
        d_x: &mut Tensor,
        d_gamma: &mut Tensor,
        d_beta: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        stats: &Tensor,
        gamma: &Tensor,
    ) -> Result<()> {
        layer_norm::backward(self, d_x, d_gamma, d_beta, d_y, x, stats, gamma)
    }

    fn activation(&self, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        activation::forward(self, y, x, kind)
    }

    fn activation_backward(&self, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        activation::backward(self, d_x, d_y, x, kind)
    }

    fn attention(
        &self,
        out: &mut Tensor,
        lse: &mut Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::forward(self, out, lse, qkv, batch, heads, dropout)
    }

    fn attention_backward(
        &self,
        d_qkv: &mut Tensor,
        d_out: &Tensor,
        out: &Tensor,
        lse: &Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::backward(self, d_qkv, d_out, out, lse, qkv, batch, heads, dropout)
    }

    fn dropout(&self, y: &mut Tensor, dropout: &Dropout) -> Result<()> {
        elementwise::dropout(self, y, dropout)
    }

    fn copy(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        elementwise::copy(self, y, x)
    }

    fn add(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        elementwise::add(self, y, x)
    }

    fn gather_rows(&self, out: &mut Tensor, x: &Tensor, rows: &Indices) -> Result<()> {
        rows::gather(self, out, x, rows)
    }

    fn scatter_rows(&self, d_x: &mut Tensor, d_out: &Tensor, rows: &Indices) -> Result<()> {
        rows::scatter(self, d_x, d_out, rows)
    }

    fn cross_entropy(&self, losses: &mut Tensor, d_logits: &mut Tensor, logits: &Tensor, labels: &Indices) -> Result<()> {
        loss::cross_entropy(self, losses, d_logits, logits, labels)
    }

    fn span_loss(
        &self,
        losses: &mut Tensor,
        d_logits: &mut Tensor,
        logits: &Tensor,
        batch: &DeviceBatch<Indices>,
        starts: &Indices,
        ends: &Indices,
    ) -> Result<()> {
        loss::span(self, losses, d_logits, logits, batch, starts, ends)
    }

    fn sum_of_squares(&self, tensors: &[Tensor]) -> Result<f64> {
        optimizer::sum_of_squares(self, tensors)
    }

    fn adamw(&self, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
        optimizer::adamw(self, slots, step)
    }
}
