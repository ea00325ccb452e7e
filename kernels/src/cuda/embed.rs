//! `embed`, `embed_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::{DeviceBatch, expect_shape};

use super::backend::{Cuda, bytes_of};
use super::elementwise::{THREADS, formatted};
use super::launch::Call;
use super::memory::Memory;
use super::{Device, Format, Indices, Tensor};

const SOURCE: &str = "embed";
/// Columns whose gradients a warp adds up: 16 bytes a lane.
const TILE_BYTES: usize = 512;
/// A row with more tokens is cut into items.
const WHOLE: usize = 64;

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    out: &mut Tensor,
    batch: &DeviceBatch<Indices>,
    word: &Tensor,
    position: &Tensor,
    token_type: Option<&Tensor>,
) -> Result<()> {
    const OP: &str = "embed";
    let (tokens, columns) = (batch.ids.length(), word.columns);
    expect_shape(OP, "out", out.shape(), (tokens, columns))?;
    check(cuda, OP, batch, columns, word, position, token_type)?;
    let format = cuda.activations();
    let kernel = match format {
        Format::F32 => "embed_f32",
        Format::Bf16 => "embed_bf16",
    };
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(cuda.blocks(tokens * 32, THREADS), 1, 1).output(out, format);
    let call = call.indices(&batch.ids).indices(&batch.positions).indices(&batch.token_types);
    call.input(word).input(position).maybe_input(token_type).int(tokens).int(columns).run()
}

pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    d_word: &mut Tensor,
    d_position: &mut Tensor,
    mut d_token_type: Option<&mut Tensor>,
    d_out: &Tensor,
    batch: &DeviceBatch<Indices>,
) -> Result<()> {
    const OP: &str = "embed_backward";
    let (tokens, columns) = (batch.ids.length(), d_word.columns);
    expect_shape(OP, "d_out", d_out.shape(), (tokens, columns))?;
    check(cuda, OP, batch, columns, d_word, d_position, d_token_type.as_deref())?;
    if tokens == 0 || columns == 0 {
        return Ok(());
    }
    let format = cuda.activations();
    let d_out = formatted(cuda, OP, d_out, format)?;
    let kept = &batch.ids.sorted[usize::from(d_token_type.is_some())];
    let sorted = match kept.get() {
        Some(sorted) => sorted,
        None => {
            let types = d_token_type.as_ref().map_or(&[][..], |_| &batch.token_types.host);
            let sorted = SortedTokens::upload(cuda, &Pieces::new([&batch.ids.host, &batch.positions.host, types]))?;
            kept.get_or_init(|| sorted)
        }
    };
    let partials = cuda.memory(sorted.partials * columns * size_of::<f32>())?;
    let (kernel, tile) = match format {
        Format::F32 => ("embed_backward_f32", TILE_BYTES / 4),
        Format::Bf16 => ("embed_backward_bf16", TILE_BYTES / 2),
    };
    // Where a row is no multiple of 16 bytes, a lane has one column.
    let tile = if (columns * format.bytes()).is_multiple_of(16) { tile } else { 32 };
    let warps = sorted.items * columns.div_ceil(tile);
    Call::new(cuda, OP, SOURCE, kernel)
        .grid(cuda.blocks(warps * 32, THREADS), 1, 1)
        .update(d_word)
        .update(d_position)
        .maybe_update(d_token_type.as_deref_mut())
        .write_scratch(&partials)
        .input(&d_out)
        .read_scratch(&sorted.item_memory)
        .read_scratch(&sorted.order)
        .int(sorted.items)
        .int(sorted.partials)
        .int(columns)
        .run()?;
    if sorted.split_rows == 0 {
        return Ok(());
    }
    let warps = sorted.split_rows * columns.div_ceil(32);
    Call::new(cuda, OP, SOURCE, "embed_backward_finish")
        .grid(cuda.blocks(warps * 32, THREADS), 1, 1)
        .update(d_word)
        .update(d_position)
        .maybe_update(d_token_type)
        .read_scratch(&partials)
        .read_scratch(&sorted.split_row_memory)
        .int(sorted.split_rows)
        .int(columns)
        .run()
}

/// Checks width and format of every table and every index into it.
fn check<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    batch: &DeviceBatch<Indices>,
    columns: usize,
    word: &Tensor,
    position: &Tensor,
    token_type: Option<&Tensor>,
) -> Result<()> {
    let lookups = [
        Some((word, &batch.ids, "token id")),
        Some((position, &batch.positions, "position")),
        token_type.map(|table| (table, &batch.token_types, "token type")),
    ];
    for (table, indices, what) in lookups.into_iter().flatten() {
        expect_shape(op, what, table.shape(), (table.rows, columns))?;
        expect_shape(op, what, (indices.length(), 1), (batch.ids.length(), 1))?;
        indices.expect_below(op, what, table.rows)?;
        cuda.expect_f32(op, &[table])?;
    }
    Ok(())
}

