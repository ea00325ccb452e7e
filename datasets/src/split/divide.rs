//! Gold rows into mine, select and test.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::stratify::draw;
use super::{Protocol, Sealed, SplitOptions, Splits};
use crate::{Error, Example, Result, TaskSpec};

/// How gold rows were divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Division {
    /// Rows of the gold training files.
    pub train_rows: usize,
    /// Training rows whose content is in the test data: dropped under `clean`, kept under `paper`.
    pub in_test: usize,
    /// Training rows that repeat an earlier one: dropped under `clean`, kept under `paper`.
    pub repeated: usize,
    /// Rows that the gold baseline trains on.
    pub train: usize,
    /// Rows of mine.
    pub mine: usize,
    /// Rows of select.
    pub select: usize,
    /// Training rows that are in none of these.
    pub unused: usize,
    /// Rows of test.
    pub test: usize,
    /// Rows of the gold test files.
    pub test_rows: usize,
}

/// Divides by `options`; samples are drawn from all rows, before the test data are sealed.
pub(super) fn divide(
    task: &TaskSpec,
    train: Vec<Example>,
    test: Vec<Example>,
    options: &SplitOptions,
) -> Result<(Splits, Division)> {
    let content = Content::of(&train, &test);
    let (gold, mine, select) = match options.protocol {
        Protocol::Paper => {
            let all: Vec<usize> = (0..train.len()).collect();
            // One purpose, so that equal sizes give equal sets: select is mine, as in the released scripts.
            let sample = |size: Option<usize>| match size {
                None => all.clone(),
                Some(size) => draw(&train, &all, size, options.seed, "split gold train").0,
            };
            (sample(options.train), sample(options.mine), sample(options.select))
        }
        Protocol::Clean => {
            if content.clean.len() < 2 {
                let dropped = train.len() - content.clean.len();
                return Err(Error::TooFewRows { task: task.name.clone(), rows: content.clean.len(), dropped });
            }
            let wanted = (options.mine.unwrap_or(task.split.mine), options.select.unwrap_or(task.split.select));
            let (mine_size, select_size) = fit(wanted, content.clean.len());
            let (mine, rest) = draw(&train, &content.clean, mine_size, options.seed, "split mine");
            let (select, _) = draw(&train, &rest, select_size, options.seed, "split select");
            let others: Vec<usize> = content.clean.iter().copied().filter(|row| select.binary_search(row).is_err()).collect();
            let size = options.train.unwrap_or(others.len());
            (draw(&train, &others, size, options.seed, "split gold train").0, mine, select)
        }
    };
    let all_test: Vec<usize> = (0..test.len()).collect();
    let test_sample = match options.test {
        None => all_test,
        Some(size) => draw(&test, &all_test, size, options.seed, "split test").0,
    };
    let used: HashSet<usize> = gold.iter().chain(&mine).chain(&select).copied().collect();
    let division = Division {
        train_rows: train.len(),
        in_test: content.in_test,
        repeated: content.repeated,
        train: gold.len(),
        mine: mine.len(),
        select: select.len(),
        unused: train.len() - used.len(),
        test: test_sample.len(),
        test_rows: test.len(),
    };
    let pick = |rows: &[Example], indices: Vec<usize>| indices.into_iter().map(|row| rows[row].clone()).collect();
    let splits = Splits {
        train: pick(&train, gold),
        mine: pick(&train, mine),
        select: pick(&train, select),
        test: Sealed::new(pick(&test, test_sample)),
    };
    Ok((splits, division))
}

/// The training rows by what they share with others.
struct Content {
    /// Rows that are not in the test data and repeat no earlier row, ascending.
    clean: Vec<usize>,
    in_test: usize,
    repeated: usize,
}

impl Content {
    fn of(train: &[Example], test: &[Example]) -> Self {
        let test: HashSet<String> = test.iter().map(|example| example.input.content_key()).collect();
        let mut seen = HashSet::new();
        let mut content = Self { clean: Vec::new(), in_test: 0, repeated: 0 };
        for (row, example) in train.iter().enumerate() {
            let key = example.input.content_key();
            if test.contains(&key) {
                content.in_test += 1;
            } else if seen.insert(key) {
                content.clean.push(row);
            } else {
                content.repeated += 1;
            }
        }
        content
    }
}

/// The two sizes, cut in proportion where there are not enough rows; both keep at least one. `rows` is at least 2.
fn fit((mine, select): (usize, usize), rows: usize) -> (usize, usize) {
    let (mine, select) = (mine.max(1), select.max(1));
    let wanted = mine as u128 + select as u128;
    if wanted <= rows as u128 {
        return (mine, select);
    }
    let mine = (rows as u128 * mine as u128 / wanted) as usize;
    let mine = mine.clamp(1, rows - 1);
    (mine, rows - mine)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn sizes_are_cut_in_proportion() {
        assert_eq!(fit((1000, 1000), 2490), (1000, 1000));
        assert_eq!(fit((1000, 1000), 1501), (750, 751));
        assert_eq!(fit((3000, 1000), 400), (300, 100));
        assert_eq!(fit((1000, 1), 2), (1, 1));
        assert_eq!(fit((0, 5), 10), (1, 5));
    }
}
