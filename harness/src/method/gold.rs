//! The gold baseline: the student trains on gold data; nobody is asked for anything.

use anyhow::Result;
use rand::seq::index::sample;
use stepsynth_datasets::random::generator;

use super::Row;
use crate::experiment::cell::Cell;
use crate::teacher::{Provenance, Usage};

pub(super) fn run(cell: &Cell<'_>) -> Result<()> {
    let gold = &cell.gold.train;
    let size = cell.wanted_rows()?.unwrap_or(gold.len()).min(gold.len());
    let mut chosen = sample(&mut generator(cell.seed, "gold/rows", 0), gold.len(), size).into_vec();
    chosen.sort_unstable();
    let row = |index: usize| Row {
        round: 0,
        example: gold[index].clone(),
        parent: None,
        rationales: Vec::new(),
        prompt_id: String::new(),
        request_hash: String::new(),
        teacher: String::new(),
        provenance: Provenance::None,
        usage: Usage::default(),
        filters: Vec::new(),
    };
    cell.train(0, &chosen.into_iter().map(row).collect::<Vec<_>>(), true)?;
    Ok(())
}
