//! `sum_of_squares`, `adamw`: one pass over all tensors, whatever their number.
//!
//! A table in device memory tells the kernels where the tensors are (see optimizer.cu). It is kept and uploaded again only
//! when an address or a length has changed, so that a steady step uploads nothing.

use std::sync::{Mutex, PoisonError};

use stepsynth_core::Result;
use stepsynth_core::backend::{AdamWSlot, AdamWStep, expect_shape};

use super::backend::{Cuda, bytes_of};
use super::elementwise::formatted;
use super::launch::Call;
use super::memory::Memory;
use super::{Device, Format, Tensor};

const SOURCE: &str = "optimizer";
/// Elements of a tensor that are one block's work: `CHUNK` in optimizer.cu.
const CHUNK: usize = 8192;

/// The tables of both operations, as they were last needed.
#[derive(Default)]
pub(super) struct Tables {
    norm: Mutex<Option<Table>>,
    adamw: Mutex<Option<Table>>,
}

/// Where tensors are and how they are cut into chunks.
struct Table {
    /// What the kernel finds about each tensor.
    slots: Vec<u64>,
    chunks: usize,
    memory: Memory,
}

impl Table {
    fn new<D: Device>(cuda: &Cuda<D>, slots: Vec<u64>, lengths: &[usize]) -> Result<Self> {
        let mut words = slots.clone();
        for (slot, &length) in (0_u64..).zip(lengths) {
            words.extend((0..length.div_ceil(CHUNK) as u64).map(|chunk| slot << 32 | chunk));
        }
        let chunks = words.len() - slots.len();
        Ok(Self { slots, chunks, memory: cuda.memory_with(&bytes_of(&words, u64::to_ne_bytes))? })
    }

    /// Runs `f` on the table with these slots: the kept one, or a new one that takes its place.
    fn with<D: Device, T>(
        kept: &Mutex<Option<Self>>,
        cuda: &Cuda<D>,
        slots: Vec<u64>,
        lengths: &[usize],
        f: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        // A table is replaced as a whole, so a panic elsewhere leaves none half made.
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let table = match kept.take() {
            Some(table) if table.slots == slots => table,
            _ => Self::new(cuda, slots, lengths)?,
        };
        f(kept.insert(table))
    }
}

pub(super) fn sum_of_squares<D: Device>(cuda: &Cuda<D>, tensors: &[Tensor]) -> Result<f64> {
    const OP: &str = "sum_of_squares";
    let tensors = tensors.iter().map(|tensor| formatted(cuda, OP, tensor, Format::F32)).collect::<Result<Vec<_>>>()?;
    let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.count()).collect();
    let addresses = tensors.iter().flat_map(|tensor| &tensor.storage).map(|storage| storage.memory.address());
    let slots = addresses.zip(&lengths).flat_map(|(address, &length)| [address, length as u64]).collect();
    let result = cuda.memory(size_of::<f64>())?;
    Table::with(&cuda.tables().norm, cuda, slots, &lengths, |table| {
        let partials = cuda.memory(table.chunks * size_of::<f64>())?;
        if table.chunks > 0 {
            let call = Call::new(cuda, OP, SOURCE, "sum_of_squares_chunks").grid(table.chunks, 1, 1);
            call.write_scratch(&partials).read_scratch(&table.memory).int(lengths.len()).run()?;
        }
        let call = Call::new(cuda, OP, SOURCE, "sum_of_squares_finish").block(1024);
        call.write_scratch(&result).read_scratch(&partials).int(table.chunks).run()
    })?;
    let mut bytes = [0; size_of::<f64>()];
    cuda.device().copy_out(result.address(), &mut bytes)?;
    Ok(f64::from_ne_bytes(bytes))
}

pub(super) fn adamw<D: Device>(cuda: &Cuda<D>, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
    const OP: &str = "adamw";
    for slot in slots.iter() {
        let shape = slot.parameter.shape();
        expect_shape(OP, "gradient", slot.gradient.shape(), shape)?;
        expect_shape(OP, "first moment", slot.first.shape(), shape)?;
        expect_shape(OP, "second moment", slot.second.shape(), shape)?;
        cuda.expect_f32(OP, &[slot.parameter, slot.gradient, slot.first, slot.second])?;
    }
    let lengths: Vec<usize> = slots.iter().map(|slot| slot.parameter.count()).collect();
    let mut words = Vec::with_capacity(6 * slots.len());
    for slot in slots.iter_mut() {
        let written = [&mut *slot.parameter, &mut *slot.first, &mut *slot.second];
        let [parameter, first, second] =
            written.map(|tensor| tensor.storage.as_mut().map_or(0, |storage| storage.address_to_write()));
        let gradient = slot.gradient.storage.as_ref().map_or(0, |storage| storage.memory.address());
        words.extend([parameter, gradient, first, second, slot.parameter.count() as u64, slot.decay.into()]);
    }
    let steps = step.step as f64;
    Table::with(&cuda.tables().adamw, cuda, words, &lengths, |table| {
        if table.chunks == 0 {
            return Ok(());
        }
        Call::new(cuda, OP, SOURCE, "adamw")
            .grid(table.chunks, 1, 1)
            .read_scratch(&table.memory)
            .int(lengths.len())
            .float(step.gradient_scale)
            .float(step.beta1)
            .float(step.beta2)
            .float(1.0 - step.beta1)
            .float(1.0 - step.beta2)
            .float(step.learning_rate / (1.0 - step.beta1.powf(steps)))
            .float(1.0 / (1.0 - step.beta2.powf(steps)))
            .float(step.epsilon)
            .float(1.0 - step.learning_rate * step.weight_decay)
            .run()
    })
}
