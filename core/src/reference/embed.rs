//! Token embeddings.

use ndarray::Array2;

use super::ReferenceReal;
use crate::backend::{DeviceBatch, expect_index, expect_shape};
use crate::{Error, Result};

pub(super) fn forward<T: ReferenceReal>(
    out: &mut Array2<T>,
    batch: &DeviceBatch<Vec<i32>>,
    word: &Array2<T>,
    position: &Array2<T>,
    token_type: Option<&Array2<T>>,
) -> Result<()> {
    let columns = word.ncols();
    expect_shape("embed", "out", out.dim(), (batch.ids.len(), columns))?;
    expect_shape("embed", "position", position.dim(), (position.nrows(), columns))?;
    for (row, mut target) in out.rows_mut().into_iter().enumerate() {
        target.assign(&word.row(expect_index("embed", "token id", batch.ids[row], word.nrows())?));
        target += &position.row(expect_index("embed", "position", batch.positions[row], position.nrows())?);
        if let Some(table) = token_type {
            expect_shape("embed", "token_type", table.dim(), (table.nrows(), columns))?;
            target += &table.row(expect_index("embed", "token type", batch.token_types[row], table.nrows())?);
        }
    }
    Ok(())
}

pub(super) fn backward<T: ReferenceReal>(
    d_word: &mut Array2<T>,
    d_position: &mut Array2<T>,
    mut d_token_type: Option<&mut Array2<T>>,
    d_out: &Array2<T>,
    batch: &DeviceBatch<Vec<i32>>,
) -> Result<()> {
    expect_shape("embed_backward", "d_out", d_out.dim(), (batch.ids.len(), d_word.ncols()))?;
    for (row, source) in d_out.rows().into_iter().enumerate() {
        add_row(d_word, "token id", batch.ids[row], &source)?;
        add_row(d_position, "position", batch.positions[row], &source)?;
        if let Some(table) = d_token_type.as_deref_mut() {
            add_row(table, "token type", batch.token_types[row], &source)?;
        }
    }
    Ok(())
}

fn add_row<T: ReferenceReal>(
    table: &mut Array2<T>,
    what: &'static str,
    index: i32,
    source: &ndarray::ArrayView1<'_, T>,
) -> Result<()> {
    if table.ncols() != source.len() {
        let expected = (table.nrows(), source.len());
        return Err(Error::Shape { op: "embed_backward", what, expected, got: table.dim() });
    }
    let index = expect_index("embed_backward", what, index, table.nrows())?;
    let mut row = table.row_mut(index);
    row += source;
    Ok(())
}
