//! Knowledge of which rows of a tensor are zero.
//!
//! A step touches few rows of a large embedding. A tensor made or cleared as zeros knows that all of its rows are zero, and an
//! operation that says which rows it writes keeps the knowledge: gradients are then cleared, their norm taken and AdamW run
//! without a look at the other rows. Any other way to write makes the tensor forget (see
//! [`Buffer`](super::memory::Buffer)), so the knowledge cannot be wrong unnoticed, and results are those of the dense
//! computation bit for bit.

/// A set of rows: those that may hold anything but `+0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// One bit a row; rows beyond the end are not in the set.
    words: Vec<u64>,
}

impl Rows {
    pub(super) fn insert(&mut self, row: usize) {
        self.reserve(row / 64 + 1);
        self.words[row / 64] |= 1 << (row % 64);
    }

    pub(super) fn insert_all(&mut self, other: &Self) {
        self.reserve(other.words.len());
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Empties the set and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }

    fn reserve(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let (mut rows, mut more) = (Rows::default(), Rows::default());
        for row in [3, 64, 200] {
            rows.insert(row);
        }
        more.insert(900);
        rows.insert_all(&more);
        more.insert_all(&Rows::default());
        assert!((0..2000).all(|row| rows.contains(row) == [3, 64, 200, 900].contains(&row)));
        assert!((0..2000).all(|row| more.contains(row) == (row == 900)));
        rows.clear();
        assert!((0..2000).all(|row| !rows.contains(row)));
    }
}
