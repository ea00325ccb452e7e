//! Token embeddings.

use stepsynth_core::Result;
use stepsynth_core::backend::{DeviceBatch, expect_index, expect_shape};

use super::parallel::rows_per_chunk;
use super::{Cpu, Tensor, rows};

/// The tables of one embedding with the index of each token into them.
type Lookups<'a, T> = [Option<(T, &'a [i32], &'static str)>; 3];

/// `out[n] = word[ids[n]] + position[positions[n]] (+ token_type[token_types[n]])`.
pub(super) fn forward(
    cpu: &Cpu,
    out: &mut Tensor,
    batch: &DeviceBatch<Vec<i32>>,
    word: &Tensor,
    position: &Tensor,
    token_type: Option<&Tensor>,
) -> Result<()> {
    let (tokens, columns) = (batch.ids.len(), word.columns);
    out.expect("embed", "out", tokens, columns)?;
    let lookups = lookups(batch, word, position, token_type);
    check("embed", tokens, columns, &lookups, |table| table.shape())?;
    let per_chunk = rows_per_chunk(columns);
    cpu.workers.run(
        out.data.chunks_mut(per_chunk * columns.max(1)).enumerate(),
        #[inline(always)]
        |(chunk, out)| {
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                let token = chunk * per_chunk + row;
                let source = |table: &Tensor, indices: &[i32]| indices[token] as usize * table.columns;
                for (which, (table, indices, _)) in lookups.iter().flatten().enumerate() {
                    let from = source(table, indices);
                    let values = &table.data[from..from + columns];
                    if which == 0 { out.copy_from_slice(values) } else { rows::add(out, values) }
                }
            }
        },
    );
    Ok(())
}

/// Adds every row of `d_out` to the rows of the tables it was made of, in the order of the tokens.
pub(super) fn backward(
    cpu: &Cpu,
    d_word: &mut Tensor,
    d_position: &mut Tensor,
    d_token_type: Option<&mut Tensor>,
    d_out: &Tensor,
    batch: &DeviceBatch<Vec<i32>>,
) -> Result<()> {
    let (tokens, columns) = (batch.ids.len(), d_word.columns);
    d_out.expect("embed_backward", "d_out", tokens, columns)?;
    let lookups = lookups(batch, d_word, d_position, d_token_type);
    check("embed_backward", tokens, columns, &lookups, |table| table.shape())?;
    // Tables share no rows with one another, so each is a piece of work of its own.
    cpu.workers.run(
        lookups.into_iter().flatten(),
        #[inline(always)]
        |(table, indices, _)| {
            let (elements, mut touched) = table.data.rows_mut();
            for (&index, d_out) in indices.iter().zip(d_out.data.chunks_exact(columns.max(1))) {
                rows::add(&mut elements[index as usize * columns..][..columns], d_out);
                if let Some(touched) = &mut touched {
                    touched.insert(index as usize);
                }
            }
        },
    );
    Ok(())
}

fn lookups<T>(batch: &DeviceBatch<Vec<i32>>, word: T, position: T, token_type: Option<T>) -> Lookups<'_, T> {
    [
        Some((word, batch.ids.as_slice(), "token id")),
        Some((position, batch.positions.as_slice(), "position")),
        token_type.map(|table| (table, batch.token_types.as_slice(), "token type")),
    ]
}

/// Checks the width of every table and every index into it.
fn check<T>(
    op: &'static str,
    tokens: usize,
    columns: usize,
    lookups: &Lookups<'_, T>,
    shape: impl Fn(&T) -> (usize, usize),
) -> Result<()> {
    for (table, indices, what) in lookups.iter().flatten() {
        let rows = shape(table).0;
        expect_shape(op, what, shape(table), (rows, columns))?;
        expect_shape(op, what, (indices.len(), 1), (tokens, 1))?;
        for &index in *indices {
            expect_index(op, what, index, rows)?;
        }
    }
    Ok(())
}
