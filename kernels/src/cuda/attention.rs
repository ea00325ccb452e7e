//! `attention`, `attention_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::{ATTENTION_DROPOUT_KEYS, Backend, DeviceBatch, Dropout, expect_shape};

use super::backend::Cuda;
use super::launch::Call;
use super::{Device, Format, Indices, Tensor};

const BLOCK: u32 = 128;

/// The kernels for one head size and format.
struct Kernels {
    /// Stem of the file that holds them.
    source: &'static str,
    forward: &'static str,
    /// The same where there is dropout.
    forward_dropout: &'static str,
    d_q: &'static str,
    d_kv: &'static str,
    /// Rows of a block that works on one head.
    tile: usize,
}

macro_rules! portable {
    ($width:literal, $format:literal, $tile:literal) => {
        Kernels {
            source: "attention",
            forward: concat!("attention_", $width, "_", $format),
            forward_dropout: concat!("attention_", $width, "_", $format),
            d_q: concat!("attention_d_q_", $width, "_", $format),
            d_kv: concat!("attention_d_kv_", $width, "_", $format),
            tile: $tile,
        }
    };
}

macro_rules! mma {
    ($size:literal) => {
        Kernels {
            source: "attention_mma",
            forward: concat!("attention_mma_", $size),
            forward_dropout: concat!("attention_mma_dropout_", $size),
            d_q: concat!("attention_mma_d_q_", $size),
            d_kv: concat!("attention_mma_d_kv_", $size),
            tile: 64,
        }
    };
}

/// The kernels for heads of `size` columns on this device.
fn choose<D: Device>(cuda: &Cuda<D>, op: &str, format: Format, size: usize) -> Result<Kernels> {
    let tensor_cores = cuda.device().properties().capability >= (8, 0);
    Ok(match (format, size) {
        (Format::Bf16, 32) if tensor_cores => mma!("32"),
        (Format::Bf16, 64) if tensor_cores => mma!("64"),
        (Format::F32, 1..=32) => portable!("32", "f32", 64),
        (Format::F32, 33..=64) => portable!("64", "f32", 64),
        (Format::F32, 65..=128) => portable!("128", "f32", 32),
        (Format::Bf16, 1..=32) => portable!("32", "bf16", 64),
        (Format::Bf16, 33..=64) => portable!("64", "bf16", 64),
        (Format::Bf16, 65..=128) => portable!("128", "bf16", 32),
        _ => return Err(cuda.fault(format!("{op}: heads have 1 to 128 columns, not {size}"))),
    })
}

/// What both directions pass to every kernel.
struct Layout<'a> {
    batch: &'a DeviceBatch<Indices>,
    heads: usize,
    size: usize,
    dropout: Option<&'a Dropout>,
}

impl<'a> Layout<'a> {
    /// Checks the shapes that both directions have: `out` is the output or its gradient.
    fn new<D: Device>(
        cuda: &Cuda<D>,
        op: &'static str,
        [out, lse, qkv]: [&Tensor; 3],
        batch: &'a DeviceBatch<Indices>,
        heads: usize,
        dropout: Option<&'a Dropout>,
    ) -> Result<Self> {
        let (tokens, hidden) = (batch.host.tokens(), out.columns);
        if heads == 0 {
            return Err(cuda.fault(format!("{op}: there must be at least one head")));
        }
        if tokens == 0 {
            return Err(cuda.fault(format!("{op}: the batch has no tokens")));
        }
        let size = hidden / heads;
        expect_shape(op, "out", out.shape(), (tokens, size * heads))?;
        expect_shape(op, "qkv", qkv.shape(), (tokens, 3 * hidden))?;
        expect_shape(op, "lse", lse.shape(), (tokens, heads))?;
        let longest = batch.host.max_length();
        if dropout.is_some() && longest > ATTENTION_DROPOUT_KEYS {
            let message = format!("{op}: dropout takes sequences of at most {ATTENTION_DROPOUT_KEYS} tokens, not {longest}");
            return Err(cuda.fault(message));
        }
        Ok(Self { batch, heads, size, dropout })
    }

    /// A call with a block for every tile and head.
    fn call<'c, D: Device>(&self, cuda: &'c Cuda<D>, op: &'static str, kernels: &Kernels, name: &'static str) -> Call<'c, D> {
        // As many slots as `find_work` in attention.cuh gives the batch.
        let slots = self.batch.host.tokens() / kernels.tile + self.batch.host.sequences();
        Call::new(cuda, op, kernels.source, name).grid(slots, self.heads, 1).block(BLOCK)
    }

    /// The arguments that end every kernel's list.
    fn finish<D: Device>(&self, call: Call<'_, D>) -> Result<()> {
        call.indices(&self.batch.cu_seqlens)
            .int(self.batch.host.sequences())
            .int(self.heads)
            .int(self.size)
            .float(1.0 / (self.size as f64).sqrt())
            .dropout(self.dropout)
            .run()
    }
}

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    out: &mut Tensor,
    lse: &mut Tensor,
    qkv: &Tensor,
    batch: &DeviceBatch<Indices>,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    const OP: &str = "attention";
    let layout = Layout::new(cuda, OP, [out, lse, qkv], batch, heads, dropout)?;
    let format = cuda.same_format(OP, qkv, &[])?;
    let kernels = choose(cuda, OP, format, layout.size)?;
    let name = if dropout.is_some() { kernels.forward_dropout } else { kernels.forward };
    let call = layout.call(cuda, OP, &kernels, name);
    layout.finish(call.output(out, format).output(lse, Format::F32).input(qkv))
}

#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    d_qkv: &mut Tensor,
    d_out: &Tensor,
    out: &Tensor,
    lse: &Tensor,
    qkv: &Tensor,
    batch: &DeviceBatch<Indices>,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    const OP: &str = "attention_backward";
    let layout = Layout::new(cuda, OP, [out, lse, qkv], batch, heads, dropout)?;
    expect_shape(OP, "d_out", d_out.shape(), out.shape())?;
    expect_shape(OP, "d_qkv", d_qkv.shape(), qkv.shape())?;
    let format = cuda.same_format(OP, qkv, &[out, d_out])?;
    let kernels = choose(cuda, OP, format, layout.size)?;
    let mut delta = cuda.empty(batch.host.tokens(), heads)?;
    let call = layout.call(cuda, OP, &kernels, kernels.d_q).output(d_qkv, format).output(&mut delta, Format::F32);
    layout.finish(call.input(d_out).input(out).input(lse).input(qkv))?;
    let call = layout.call(cuda, OP, &kernels, kernels.d_kv).update(d_qkv).input(&delta);
    layout.finish(call.input(d_out).input(lse).input(qkv))
}
