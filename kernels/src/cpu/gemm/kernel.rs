//! The one operation that each instruction set implements: a tile of a product.

use super::Isa;
use super::amx::{self, Tiles};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Columns of a tile and of a panel.
pub(super) const WIDTH: usize = 32;
/// Most rows of a tile.
pub(super) const HEIGHT: usize = 32;
/// Most slots that one tile sums over. A slot is a number, or two bfloat16 numbers of neighbouring depth.
pub(super) const SLOTS: usize = 1024;
/// Slots from one row of the left operand to the next: a constant, and one that puts rows into different sets of the cache.
pub(super) const STRIDE: usize = SLOTS + 16;

/// Sums of one tile, row after row.
#[repr(align(64))]
pub(super) struct Tile(pub(super) [f32; HEIGHT * WIDTH]);

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// One `f32`.
    Number,
    /// One `f32` rounded to bfloat16.
    Rounded,
    /// The bits of two bfloat16, that of lesser depth in the low half. Both products are added to a sum in `f32`.
    Pair,
}

impl Slot {
    /// Numbers in a slot.
    pub(super) fn depth(self) -> usize {
        if self == Self::Pair { 2 } else { 1 }
    }
}

/// An instruction set and the slots it multiplies.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    isa: Isa,
    slot: Slot,
}

/// Operands and result of a tile; [`Kernel::run`] checks that they are as said here.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the portable kernel takes slices"))]
pub(super) struct Arguments {
    /// Number of slots to sum over.
    pub(super) slots: usize,
    /// Slot `l` of row `i` at `i * STRIDE + l`.
    pub(super) left: *const f32,
    /// Slot `l` of column `j` at `l * WIDTH + j`, for `WIDTH` columns.
    pub(super) right: *const f32,
    /// The sum of row `i` and column `j` goes to `i * WIDTH + j`, for `WIDTH` columns.
    pub(super) tile: *mut f32,
}

impl Kernel {
    /// # Panics
    /// If this machine lacks the instructions.
    pub(super) fn new(isa: Isa, slot: Slot) -> Self {
        assert!(isa.is_available() && (slot != Slot::Pair || isa.multiplies_pairs()), "{isa} cannot multiply {slot:?} here");
        Self { isa, slot }
    }

    pub(super) fn slot(self) -> Slot {
        self.slot
    }

    /// Most rows of a tile that this kernel computes at once.
    pub(super) fn rows(self) -> usize {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {
                if self.is_tiled() {
                    amx::BLOCK
                } else {
                    avx512::ROWS
                }
            }
            _ => portable::ROWS,
        }
    }

    /// Whether the tile unit does the work.
    fn is_tiled(self) -> bool {
        self.isa == Isa::Amx && self.slot == Slot::Pair
    }

    /// Most slots that one tile should sum over: with the tile unit, a panel's slots have to come from the first-level cache.
    pub(super) fn slots(self) -> usize {
        if self.is_tiled() { SLOTS / 4 } else { SLOTS }
    }

    /// The unit that [`run`](Self::run) needs, if it needs one; to be kept from one tile to the next.
    pub(super) fn begin(self) -> Option<Tiles> {
        if self.is_tiled() { Tiles::begin() } else { None }
    }

    /// `tile[i, j] = sum_l left[i, l] right[l, j]` for `rows` rows and all columns of a panel, in the order of `l`.
    ///
    /// Row `i` of `left` starts at `i * STRIDE`; `right` has `WIDTH` slots for each `l`.
    pub(super) fn run(self, unit: Option<&Tiles>, rows: usize, left: &[f32], right: &[f32], tile: &mut Tile) {
        let slots = right.len() / WIDTH;
        assert!((1..=self.rows().min(HEIGHT)).contains(&rows) && slots <= SLOTS, "a tile of {rows} rows and {slots} slots");
        assert!(left.len() >= (rows - 1) * STRIDE + slots, "{rows} rows of {slots} slots in {}", left.len());
        if slots == 0 {
            // The tile unit has no sum of nothing.
            return tile.0.fill(0.0);
        }
        if self.is_tiled() {
            let unit = unit.expect("the unit that `begin` gives");
            let (left, right) = (amx::halves(left), amx::halves(right));
            return unit.tile_block(&mut tile.0, WIDTH, rows, left, 2 * STRIDE, right, 2 * slots, false);
        }
        #[cfg(target_arch = "x86_64")]
        if self.isa != Isa::Portable {
            let arguments = Arguments { slots, left: left.as_ptr(), right: right.as_ptr(), tile: tile.0.as_mut_ptr() };
            // SAFETY: `new` checked that the machine has the instructions. The assertions above hold all slots of `rows` rows
            // within `left` and `rows` rows of `WIDTH` sums within the tile, and by its definition `slots` rows lie within
            // `right`. All are initialised; `tile` is borrowed mutably, so it overlaps neither operand. The kernels ask for
            // no more than the alignment of `f32`.
            return unsafe {
                match (self.isa, self.slot) {
                    (Isa::Avx2, _) => avx2::tile(rows, arguments),
                    (_, Slot::Pair) => avx512::tile_of_pairs(rows, arguments),
                    _ => avx512::tile(rows, arguments),
                }
            };
        }
        portable::tile(rows, left, right, tile);
    }
}

impl Kernel {
    /// Transposes in place.
    #[inline(always)]
    pub(super) fn transpose(self, block: &mut [[f32; 16]; 16]) {
        #[cfg(target_arch = "x86_64")]
        if self.isa >= Isa::Avx512 {
            // SAFETY: `new` checked that the machine has the instructions.
            return unsafe { avx512::transpose(block) };
        }
        for row in 1..16 {
            let (above, below) = block.split_at_mut(row);
            for (above, below) in above.iter_mut().zip(&mut below[0]) {
                std::mem::swap(&mut above[row], below);
            }
        }
    }

    /// Slots of two bfloat16 from values that follow each other.
    #[inline(always)]
    pub(super) fn pairs(self, values: &[[f32; 16]; 2]) -> [f32; 16] {
        assert!(self.slot == Slot::Pair, "checked by `new` to be possible");
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `new` checked that the machine has the instructions if the slots are pairs.
        return unsafe { avx512::pairs_of(values) };
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no instructions multiply pairs here");
    }
}

/// Asks for the cache lines of `values`; changes nothing but time.
#[inline(always)]
pub(super) fn prefetch(values: &[f32]) {
    for line in values.chunks(16) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: x86-64 has the instruction, and it may be given any address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Calls a function whose number of rows is a constant; the only argument follows its name.
#[cfg(target_arch = "x86_64")]
macro_rules! with_rows {
    ($rows:expr, $tile:ident($arguments:expr), $($constant:literal)*) => {
        match $rows {
            $($constant => $tile::<$constant>($arguments),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use with_rows;
