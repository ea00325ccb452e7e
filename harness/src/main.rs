//! The `stepsynth` command.

fn main() {}
