//! Metrics of classification.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Share of rows whose predicted class is the true one.
///
/// # Errors
/// [`Error::Shape`] if there are no rows or the two slices differ in length.
pub fn accuracy(truth: &[usize], predicted: &[usize]) -> Result<f64> {
    check("accuracy", truth, predicted)?;
    let hits = truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
    Ok(hits as f64 / truth.len() as f64)
}

/// Unweighted mean of `F1 = 2 TP / (2 TP + FP + FN)` over the classes that occur in `truth` or in `predicted`.
///
/// This is scikit-learn's `f1_score(average="macro", zero_division=0)`: a class that is only predicted, or never hit,
/// counts with 0; a class that occurs in neither does not count.
///
/// # Errors
/// [`Error::Shape`] if there are no rows or the two slices differ in length.
pub fn macro_f1(truth: &[usize], predicted: &[usize]) -> Result<f64> {
    check("macro_f1", truth, predicted)?;
    // Class -> (true positives, occurrences in truth plus occurrences in predictions).
    let mut counts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        counts.entry(truth).or_default().1 += 1;
        counts.entry(predicted).or_default().1 += 1;
        if truth == predicted {
            counts.entry(truth).or_default().0 += 1;
        }
    }
    let sum: f64 = counts.values().map(|&(hits, occurrences)| 2.0 * hits as f64 / occurrences as f64).sum();
    Ok(sum / counts.len() as f64)
}

fn check(op: &'static str, truth: &[usize], predicted: &[usize]) -> Result<()> {
    if truth.is_empty() || truth.len() != predicted.len() {
        let expected = (truth.len().max(1), 1);
        return Err(Error::Shape { op, what: "predictions, one for each true label", expected, got: (predicted.len(), 1) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_f1_counts_labels_of_truth_and_prediction() {
        // Class 0: TP 1, FP 0, FN 1 -> 2/3. Class 1: never predicted -> 0. Class 5: only predicted -> 0.
        let value = macro_f1(&[0, 0, 1], &[0, 5, 5]).unwrap();
        assert!((value - 2.0 / 9.0).abs() < 1e-15, "{value}");
    }

    #[test]
    fn uneven_or_no_rows_are_errors() {
        assert!(accuracy(&[], &[]).is_err());
        let message = macro_f1(&[1, 2], &[1]).unwrap_err().to_string();
        assert_eq!(message, "macro_f1: predictions, one for each true label has shape (1, 1), expected (2, 1)");
    }
}
