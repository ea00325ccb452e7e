//! Copies, sums and moves of rows.

use stepsynth_core::Result;
use stepsynth_core::backend::expect_index;

use super::parallel::CHUNK;
use super::{Cpu, Tensor, rows};

/// `y += x`.
pub(super) fn add(cpu: &Cpu, y: &mut Tensor, x: &Tensor) -> Result<()> {
    x.expect("add", "x", y.rows, y.columns)?;
    cpu.workers.run(
        y.data.chunks_mut(CHUNK).zip(x.data.chunks(CHUNK)),
        #[inline(always)]
        |(y, x)| rows::add(y, x),
    );
    Ok(())
}

/// `out[b] = x[rows[b]]`.
pub(super) fn gather_rows(out: &mut Tensor, x: &Tensor, rows: &[i32]) -> Result<()> {
    out.expect("gather_rows", "out", rows.len(), x.columns)?;
    let columns = x.columns;
    for (position, &row) in rows.iter().enumerate() {
        let row = expect_index("gather_rows", "row", row, x.rows)?;
        out.data[position * columns..][..columns].copy_from_slice(&x.data[row * columns..][..columns]);
    }
    Ok(())
}

/// `d_x = 0`, then `d_x[rows[b]] = d_out[b]`.
pub(super) fn scatter_rows(d_x: &mut Tensor, d_out: &Tensor, rows: &[i32]) -> Result<()> {
    d_out.expect("scatter_rows", "d_out", rows.len(), d_x.columns)?;
    let columns = d_x.columns;
    d_x.data.fill(0.0);
    for (position, &row) in rows.iter().enumerate() {
        let row = expect_index("scatter_rows", "row", row, d_x.rows)?;
        d_x.data[row * columns..][..columns].copy_from_slice(&d_out.data[position * columns..][..columns]);
    }
    Ok(())
}
