//! The AMX tile unit in software, for tests on machines without one.
//!
//! A processor without AMX answers a tile instruction with an illegal-instruction signal. [`trap`] takes the signal, has
//! [`decode`] read the instruction, has [`machine`] execute it as the published pseudo-code says (Intel's Software Developer's
//! Manual, volume 2, and chapter 18 of volume 1), and continues behind it. So the very code that will run on AMX runs here,
//! a thousand times slower. It was written from the pseudo-code alone: where that is ambiguous or a processor differs from
//! it, a green test says nothing.
//!
//! A test of one block declares the memory that it may touch ([`trap::emulate`]); whole matrix products, on any thread, run
//! without such limits ([`trap::emulate_everywhere`]): they reach the instructions through slices that are checked.

pub(crate) mod decode;
pub(crate) mod machine;
#[cfg(test)]
mod tests;
pub(crate) mod trap;
