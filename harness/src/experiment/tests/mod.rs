//! Whole runs with a small world: a teacher that counts, a student that remembers.

mod fake;
mod resume;
mod spec_faults;
