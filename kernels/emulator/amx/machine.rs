//! The state of the tile unit and what each instruction does to it.
//!
//! # `tdpbf16ps`, exactly
//! For every row m and column n of the destination two sums start from +0, one of the products of even and one of odd depth;
//! pair by pair `even = fma(a[m][2k], b[k][2n], even)` and likewise `odd`, each one rounding; then `c = c + (even + odd)`, two
//! roundings. All rounding is to nearest even. All inputs of these operations, bf16 and f32, count as zero of their sign when
//! subnormal, and a subnormal result becomes zero of its sign. MXCSR plays no part and no exception is raised.
//!
//! Two freedoms are taken: which NaN comes out of several, and a result between the largest subnormal and the smallest
//! normal number counts as the latter when f32 rounds it there (a processor looks at it before it knows the exponent is too
//! small).

/// Tiles and their largest shape in palette 1.
const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

/// Why an instruction does not run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// #UD.
    Undefined(&'static str),
    /// #GP(0).
    Protection(&'static str),
    /// The test's own: an access outside of the memory that it declared.
    Memory { address: usize, bytes: usize, write: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tile {
    rows: usize,
    row_bytes: usize,
    data: [[u8; ROW_BYTES]; ROWS],
}

impl Tile {
    /// The bf16 numbers of every row; what lies outside of the tile is zero.
    fn values(&self) -> [[f32; ROW_BYTES / 2]; ROWS] {
        self.data.map(|row| std::array::from_fn(|at| flush(f32::from_le_bytes([0, 0, row[2 * at], row[2 * at + 1]]))))
    }
}

/// The tile registers of a thread.
#[derive(Debug)]
pub(crate) struct Machine {
    configured: bool,
    tiles: [Tile; TILES],
}

impl Machine {
    pub(crate) const fn new() -> Self {
        Self { configured: false, tiles: [Tile { rows: 0, row_bytes: 0, data: [[0; ROW_BYTES]; ROWS] }; TILES] }
    }

    /// Whether the unit is in its initial state, in which there is nothing to save.
    pub(crate) fn is_released(&self) -> bool {
        !self.configured
    }

    /// `ldtilecfg`: palette, start row, 14 zeros, 16 row lengths in bytes, 16 numbers of rows.
    pub(crate) fn configure(&mut self, bytes: &[u8; 64]) -> Result<(), Fault> {
        match bytes[0] {
            0 => {
                self.release();
                return Ok(());
            }
            1 => {}
            _ => return Err(Fault::Protection("ldtilecfg: unknown palette")),
        }
        if bytes[1] != 0 {
            return Err(Fault::Protection("ldtilecfg: restarting within a tile is not emulated"));
        }
        let beyond = |first: usize, size: usize| bytes[first + size * TILES..first + size * 16].iter();
        if bytes[2..16].iter().chain(beyond(16, 2)).chain(beyond(48, 1)).any(|&byte| byte != 0) {
            return Err(Fault::Protection("ldtilecfg: reserved bytes are not zero"));
        }
        let mut machine = Self::new();
        for (index, tile) in machine.tiles.iter_mut().enumerate() {
            tile.row_bytes = usize::from(u16::from_le_bytes([bytes[16 + 2 * index], bytes[17 + 2 * index]]));
            tile.rows = usize::from(bytes[48 + index]);
            if tile.row_bytes > ROW_BYTES || tile.rows > ROWS {
                return Err(Fault::Protection("ldtilecfg: a tile is larger than the palette's"));
            }
            if (tile.row_bytes == 0) != (tile.rows == 0) {
                return Err(Fault::Protection("ldtilecfg: rows without bytes or bytes without rows"));
            }
        }
        machine.configured = true;
        *self = machine;
        Ok(())
    }

    /// `tilerelease`.
    pub(crate) fn release(&mut self) {
        *self = Self::new();
    }

    /// A tile that an instruction may name.
    fn tile(&mut self, index: usize) -> Result<&mut Tile, Fault> {
        if !self.configured {
            return Err(Fault::Undefined("no tiles are configured"));
        }
        let tile = &mut self.tiles[index];
        if tile.rows == 0 { Err(Fault::Undefined("the tile is not configured")) } else { Ok(tile) }
    }

    /// `tilezero`.
    pub(crate) fn zero(&mut self, index: usize) -> Result<(), Fault> {
        self.tile(index)?.data = [[0; ROW_BYTES]; ROWS];
        Ok(())
    }

    /// `tileloadd` and `tileloaddt1`, which differ in a hint; `read` gives a row's bytes. What is not loaded becomes zero.
    pub(crate) fn load(
        &mut self,
        index: usize,
        mut read: impl FnMut(usize, &mut [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.zero(index)?;
        let Tile { rows, row_bytes, data } = self.tile(index)?;
        data.iter_mut().take(*rows).enumerate().try_for_each(|(row, bytes)| read(row, &mut bytes[..*row_bytes]))
    }

    /// `tilestored`; `write` takes a row's bytes.
    pub(crate) fn store(&mut self, index: usize, mut write: impl FnMut(usize, &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        let Tile { rows, row_bytes, data } = self.tile(index)?;
        data.iter().take(*rows).enumerate().try_for_each(|(row, bytes)| write(row, &bytes[..*row_bytes]))
    }

    /// `tdpbf16ps`: tile `c` plus the product of tiles `a` and `b`.
    pub(crate) fn dot(&mut self, c: usize, a: usize, b: usize) -> Result<(), Fault> {
        if c == a || a == b || c == b {
            return Err(Fault::Undefined("tdpbf16ps: a tile is named twice"));
        }
        let (a, b) = (*self.tile(a)?, *self.tile(b)?);
        let c = self.tile(c)?;
        if a.row_bytes % 4 != 0 || b.row_bytes % 4 != 0 || c.row_bytes % 4 != 0 {
            return Err(Fault::Undefined("tdpbf16ps: rows are no multiple of 4 bytes"));
        }
        if a.rows != c.rows || b.row_bytes != c.row_bytes || b.rows != a.row_bytes / 4 {
            return Err(Fault::Undefined("tdpbf16ps: the shapes do not match"));
        }
        let (a, b, pairs) = (a.values(), b.values(), b.rows);
        for (a, c_row) in a.iter().zip(&mut c.data).take(c.rows) {
            let mut sums = [[0.0; ROW_BYTES / 4]; 2];
            for (a, b) in a.as_chunks::<2>().0.iter().zip(&b).take(pairs) {
                for (column, b) in b.as_chunks::<2>().0.iter().enumerate() {
                    for half in 0..2 {
                        sums[half][column] = flush(a[half].mul_add(b[half], sums[half][column]));
                    }
                }
            }
            for (c, (even, odd)) in c_row[..c.row_bytes].as_chunks_mut::<4>().0.iter_mut().zip(sums[0].iter().zip(&sums[1])) {
                *c = flush(flush(f32::from_le_bytes(*c)) + flush(even + odd)).to_le_bytes();
            }
        }
        Ok(())
    }
}

/// Zero of the same sign for a subnormal number.
fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0.0_f32.copysign(value) } else { value }
}
