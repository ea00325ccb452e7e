//! The one error type of this crate.

use std::path::PathBuf;

/// What can go wrong in `stepsynth-core`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation was given tensors whose shapes do not fit together.
    #[error("{op}: {what} has shape {got:?}, expected {expected:?}")]
    Shape {
        /// Name of the operation.
        op: &'static str,
        /// Which argument.
        what: &'static str,
        /// The shape the operation needs, `(rows, columns)`.
        expected: (usize, usize),
        /// The shape it got.
        got: (usize, usize),
    },
    /// An index (token id, label, position) lies outside its table.
    #[error("{op}: {what} {index} is outside 0..{bound}")]
    Index {
        /// Name of the operation.
        op: &'static str,
        /// Which index.
        what: &'static str,
        /// Its value.
        index: i64,
        /// One past the largest allowed value.
        bound: usize,
    },
    /// A configuration that cannot be used; says which field and how to mend it.
    #[error("{place}: {message}")]
    Config {
        /// File or section.
        place: String,
        /// Field, fault and remedy.
        message: String,
    },
    /// A tensor file (safetensors) that does not fit the model.
    #[error("{}: {message}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Tensor name, both shapes where they differ, and how to mend it.
        message: String,
    },
    /// The tokenizer could not be loaded, trained or run.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A loss or gradient stopped being a number.
    #[error("training diverged at step {step}: {what} is {value}; lower the learning rate (now {learning_rate:e})")]
    Diverged {
        /// Optimizer step, from 0.
        step: usize,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The value seen.
        value: f64,
        /// Learning rate of that step.
        learning_rate: f64,
    },
    /// The caller asked to stop (for example Ctrl-C).
    #[error("interrupted")]
    Interrupted,
    /// A device failed.
    #[error("{device}: {message}")]
    Device {
        /// Backend name.
        device: String,
        /// What the device said.
        message: String,
    },
    /// A device has too little memory.
    #[error("{device}: out of memory: {} asked for, {} in use, {} free", size(*asked), size(*used), size(*free))]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes that were asked for.
        asked: u64,
        /// Bytes that this program has there.
        used: u64,
        /// Bytes that nobody has.
        free: u64,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        small if small < 1.0 => format!("{bytes} bytes"),
        middle if middle < 1024.0 => format!("{middle:.0} MiB"),
        large => format!("{:.1} GiB", large / 1024.0),
    }
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_units_that_people_read() {
        let error = Error::OutOfMemory { device: "cuda:0".into(), asked: 3 << 29, used: 70 << 30, free: 5 << 20 };
        assert_eq!(error.to_string(), "cuda:0: out of memory: 1.5 GiB asked for, 70.0 GiB in use, 5 MiB free");
        assert_eq!(size(1023), "1023 bytes");
    }
}
