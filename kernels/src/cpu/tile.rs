//! Matrix products of the few dozen to few hundred rows and columns found inside attention, on operands that lie in panels.
//!
//! Functions that take [`Vectors`] are compiled for them one by one: in one large function, the compiler loses the loops over
//! the lanes and computes in pieces of registers.

use super::parallel::Vectors;
use super::rows::LANES;

/// Sixteen neighbouring columns of a row.
pub(super) type Block = [f32; LANES];

/// Rows of a product that are computed together; results are padded to a multiple of it.
pub(super) const ROWS: usize = 4;

/// Part of a matrix in panels of sixteen columns: element `(r, c)` of the whole is at `blocks[c / 16 * height + r][c % 16]`,
/// and the part begins at `row` and at the panel `panel`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    blocks: &'a [Block],
    height: usize,
    row: usize,
    panel: usize,
}

impl<'a> Panels<'a> {
    /// The whole matrix of `height` rows.
    #[inline(always)]
    pub(super) fn new(blocks: &'a [Block], height: usize) -> Self {
        Self { blocks, height, row: 0, panel: 0 }
    }

    /// The part from this row and panel on.
    #[inline(always)]
    pub(super) fn part(self, row: usize, panel: usize) -> Self {
        Self { row: self.row + row, panel: self.panel + panel, ..self }
    }

    /// The rows of one panel.
    #[inline(always)]
    fn rows(self, panel: usize) -> &'a [Block] {
        &self.blocks[(self.panel + panel) * self.height..][self.row..self.height]
    }
}

/// As [`Panels`], to be written.
pub(super) struct PanelsMut<'a> {
    blocks: &'a mut [Block],
    height: usize,
    row: usize,
}

impl<'a> PanelsMut<'a> {
    /// The matrix of `height` rows, from `row` on.
    #[inline(always)]
    pub(super) fn new(blocks: &'a mut [Block], height: usize, row: usize) -> Self {
        Self { blocks, height, row }
    }

    /// `count` rows of one panel.
    #[inline(always)]
    fn rows(&mut self, panel: usize, count: usize) -> &mut [Block] {
        &mut self.blocks[panel * self.height + self.row..][..count]
    }
}

/// `out = a b`, or `out += a b` if `accumulate`: `rows` rows (a multiple of [`ROWS`]) and `panels` panels of `out`, summed over
/// `depth` panels of `a`.
#[inline(never)]
pub(super) fn multiply(
    vectors: Vectors,
    out: PanelsMut<'_>,
    a: Panels<'_>,
    b: Panels<'_>,
    size: (usize, usize, usize),
    accumulate: bool,
) {
    vectors.run(
        out,
        #[inline(always)]
        |out| multiply_here(out, a, b, size, accumulate),
    );
}

#[inline(always)]
fn multiply_here(
    mut out: PanelsMut<'_>,
    a: Panels<'_>,
    b: Panels<'_>,
    (rows, panels, depth): (usize, usize, usize),
    accumulate: bool,
) {
    for panel in 0..panels {
        let b = b.rows(panel);
        for (group, out) in out.rows(panel, rows).as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let mut sums = if accumulate { *out } else { [[0.0; LANES]; ROWS] };
            for (step, b) in b.as_chunks::<LANES>().0.iter().take(depth).enumerate() {
                let a = a.rows(step)[group * ROWS..].first_chunk::<ROWS>().expect("rows are padded");
                for l in 0..LANES {
                    for i in 0..ROWS {
                        for lane in 0..LANES {
                            sums[i][lane] = a[i][l].mul_add(b[l][lane], sums[i][lane]);
                        }
                    }
                }
            }
            *out = sums;
        }
    }
}

/// `out += a^T b` over `rows` rows of `a` and `b`: the `turned` panels of `a` become rows, the `panels` panels of `b` stay.
#[inline(never)]
pub(super) fn add_transposed(vectors: Vectors, out: PanelsMut<'_>, a: Panels<'_>, b: Panels<'_>, size: (usize, usize, usize)) {
    vectors.run(
        out,
        #[inline(always)]
        |out| add_transposed_here(out, a, b, size),
    );
}

#[inline(always)]
fn add_transposed_here(mut out: PanelsMut<'_>, a: Panels<'_>, b: Panels<'_>, (rows, turned, panels): (usize, usize, usize)) {
    for upper in 0..turned {
        let a = &a.rows(upper)[..rows];
        for panel in 0..panels {
            let b = &b.rows(panel)[..rows];
            let out = &mut out.rows(panel, (upper + 1) * LANES)[upper * LANES..];
            for (quarter, out) in out.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
                let mut sums = *out;
                for (a, b) in a.iter().zip(b) {
                    for i in 0..ROWS {
                        for lane in 0..LANES {
                            sums[i][lane] = a[quarter * ROWS + i].mul_add(b[lane], sums[i][lane]);
                        }
                    }
                }
                *out = sums;
            }
        }
    }
}

/// `length` rows of `size` values, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) length: usize,
    pub(super) size: usize,
}

/// Panels of `scale` times the source, padded with zeros to `height` rows.
#[inline(never)]
pub(super) fn pack(vectors: Vectors, blocks: &mut [Block], height: usize, source: Source<'_>, scale: f32) {
    let Source { values, stride, length, size } = source;
    vectors.run(
        blocks,
        #[inline(always)]
        |blocks| {
            for (panel, blocks) in blocks.chunks_exact_mut(height).enumerate() {
                let from = panel * LANES;
                let width = LANES.min(size - from);
                for (block, source) in blocks.iter_mut().zip(values.chunks(stride)) {
                    match source[from..].first_chunk::<LANES>() {
                        Some(source) if width == LANES => {
                            for lane in 0..LANES {
                                block[lane] = source[lane] * scale;
                            }
                        }
                        _ => {
                            *block = [0.0; LANES];
                            for (value, &source) in block.iter_mut().zip(&source[from..from + width]) {
                                *value = source * scale;
                            }
                        }
                    }
                }
                blocks[length..].fill([0.0; LANES]);
            }
        },
    );
}

