//! GoldGen: S3's seed data and extrapolations of the whole gold set instead of the errors, at S3's total size.

use anyhow::Result;
use rand::seq::SliceRandom;
use stepsynth_datasets::random::generator;

use super::{ask, extrapolate, seed};
use crate::experiment::cell::Cell;
use crate::failure::Failure;

pub(super) fn run(cell: &Cell<'_>) -> Result<()> {
    // The seed data are S3's, gaps and all; what they lack is made up for below.
    let mut rows = seed::write(cell, cell.options.seed_rows, 0, cell.options.rationales)?;
    let gold = cell.gold.mine.len();
    let (wanted, spare) = match cell.wanted_rows()? {
        None => (gold, 0),
        Some(size) if size < rows.len() => {
            let (seeds, label) = (rows.len(), cell.options.label());
            return Err(Failure::usage(format!("{label}: {seeds} seed rows are more than its size, {size}; lower `seed_rows`")));
        }
        Some(size) => (size - rows.len(), ask::spare(size - rows.len())),
    };
    let items = cycled(cell.seed, gold, wanted + spare);
    rows.extend(extrapolate::write(cell, 1, &items, wanted, &mut extrapolate::start())?);
    cell.train(1, &rows, true)?;
    Ok(())
}

/// `count` indices below `gold`: every one once, then every one again. Each pass has an order of its own, so that a pass that
/// is not finished is a fair sample (gold files are often sorted by label).
fn cycled(seed: u64, gold: usize, count: usize) -> Vec<usize> {
    let mut indices = Vec::with_capacity(count);
    for pass in 0..if gold == 0 { 0 } else { count.div_ceil(gold) } {
        let mut order: Vec<usize> = (0..gold).collect();
        order.shuffle(&mut generator(seed, "goldgen/order", pass as u64));
        order.truncate(count - indices.len());
        indices.extend(order);
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gold_is_cycled_evenly() {
        let indices = cycled(1, 4, 10);
        let times = |item| indices.iter().filter(|index| **index == item).count();
        assert_eq!(indices.len(), 10);
        assert!((0..4).all(|item| (2..=3).contains(&times(item))), "{indices:?}");
        assert!(cycled(1, 0, 10).is_empty());
        assert_ne!(cycled(1, 9, 9), cycled(2, 9, 9));
    }
}
