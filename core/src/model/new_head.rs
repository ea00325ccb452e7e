//! What to tell of a head that a checkpoint lacks.

use std::fmt;
use std::path::PathBuf;

use crate::config::Head;

/// A head, or its last layer, that was not in a checkpoint and has been drawn anew. Displayed as one line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHead {
    /// The safetensors file or index without the head.
    pub file: PathBuf,
    /// Transformers' names of the missing tensors, never empty.
    pub missing: Vec<String>,
    /// The head asked for.
    pub head: Head,
    /// What the new tensors are drawn from.
    pub seed: u64,
}

impl fmt::Display for NewHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, file, seed) = (self.missing.join(", "), self.file.display(), self.seed);
        let verb = if self.missing.len() == 1 { "is" } else { "are" };
        write!(f, "{missing} {verb} not in {file}: a new head for ")?;
        match self.head {
            Head::Classification { labels: 1 } => write!(f, "1 class")?,
            Head::Classification { labels } => write!(f, "{labels} classes")?,
            Head::QuestionAnswering => write!(f, "answer spans")?,
        }
        write!(f, " is initialised from seed {seed}")
    }
}
