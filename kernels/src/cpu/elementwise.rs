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

/// `y = x`.
pub(super) fn copy(cpu: &Cpu, y: &mut Tensor, x: &Tensor) -> Result<()> {
    x.expect("copy", "x", y.rows, y.columns)?;
    cpu.workers.run(y.data.chunks_mut(CHUNK).zip(x.data.chunks(CHUNK)), |(y, x)| y.copy_from_slice(x));
    Ok(())
}

/// `y = 0`, without a look at rows that are known to be zero.
pub(super) fn clear(cpu: &Cpu, y: &mut Tensor) {
    let columns = y.columns.max(1);
    match y.data.rows_mut() {
        (elements, Some(touched)) => {
            let rows = elements.chunks_exact_mut(columns).enumerate();
            rows.filter(|(row, _)| touched.contains(*row)).for_each(|(_, row)| row.fill(0.0));
        }
        (elements, None) => cpu.workers.run(elements.chunks_mut(CHUNK), |part| part.fill(0.0)),
    }
    y.data.now_zero();
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
pub(super) fn scatter_rows(cpu: &Cpu, d_x: &mut Tensor, d_out: &Tensor, rows: &[i32]) -> Result<()> {
    d_out.expect("scatter_rows", "d_out", rows.len(), d_x.columns)?;
    let columns = d_x.columns;
    clear(cpu, d_x);
    for (position, &row) in rows.iter().enumerate() {
        let row = expect_index("scatter_rows", "row", row, d_x.rows)?;
        d_x.data[row * columns..][..columns].copy_from_slice(&d_out.data[position * columns..][..columns]);
    }
    Ok(())
}
