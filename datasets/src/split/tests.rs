use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use proptest::prelude::*;

use super::divide::divide;
use super::*;
use crate::Error;
use crate::{Input, Target};

const LABELS: usize = 3;

fn task() -> TaskSpec {
    let text = "version = 1\nname = \"t\"\nkind = \"single\"\nlabels = [\"a\", \"b\", \"c\"]\nmetric = \"accuracy\"\n[split]\nmine = 12\nselect = 7";
    TaskSpec::parse(text, Path::new("t.toml")).unwrap()
}

/// Rows whose texts repeat (there are few) and vary in case and spaces.
fn rows(name: &'static str, max: usize) -> impl Strategy<Value = Vec<Example>> {
    proptest::collection::vec((0..60_usize, 0..LABELS, any::<bool>()), 0..max).prop_map(move |rows| {
        let example = |(row, (text, label, loud)): (usize, (usize, usize, bool))| Example {
            id: format!("{name}:{row}"),
            input: Input::Single { text: if loud { format!(" Text  {text}") } else { format!("text {text}") } },
            target: Target::Label(label),
        };
        rows.into_iter().enumerate().map(example).collect()
    })
}

fn keys(rows: &[Example]) -> HashSet<String> {
    rows.iter().map(|example| example.input.content_key()).collect()
}

fn label_counts(rows: &[Example]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.label().unwrap()).or_default() += 1;
    }
    counts
}

/// Each label of `drawn` is within one row of its share in `from`.
fn assert_stratified(drawn: &[Example], from: &[Example]) {
    let (got, there) = (label_counts(drawn), label_counts(from));
    for (label, count) in there {
        let share = drawn.len() as f64 * count as f64 / from.len() as f64;
        let got = got.get(&label).copied().unwrap_or(0) as f64;
        assert!((got - share).abs() < 1.0, "label {label}: {got} of a share of {share}");
    }
}

proptest! {
    #[test]
    fn clean_splits_are_disjoint_stratified_and_repeatable(train in rows("train", 80), test in rows("test", 30), seed: u64) {
        let options = SplitOptions::new(Protocol::Clean, seed);
        let test_keys = keys(&test);
        let mut seen = HashSet::new();
        let usable: Vec<Example> = train
            .iter()
            .filter(|e| !test_keys.contains(&e.input.content_key()) && seen.insert(e.input.content_key()))
            .cloned()
            .collect();
        let divided = divide(&task(), train.clone(), test.clone(), &options);
        if usable.len() < 2 {
            let dropped = train.len() - usable.len();
            let Err(Error::TooFewRows { rows, dropped: counted, .. }) = divided else { panic!("{divided:?}") };
            prop_assert_eq!((rows, counted), (usable.len(), dropped));
            return Ok(());
        }
        let (splits, division) = divided.unwrap();
        let (mine, select) = (keys(&splits.mine), keys(&splits.select));
        prop_assert!(mine.is_disjoint(&select) && mine.is_disjoint(&test_keys) && select.is_disjoint(&test_keys));
        prop_assert_eq!((mine.len(), select.len()), (splits.mine.len(), splits.select.len()));

        prop_assert_eq!(splits.test.len(), test.len());
        prop_assert_eq!(splits.test.open(&FinalEvaluator::new()), &test);
        prop_assert_eq!(division.in_test + division.repeated + usable.len(), train.len());
        prop_assert_eq!(division.train + division.select, usable.len());
        prop_assert_eq!(division.unused, division.in_test + division.repeated);
        let gold = keys(&splits.train);
        prop_assert!(mine.is_subset(&gold) && gold.is_disjoint(&select) && gold.is_disjoint(&test_keys));
        if usable.len() >= 19 {
            prop_assert_eq!((division.mine, division.select), (12, 7));
        } else {
            prop_assert_eq!(division.mine + division.select, usable.len());
        }

        assert_stratified(&splits.mine, &usable);
        let rest: Vec<Example> = usable.iter().filter(|e| !mine.contains(&e.input.content_key())).cloned().collect();
        assert_stratified(&splits.select, &rest);

        let (again, same) = divide(&task(), train, test, &options).unwrap();
        prop_assert_eq!((&again.mine, &again.select, same), (&splits.mine, &splits.select, division));
    }

    #[test]
    fn paper_splits_are_the_whole_gold_data(train in rows("train", 40), test in rows("test", 20), seed: u64) {
        let (splits, division) = divide(&task(), train.clone(), test.clone(), &SplitOptions::new(Protocol::Paper, seed)).unwrap();
        prop_assert_eq!(&splits.train, &train);
        prop_assert_eq!(&splits.mine, &train);
        prop_assert_eq!(&splits.select, &train);
        prop_assert_eq!(splits.test.open(&FinalEvaluator::new()), &test);
        prop_assert_eq!(division.unused, 0);
    }

    #[test]
    fn samples_are_stratified_and_capped(train in rows("train", 60), test in rows("test", 60), seed: u64, size in 1..70_usize) {
        let mut options = SplitOptions::new(Protocol::Paper, seed);
        (options.train, options.mine, options.select, options.test) = (Some(size), Some(size), Some(size), Some(size));
        let (splits, division) = divide(&task(), train.clone(), test.clone(), &options).unwrap();
        prop_assert_eq!(&splits.mine, &splits.select);
        prop_assert_eq!(&splits.mine, &splits.train);
        prop_assert_eq!((division.mine, division.test), (size.min(train.len()), size.min(test.len())));
        if !train.is_empty() {
            assert_stratified(&splits.mine, &train);
        }
        if !test.is_empty() {
            assert_stratified(splits.test.open(&FinalEvaluator::new()), &test);
        }
    }
}

#[test]
fn another_seed_draws_other_rows() {
    let train: Vec<Example> = (0..200)
        .map(|row| Example {
            id: row.to_string(),
            input: Input::Single { text: format!("text {row}") },
            target: Target::Label(row % LABELS),
        })
        .collect();
    let mine = |seed| divide(&task(), train.clone(), Vec::new(), &SplitOptions::new(Protocol::Clean, seed)).unwrap().0.mine;
    assert_ne!(mine(0), mine(1));
}
