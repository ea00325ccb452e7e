//! One synthetic example with its provenance.

use serde::{Deserialize, Serialize};
use stepsynth_datasets::Example;

use crate::teacher::{Provenance, Usage};

/// A synthetic (or, for the gold baseline, gold) training row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Round that wrote it: 0 = seed data, `q` = additional data of round `q`.
    pub round: usize,
    /// The example.
    pub example: Example,
    /// Id of the gold example it was extrapolated from, or whose context it uses.
    pub parent: Option<String>,
    /// Rationales named in its prompt.
    pub rationales: Vec<String>,
    /// Template that asked for it, `id@version`; empty for rows nobody was asked for.
    pub prompt_id: String,
    /// SHA-256 of the request (hex).
    pub request_hash: String,
    /// Teacher that wrote it.
    pub teacher: String,
    /// Where the text came from.
    pub provenance: Provenance,
    /// What the request consumed.
    pub usage: Usage,
    /// Hygiene filters that changed the text (those that reject leave no row).
    pub filters: Vec<String>,
}
