//! S3: synthesis step by step (the paper's Algorithm 2; Algorithms 1 and 3 are in `seed`).

use anyhow::Result;

use super::{ask, extrapolate, mine, seed};
use crate::experiment::cell::Cell;
use crate::experiment::method_options::Mine;

pub(super) fn run(cell: &Cell<'_>) -> Result<()> {
    let options = cell.options;
    if !options.extrapolate {
        return without_extrapolation(cell);
    }
    let mut rows = seed::write(cell, options.seed_rows, 0, options.rationales)?;
    let mut numbering = extrapolate::start();
    for q in 0..options.rounds {
        let student = cell.train(q, &rows, false)?;
        let errors = mine::errors(cell, &student)?;
        let mined = match options.mine {
            Mine::Errors => errors,
            Mine::Random => mine::random(cell, q, errors.len()),
        };
        let wanted: Vec<usize> = mined.into_iter().flat_map(|item| std::iter::repeat_n(item, options.per_error)).collect();
        rows.extend(extrapolate::write(cell, q + 1, &wanted, wanted.len(), &mut numbering)?);
    }
    cell.train(options.rounds, &rows, true)?;
    Ok(())
}

/// Table 3, second row: the same amount of data, all of it seed data.
fn without_extrapolation(cell: &Cell<'_>) -> Result<()> {
    let size = cell.wanted_rows()?.unwrap_or(cell.options.seed_rows);
    let rows = seed::write(cell, size, ask::spare(size), cell.options.rationales)?;
    cell.train(0, &rows, true)?;
    Ok(())
}
