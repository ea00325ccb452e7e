//! The methods, each in a file that reads like the paper's algorithm box, over shared steps:
//! `seed` (what to ask for at the start), `mine` (which gold examples to learn from), `extrapolate` (asking for more like
//! them), all of which ask the teacher through `ask`.

mod ask;
mod extrapolate;
mod gold;
mod goldgen;
mod mine;
mod rationale;
mod row;
mod row_file;
mod s3;
mod seed;
mod zerogen;

pub use row::Row;
pub use row_file::RowFile;

use crate::experiment::cell::Cell;
use crate::experiment::method_options::MethodKind;

/// Runs the cell's method to the end: it asks the teacher, trains students and has the last one scored.
///
/// # Errors
/// Options that the teacher or the data cannot serve, and whatever a step of the cell reports.
pub fn run(cell: &Cell<'_>) -> anyhow::Result<()> {
    match cell.options.kind {
        MethodKind::S3 => s3::run(cell),
        MethodKind::ZeroGen => zerogen::run(cell),
        MethodKind::GoldGen => goldgen::run(cell),
        MethodKind::Gold => gold::run(cell),
    }
}

#[cfg(test)]
mod tests;
