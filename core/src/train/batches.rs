//! Which rows go into which optimizer step.

use crate::random::Stream;

/// A chunk of rows that are sorted by length together holds about this many batches: enough that the rows of a batch are
/// alike, few enough that batches differ from epoch to epoch.
const CHUNK_BATCHES: usize = 32;

/// How the rows of an epoch become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batching {
    /// So many rows; the last batch may be smaller.
    Rows(usize),
    /// As many rows as fit so many tokens, rows of like length together; a longer row is a batch of its own.
    Tokens(usize),
}

/// The batches of every epoch: a function of the rows' lengths and the seed alone.
pub(super) struct Batches {
    lengths: Vec<usize>,
    batching: Batching,
    order: Stream,
}

impl Batches {
    /// For rows of the given lengths in tokens; the sizes in `batching` are at least 1.
    pub(super) fn new(lengths: Vec<usize>, batching: Batching, seed: u64) -> Self {
        Self { lengths, batching, order: Stream::new(seed, "order") }
    }

    /// The batches of an epoch, counted from 1: each row once.
    pub(super) fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut generator = self.order.child(epoch as u64).generator();
        let mut rows: Vec<usize> = (0..self.lengths.len()).collect();
        generator.shuffle(&mut rows);
        match self.batching {
            Batching::Rows(size) => rows.chunks(size).map(<[usize]>::to_vec).collect(),
            Batching::Tokens(budget) => {
                let mut batches = Vec::new();
                let mut rest = rows.as_mut_slice();
                while !rest.is_empty() {
                    let (chunk, later) = rest.split_at_mut(self.fitting(rest, budget.saturating_mul(CHUNK_BATCHES)));
                    rest = later;
                    // Rows of one length keep their random order.
                    chunk.sort_by_key(|&row| self.lengths[row]);
                    let mut chunk = &*chunk;
                    while !chunk.is_empty() {
                        let (batch, later) = chunk.split_at(self.fitting(chunk, budget));
                        chunk = later;
                        batches.push(batch.to_vec());
                    }
                }
                // Otherwise every chunk would go from short rows to long ones.
                generator.shuffle(&mut batches);
                batches
            }
        }
    }

    /// Optimizer steps of so many epochs.
    pub(super) fn steps(&self, epochs: usize) -> usize {
        match self.batching {
            Batching::Rows(size) => self.lengths.len().div_ceil(size) * epochs,
            Batching::Tokens(_) => (1..=epochs).map(|epoch| self.epoch(epoch).len()).sum(),
        }
    }

    /// How many of the first rows fit the budget, at least one.
    fn fitting(&self, rows: &[usize], budget: usize) -> usize {
        let mut tokens = 0_usize;
        let fits = |row: &&usize| {
            tokens = tokens.saturating_add(self.lengths[**row]);
            tokens <= budget
        };
        rows.iter().take_while(fits).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_once_within_the_budget_and_the_same_again(
            lengths in prop::collection::vec(1_usize..200, 1..300),
            budget in 1_usize..2000,
            seed: u64,
            epoch in 1_usize..5,
        ) {
            let plan = Batches::new(lengths.clone(), Batching::Tokens(budget), seed);
            let batches = plan.epoch(epoch);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let tokens: usize = batch.iter().map(|&row| lengths[row]).sum();
                prop_assert!(tokens <= budget || batch.len() == 1, "{:?} has {} tokens", batch, tokens);
            }
            // Planned on another thread, by another value: nothing but the arguments decides.
            let again = std::thread::spawn(move || Batches::new(lengths, Batching::Tokens(budget), seed).epoch(epoch)).join();
            prop_assert_eq!(again.unwrap(), batches);
            let steps: usize = (1..=epoch).map(|epoch| plan.epoch(epoch).len()).sum();
            prop_assert_eq!(plan.steps(epoch), steps);
        }

        /// Greedy filling leaves at most one batch of a chunk less than half full, but for rows above half of the budget.
        #[test]
        fn batches_are_well_filled(lengths in prop::collection::vec(1_usize..50, 1..500), seed: u64) {
            let budget = 100;
            let batches = Batches::new(lengths.clone(), Batching::Tokens(budget), seed).epoch(1);
            let tokens = |batch: &Vec<usize>| batch.iter().map(|&row| lengths[row]).sum::<usize>();
            let total: usize = lengths.iter().sum();
            let chunks = total.div_ceil(budget * CHUNK_BATCHES - 50);
            let slack = batches.iter().filter(|batch| tokens(batch) < budget / 2).count();
            prop_assert!(slack <= chunks, "{} of {} batches, {} chunks", slack, batches.len(), chunks);
        }
    }

    #[test]
    fn epochs_and_seeds_differ_and_batches_are_of_like_length() {
        let lengths: Vec<usize> = (0..300).map(|row| 1 + row % 100).collect();
        let plan = |seed| Batches::new(lengths.clone(), Batching::Tokens(500), seed);
        assert_ne!(plan(1).epoch(1), plan(1).epoch(2));
        assert_ne!(plan(1).epoch(1), plan(2).epoch(1));
        let spread = |batch: &Vec<usize>| {
            let of = || batch.iter().map(|&row| lengths[row]);
            of().max().unwrap() - of().min().unwrap()
        };
        // One chunk, of three rows of each length: the shortest rows fill a batch up to length 17, as 3 (1 + ... + 17) < 500.
        assert!(plan(1).epoch(1).iter().all(|batch| spread(batch) <= 17));
    }

    /// Runs made before there was a token budget stay what they were.
    #[test]
    fn by_rows_the_order_is_that_of_the_shuffle() {
        let mut rows: Vec<usize> = (0..10).collect();
        Stream::new(3, "order").child(2).generator().shuffle(&mut rows);
        let plan = Batches::new(vec![1; 10], Batching::Rows(4), 3);
        assert_eq!(plan.epoch(2), [rows[..4].to_vec(), rows[4..8].to_vec(), rows[8..].to_vec()]);
        assert_eq!(plan.steps(2), 6);
    }
}
