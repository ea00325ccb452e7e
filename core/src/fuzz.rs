//! Files damaged at random, for tests of what reads them.

use proptest::prelude::*;

use crate::Error;

/// What a user sees must be one line of reasonable length, whatever the file holds.
pub(crate) fn check_line(error: &Error) {
    let line = error.to_string();
    assert!(!line.chars().any(char::is_control) && line.len() < 2000, "{line:?}");
}

/// A change of a file: overwrite, cut, insert or repeat some bytes at a place given as a share of its length.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Overwrite(u16, Vec<u8>),
    Cut(u16, u8),
    Insert(u16, Vec<u8>),
    Repeat(u16, u8),
}

pub(crate) fn any_change() -> impl Strategy<Value = Change> {
    let words = prop_oneof![
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        any::<u64>().prop_map(|number| number.to_le_bytes().to_vec()),
        prop::sample::select(&["[", "{", "\"", "null", "-1", "1e999", ",", "]", "}", "\\u0000", "weight_map", "../", "F64"][..])
            .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..9),
    ];
    (any::<u16>(), words, any::<u8>(), 0..4).prop_map(|(place, bytes, count, kind)| match kind {
        0 => Change::Overwrite(place, bytes),
        1 => Change::Cut(place, count),
        2 => Change::Insert(place, bytes),
        _ => Change::Repeat(place, count),
    })
}

/// Applies the changes, placed in the first `within` bytes.
pub(crate) fn change(bytes: &mut Vec<u8>, changes: Vec<Change>, within: usize) {
    for change in changes {
        let at = |place: u16| usize::from(place) * within.min(bytes.len()) / (1 << 16);
        match change {
            Change::Overwrite(place, new) => {
                let (at, length) = (at(place), bytes.len());
                bytes.splice(at..length.min(at + new.len()), new);
            }
            Change::Cut(place, count) => {
                let (at, length) = (at(place), bytes.len());
                bytes.drain(at..length.min(at + usize::from(count)));
            }
            Change::Insert(place, new) => {
                let at = at(place);
                bytes.splice(at..at, new);
            }
            Change::Repeat(place, count) => {
                let at = at(place);
                let again = bytes[at..bytes.len().min(at + usize::from(count))].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}