/// [`Pieces`] of a batch on the device.
pub(super) struct SortedTokens {
    items: usize,
    item_memory: Memory,
    partials: usize,
    split_rows: usize,
    split_row_memory: Memory,
    order: Memory,
}

impl SortedTokens {
    fn upload<D: Device>(cuda: &Cuda<D>, pieces: &Pieces) -> Result<Self> {
        let upload = |words: &[i32]| cuda.memory_with(&bytes_of(words, i32::to_ne_bytes));
        Ok(Self {
            items: pieces.items.len(),
            item_memory: upload(pieces.items.as_flattened())?,
            partials: pieces.partials,
            split_rows: pieces.split_rows.len(),
            split_row_memory: upload(pieces.split_rows.as_flattened())?,
            order: upload(&pieces.order)?,
        })
    }
}

/// The tokens of a batch sorted by the row of each table that they came from, and cut into items of similar size.
///
/// The host sorts, for it has the ids: some nanoseconds a token while the device is busy with the forward pass. On the device
/// it would be several passes over too little data to fill it.
#[derive(Debug)]
struct Pieces {
    /// `[table, row, first, count]`: the tokens `order[first..first + count]` came from `row` of `table`. The first `partials`
    /// of them are parts of a row.
    items: Vec<[i32; 4]>,
    partials: usize,
    /// `[table, row, first, count]`: the partial sums that make up a row.
    split_rows: Vec<[i32; 4]>,
    /// Tokens by table and row, in their own order within a row.
    order: Vec<i32>,
}

impl Pieces {
    /// `tables` has the row of each token in each table.
    fn new(tables: [&[i32]; 3]) -> Self {
        let (mut parts, mut whole, mut split_rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Vec::with_capacity(tables.iter().map(|rows| rows.len()).sum());
        for (table, rows) in (0..).zip(tables) {
            let mut end = order.len();
            for (row, count) in (0..).zip(append_sorted(&mut order, rows)) {
                let start = end;
                end += count;
                if count == 0 {
                    continue;
                }
                if count <= WHOLE {
                    whole.push([table, row, start as i32, count as i32]);
                    continue;
                }
                // As many items as each has tokens, so that neither kernel has a long way to go.
                let length = count.isqrt().max(WHOLE);
                split_rows.push([table, row, parts.len() as i32, count.div_ceil(length) as i32]);
                parts.extend((start..end).step_by(length).map(|at| [table, row, at as i32, length.min(end - at) as i32]));
            }
        }
        let partials = parts.len();
        parts.append(&mut whole);
        Self { items: parts, partials, split_rows, order }
    }
}

/// Appends the tokens sorted by their row, those of a row in their order; returns the number of tokens of each row.
fn append_sorted(order: &mut Vec<i32>, rows: &[i32]) -> Vec<usize> {
    let bound = rows.iter().max().map_or(0, |&largest| largest as usize + 1);
    let mut counts = vec![0; bound];
    rows.iter().for_each(|&row| counts[row as usize] += 1);
    let mut next = Vec::with_capacity(bound);
    let mut place = order.len();
    for &count in &counts {
        next.push(place);
        place += count;
    }
    order.resize(place, 0);
    for (token, &row) in (0..).zip(rows) {
        order[next[row as usize]] = token;
        next[row as usize] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every token is in one item of each table, those of a row in their order, and the partial sums of a row are its parts.
        #[test]
        fn pieces_cover_every_token_once(words in prop::collection::vec(0..4_i32, 0..600), wide in prop::collection::vec(0..500_i32, 600)) {
            let tables = [&words[..], &wide[..words.len()], &[]];
            let pieces = Pieces::new(tables);
            let mut found = tables.map(|rows| rows.iter().map(|&row| (row, Vec::new())).collect::<std::collections::BTreeMap<_, _>>());
            for (index, &[table, row, first, count]) in pieces.items.iter().enumerate() {
                prop_assert!(count > 0);
                let tokens = &pieces.order[first as usize..][..count as usize];
                found[table as usize].get_mut(&row).unwrap().extend_from_slice(tokens);
                let splits = pieces.split_rows.iter().filter(|&&[of, split, start, parts]| {
                    (of, split) == (table, row) && (start..start + parts).contains(&(index as i32))
                });
                prop_assert_eq!(splits.count(), usize::from(index < pieces.partials));
            }
            for (rows, found) in tables.into_iter().zip(found) {
                for (row, tokens) in found {
                    let expected: Vec<i32> = (0..).zip(rows).filter(|&(_, &of)| of == row).map(|(token, _)| token).collect();
                    prop_assert_eq!(tokens, expected);
                }
            }
        }
    }
}
