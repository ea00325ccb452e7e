//! The teacher: whatever turns a prompt into text.

mod identity;
mod recording;
mod replay;
mod simulated;

pub use recording::Recording;
pub use replay::{Recorded, Replay};
pub use simulated::Simulated;

use serde::{Deserialize, Serialize};
use stepsynth_datasets::load::{BadRow, FileRecord};
use stepsynth_datasets::{Answer, Example};

/// Where generated text came from; a column of every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// An LLM was asked during the run.
    Live,
    /// Recorded answers of an LLM were read.
    Replayed,
    /// The laboratory's simulated teacher wrote it.
    Simulated,
    /// No teacher was involved.
    None,
}

/// The three kinds of request in the paper's algorithms (its Table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `T_ration(y)`: reasons that could lead to label `y`.
    Rationale,
    /// `T_query1` and `T_query2`: one seed example.
    Seed,
    /// `T_mis1` and `T_mis2`: a new example like the one the student got wrong.
    Extrapolate,
}

/// One request. `prompt` is what a language model reads; `about` holds the facts it was rendered from, for teachers that
/// do not read prose (`simulated`, `replay`).
#[derive(Clone, Debug)]
pub struct Request {
    /// Task name.
    pub task: String,
    /// Kind of request.
    pub step: Step,
    /// The rendered prompt.
    pub prompt: String,
    /// Template id and version, `id@version`.
    pub prompt_id: String,
    /// How many earlier requests of the cell had this prompt; part of the request's identity.
    pub sample: u64,
    /// The facts behind the prompt.
    pub about: About,
}

/// What a request is about; fields that do not apply are empty.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Label asked for, an index into the task's label names.
    pub label: Option<usize>,
    /// Rationales named in a seed prompt.
    pub rationales: Vec<String>,
    /// Number of rationales asked for.
    pub rationale_count: usize,
    /// Premise, paragraph or context that the answer must go with.
    pub context: Option<String>,
    /// The gold example that the context was taken from, or that is extrapolated.
    pub parent: Option<Example>,
    /// Answer that the question must have (question answering).
    pub answer: Option<Answer>,
    /// How many earlier requests of the cell had this step and this label or answer and, when extrapolating, this context:
    /// a recording that names no parents gives its rows out by this number.
    pub occurrence: u64,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The teacher was done or met a stop word.
    Stop,
    /// The token limit cut it.
    Length,
    /// The provider's filter withheld it.
    ContentFilter,
}

/// What a completion consumed. Unknown is `None`, never a guess.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Tokens written.
    pub completion_tokens: Option<u64>,
    /// Price in US dollars.
    pub usd: Option<f64>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text as it came.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// What it consumed.
    pub usage: Usage,
    /// The recorded row that `text` was read from (`replay` alone). It is taken whole, because recorded seed rows go with
    /// contexts of their own and not with the one asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// Why one request has no answer; its neighbours are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestError {
    /// The recording holds no (further) row for this request.
    #[error("nothing recorded for this request")]
    NotRecorded,
    /// The teacher cannot do this kind of request.
    #[error("{0}")]
    Unsupported(String),
    /// A budget (`--max-requests`, `--max-tokens`, `--max-usd`) is used up; the request was not sent.
    #[error("not sent: {0}")]
    Budget(String),
}

/// The files that a teacher reads its answers from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The files, in the order of reading.
    pub files: Vec<FileRecord>,
    /// Rows of them that were left out.
    pub bad_rows: Vec<BadRow>,
}

/// A source of text: synchronous, in batches, one result per request in the same order.
pub trait Teacher: Send + Sync {
    /// Name for results, for example `simulated` or `replay:s3`.
    fn name(&self) -> String;
    /// Where its text comes from.
    fn provenance(&self) -> Provenance;
    /// Answers every request. The answer to a request depends on that request and the teacher's own settings alone, never on
    /// timing or on other requests.
    fn complete(&self, requests: &[Request]) -> Vec<Result<Completion, RequestError>>;
    /// The rows it reads its answers from, if it is a recording. A teacher around another one passes this on.
    fn recording(&self) -> Option<&[Recorded]> {
        None
    }
    /// The files it reads. A teacher around another one passes this on.
    fn sources(&self) -> Sources {
        Sources::default()
    }
}
