//! What a run leaves for people: the results file and tables.

pub mod results;
pub mod table;
