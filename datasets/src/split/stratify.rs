//! Samples that keep the shares of the labels.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::Example;
use crate::random::generator;

/// `size` of the rows `from` (indices into `rows`), or all if there are fewer, and the rest; both ascending. Each label has
/// its share of `size` up to less than one row (questions all count as one label).
pub(super) fn draw(rows: &[Example], from: &[usize], size: usize, seed: u64, purpose: &str) -> (Vec<usize>, Vec<usize>) {
    let mut by_label: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for &row in from {
        by_label.entry(rows[row].label()).or_default().push(row);
    }
    let counts: Vec<usize> = by_label.values().map(Vec::len).collect();
    let quotas = quotas(&counts, size.min(from.len()));
    let (mut drawn, mut rest) = (Vec::new(), Vec::new());
    for (index, (mut members, quota)) in by_label.into_values().zip(quotas).enumerate() {
        members.shuffle(&mut generator(seed, purpose, index as u64));
        drawn.extend_from_slice(&members[..quota]);
        rest.extend_from_slice(&members[quota..]);
    }
    drawn.sort_unstable();
    rest.sort_unstable();
    (drawn, rest)
}

/// `size` in the proportions of `counts` by largest remainder (ties: the earlier), so each within one of its exact share.
fn quotas(counts: &[usize], size: usize) -> Vec<usize> {
    let total: u128 = counts.iter().map(|count| *count as u128).sum();
    if total == 0 {
        return vec![0; counts.len()];
    }
    let share = |count: usize| (size as u128 * count as u128 / total, size as u128 * count as u128 % total);
    let mut quotas: Vec<usize> = counts.iter().map(|count| share(*count).0 as usize).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|label| std::cmp::Reverse(share(counts[*label]).1));
    let missing = size - quotas.iter().sum::<usize>();
    for label in order.into_iter().take(missing) {
        quotas[label] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::quotas;

    #[test]
    fn largest_remainder() {
        assert_eq!(quotas(&[50, 50], 10), [5, 5]);
        assert_eq!(quotas(&[2, 1], 2), [1, 1]);
        assert_eq!(quotas(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(quotas(&[3, 4], 7), [3, 4]);
        assert_eq!(quotas(&[0, 4], 3), [0, 3]);
        assert_eq!(quotas(&[], 0), [0_usize; 0]);
    }
}
