//! Packed batches: token ids laid end to end, never padded.

use crate::{Error, Result};

/// One tokenised row: what the encoder reads for one example or one question-answering window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids with special tokens, at least one.
    pub ids: Vec<i32>,
    /// Segment of each token: 0 for the first text, 1 for the second. Ignored by models without segment embeddings.
    pub token_types: Vec<i32>,
}

/// `B` sequences laid end to end. `N` is the number of tokens, `cu_seqlens` the `B + 1` boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, length `N`.
    pub ids: Vec<i32>,
    /// Segments, length `N`.
    pub token_types: Vec<i32>,
    /// Position of each token within its own sequence, length `N`.
    pub positions: Vec<i32>,
    /// Sequence `b` occupies rows `cu_seqlens[b]..cu_seqlens[b + 1]`; length `B + 1`, first 0, last `N`.
    pub cu_seqlens: Vec<i32>,
}

impl Batch {
    /// Packs sequences in the given order.
    ///
    /// # Errors
    /// [`Error::Index`] if a sequence is empty, its two fields differ in length, or the tokens do not fit `i32`.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Result<Self> {
        let mut batch = Self { ids: Vec::new(), token_types: Vec::new(), positions: Vec::new(), cu_seqlens: vec![0] };
        for (row, sequence) in sequences.into_iter().enumerate() {
            let length = sequence.ids.len();
            if length == 0 || sequence.token_types.len() != length {
                return Err(Error::Index { op: "pack", what: "empty or uneven sequence", index: row as i64, bound: row });
            }
            batch.ids.extend_from_slice(&sequence.ids);
            batch.token_types.extend_from_slice(&sequence.token_types);
            batch.positions.extend(0..length as i32);
            let end = i32::try_from(batch.ids.len()).map_err(|_| Error::Index {
                op: "pack",
                what: "token count",
                index: batch.ids.len() as i64,
                bound: i32::MAX as usize,
            })?;
            batch.cu_seqlens.push(end);
        }
        Ok(batch)
    }

    /// Number of sequences `B`.
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Number of packed tokens `N`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Rows of each sequence in turn.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = std::ops::Range<usize>> + '_ {
        self.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// Length of the longest sequence, 0 for an empty batch.
    pub fn max_length(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }
}
