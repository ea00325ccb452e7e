//! `cross_entropy`, `span_loss`.

use stepsynth_core::backend::{DeviceBatch, expect_index, expect_shape};
use stepsynth_core::{Error, Result};

use super::backend::Cuda;
use super::elementwise::{THREADS, formatted};
use super::launch::Call;
use super::{Device, Format, Indices, Tensor};

const SOURCE: &str = "loss";

pub(super) fn cross_entropy<D: Device>(
    cuda: &Cuda<D>,
    losses: &mut Tensor,
    d_logits: &mut Tensor,
    logits: &Tensor,
    labels: &Indices,
) -> Result<()> {
    const OP: &str = "cross_entropy";
    let (rows, classes) = logits.shape();
    expect_shape(OP, "labels", (labels.length(), 1), (rows, 1))?;
    expect_shape(OP, "losses", losses.shape(), (rows, 1))?;
    expect_shape(OP, "d_logits", d_logits.shape(), (rows, classes))?;
    labels.expect_below(OP, "label", classes)?;
    let logits = formatted(cuda, OP, logits, Format::F32)?;
    let call = Call::new(cuda, OP, SOURCE, "cross_entropy").grid(cuda.blocks(rows * 32, THREADS), 1, 1);
    let call = call.output(losses, Format::F32).output(d_logits, Format::F32).input(&logits).indices(labels);
    call.int(rows).int(classes).run()
}

pub(super) fn span<D: Device>(
    cuda: &Cuda<D>,
    losses: &mut Tensor,
    d_logits: &mut Tensor,
    logits: &Tensor,
    batch: &DeviceBatch<Indices>,
    starts: &Indices,
    ends: &Indices,
) -> Result<()> {
    const OP: &str = "span_loss";
    let (tokens, sequences) = (batch.ids.length(), batch.cu_seqlens.length().saturating_sub(1));
    expect_shape(OP, "logits", logits.shape(), (tokens, 2))?;
    expect_shape(OP, "d_logits", d_logits.shape(), (tokens, 2))?;
    expect_shape(OP, "losses", losses.shape(), (sequences, 1))?;
    expect_shape(OP, "starts and ends", (starts.length(), ends.length()), (sequences, sequences))?;
    for (bounds, (&start, &end)) in batch.cu_seqlens.host.windows(2).zip(starts.host.iter().zip(&ends.host)) {
        let rows = usize::try_from(bounds[0]).ok().zip(usize::try_from(bounds[1]).ok()).map(|(from, to)| from..to);
        let rows = rows.filter(|rows| rows.start <= rows.end && rows.end <= tokens);
        let rows = rows.ok_or(Error::Index { op: OP, what: "sequence boundary", index: bounds[1].into(), bound: tokens })?;
        for position in [start, end] {
            expect_index(OP, "answer position", position, rows.len())?;
        }
    }
    let logits = formatted(cuda, OP, logits, Format::F32)?;
    let call = Call::new(cuda, OP, SOURCE, "span_loss").grid(cuda.blocks(sequences * 32, THREADS), 1, 1);
    let call = call.output(losses, Format::F32).output(d_logits, Format::F32).input(&logits);
    call.indices(&batch.cu_seqlens).indices(starts).indices(ends).int(sequences).run()
}