/// The transpose: panels whose columns are the rows of the source, padded with zeros to whole panels and to `height` rows.
#[inline(never)]
pub(super) fn pack_transposed(vectors: Vectors, blocks: &mut [Block], height: usize, source: Source<'_>) {
    let Source { values, stride, length, size } = source;
    vectors.run(
        blocks,
        #[inline(always)]
        |blocks| {
            let mut sources = values.chunks(stride).take(length);
            for blocks in blocks.chunks_exact_mut(height) {
                let mut columns = [&values[..0]; LANES];
                for (column, source) in columns.iter_mut().zip(&mut sources) {
                    *column = &source[..size];
                }
                blocks[size..].fill([0.0; LANES]);
                for (row, block) in blocks[..size].iter_mut().enumerate() {
                    for (value, column) in block.iter_mut().zip(columns) {
                        *value = column.get(row).copied().unwrap_or(0.0);
                    }
                }
            }
        },
    );
}

/// Copies `factor(row)` times the rows of panels of `height` rows to rows of `size` values, `stride` apart.
#[inline(never)]
pub(super) fn unpack(
    vectors: Vectors,
    target: &mut [f32],
    stride: usize,
    blocks: &[Block],
    (height, size): (usize, usize),
    factor: impl Fn(usize) -> f32,
) {
    vectors.run(
        target,
        #[inline(always)]
        |target| {
            for (row, target) in target.chunks_mut(stride).enumerate() {
                let factor = factor(row);
                for (panel, target) in target[..size].chunks_mut(LANES).enumerate() {
                    for (target, value) in target.iter_mut().zip(blocks[panel * height + row]) {
                        *target = value * factor;
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Isa;
    use crate::cpu::parallel::Workers;

    fn vectors() -> Vectors {
        Workers::new(1, Isa::choose().unwrap()).unwrap().vectors()
    }

    /// Small integers, so that products are exact in any order.
    fn integers(length: usize, modulus: usize) -> Vec<f32> {
        (0..length).map(|index| (index * 7 % modulus) as f32 - (modulus / 2) as f32).collect()
    }

    fn packed(source: &[f32], rows: usize, columns: usize, height: usize) -> Vec<Block> {
        let mut blocks = vec![[f32::NAN; LANES]; columns.div_ceil(LANES) * height];
        let source = Source { values: source, stride: columns, length: rows, size: columns };
        pack(vectors(), &mut blocks, height, source, 1.0);
        blocks
    }

    fn unpacked(blocks: &[Block], rows: usize, columns: usize, height: usize) -> Vec<f32> {
        let mut target = vec![f32::NAN; rows * columns];
        unpack(vectors(), &mut target, columns, blocks, (height, columns), |_| 1.0);
        target
    }

    #[test]
    fn products_are_exact_on_integers() {
        for (m, n, k) in [(1, 1, 1), (4, 16, 8), (7, 20, 5), (21, 33, 20), (6, 40, 1), (33, 12, 70)] {
            let (a, b) = (integers(m * k, 9), integers(k * n, 7));
            let expected: Vec<f32> =
                (0..m * n).map(|index| (0..k).map(|l| a[index / n * k + l] * b[l * n + index % n]).sum()).collect();
            let (high, deep, panels) = (m.next_multiple_of(ROWS), k.next_multiple_of(LANES), n.div_ceil(LANES));
            let (a_panels, b_panels) = (packed(&a, m, k, high), packed(&b, k, n, deep));
            let (a_view, b_view) = (Panels::new(&a_panels, high), Panels::new(&b_panels, deep));
            let mut out = vec![[f32::NAN; LANES]; panels * high];
            for passes in 1..=2 {
                let accumulate = passes > 1;
                let size = (high, panels, deep / LANES);
                multiply(vectors(), PanelsMut::new(&mut out, high, 0), a_view, b_view, size, accumulate);
                let expected: Vec<f32> = expected.iter().map(|value| value * passes as f32).collect();
                assert_eq!(unpacked(&out, m, n, high), expected, "{m} {n} {k}");
            }
            // The same product from the transpose of `a`.
            let turned: Vec<f32> = (0..m * k).map(|index| a[index % m * k + index / m]).collect();
            let turned = packed(&turned, k, m, deep);
            let wide = m.next_multiple_of(LANES);
            let mut out = vec![[2.0; LANES]; panels * wide];
            let (target, size) = (PanelsMut::new(&mut out, wide, 0), (k, wide / LANES, panels));
            add_transposed(vectors(), target, Panels::new(&turned, deep), b_view, size);
            let expected: Vec<f32> = expected.iter().map(|value| value + 2.0).collect();
            assert_eq!(unpacked(&out, m, n, wide), expected, "{m} {n} {k} transposed");
        }
    }

    #[test]
    fn packing_transposed_is_packing_the_transpose() {
        for (rows, columns) in [(1, 1), (16, 16), (17, 12), (40, 33)] {
            let source = integers(rows * columns, 11);
            let turned: Vec<f32> = (0..rows * columns).map(|index| source[index % rows * columns + index / rows]).collect();
            let height = columns.next_multiple_of(LANES);
            let mut blocks = vec![[f32::NAN; LANES]; rows.div_ceil(LANES) * height];
            let from = Source { values: &source, stride: columns, length: rows, size: columns };
            pack_transposed(vectors(), &mut blocks, height, from);
            assert_eq!(blocks, packed(&turned, columns, rows, height));
        }
    }
}
