//! A `[[method]]` table of a spec: which method, and its switches.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodKind {
    /// Algorithms 1, 2 and 3 of the paper: seed data, then rounds of error extrapolation.
    S3,
    /// Seed data alone, without rationales (Ye et al. 2022).
    ZeroGen,
    /// Extrapolates the whole gold set instead of the errors.
    GoldGen,
    /// Trains on gold data.
    Gold,
}

impl MethodKind {
    /// Name in specs and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::ZeroGen => "zerogen",
            Self::GoldGen => "goldgen",
            Self::Gold => "gold",
        }
    }
}

/// What is extrapolated in a round of S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mine {
    /// The gold examples that the student got wrong.
    #[default]
    Errors,
    /// As many gold examples, drawn at random: the control without feedback.
    Random,
}

/// Size of the final training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// This many rows.
    Rows(usize),
    /// As many as the method with this label had at the end (same task, student and seed). Written `"as-LABEL"`.
    As(String),
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Rows(rows) => serializer.serialize_u64(*rows as u64),
            Self::As(label) => serializer.serialize_str(&format!("as-{label}")),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a positive number of rows or \"as-METHOD\", for example \"as-s3\"")]
        enum Written {
            Rows(usize),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Rows(rows) => Ok(Self::Rows(rows)),
            Written::Text(text) => match text.strip_prefix("as-") {
                Some(label) if !label.is_empty() => Ok(Self::As(label.to_owned())),
                _ => Err(D::Error::custom(format!(
                    "`{text}` is not a size: write a number of rows or \"as-METHOD\", for example \"as-s3\""
                ))),
            },
        }
    }
}

/// A method with its settings. A field that a method does not use is ignored by it, as its documentation says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodOptions {
    /// Which method.
    pub kind: MethodKind,
    /// Tells apart two entries of one kind, for example `no-rationales`; a column of the results.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `s3`: rounds `R` of error extrapolation.
    #[serde(default = "two")]
    pub rounds: usize,
    /// `s3`: rows of seed data `N_seed`. `zerogen`, `goldgen`: the same where `size` is absent (`goldgen` keeps this many
    /// seed rows and fills up to `size` with extrapolations).
    #[serde(default = "thousand")]
    pub seed_rows: usize,
    /// `zerogen`, `goldgen`, `s3` without extrapolation: rows of the final training set. `gold`: rows of gold data, all if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// `s3`, `goldgen`: seed data are written with rationales (single-sentence tasks; the others have none).
    #[serde(default = "yes")]
    pub rationales: bool,
    /// Rationales asked for per label.
    #[serde(default = "ten")]
    pub rationale_count: usize,
    /// Rationales `k` named in one seed prompt.
    #[serde(default = "two")]
    pub rationales_per_prompt: usize,
    /// `s3`: false = no rounds: seed data alone, `size` rows of them (`"as-s3"` for the paper's Table 3, second row).
    #[serde(default = "yes")]
    pub extrapolate: bool,
    /// `s3`: what is extrapolated.
    #[serde(default)]
    pub mine: Mine,
    /// `s3`: requests per extrapolated example and round.
    #[serde(default = "one")]
    pub per_error: usize,
    /// `s3`, question answering: an answer is an error if its F1 is below this; absent = if it is no exact match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_below_f1: Option<f64>,
    /// Question answering: keep questions that contain their answer.
    #[serde(default)]
    pub answer_in_question: bool,
    /// `zerogen`: the rows of the teacher's recording that extrapolate errors are part of the training set (the paper's
    /// Table 5, second row).
    #[serde(default)]
    pub additional: bool,
    /// How often a rejected answer is asked for again.
    #[serde(default = "two")]
    pub retries: usize,
}

impl MethodOptions {
    /// The method of this kind with every setting at its default.
    pub fn new(kind: MethodKind) -> Self {
        Self {
            kind,
            variant: String::new(),
            rounds: two(),
            seed_rows: thousand(),
            size: None,
            rationales: true,
            rationale_count: ten(),
            rationales_per_prompt: two(),
            extrapolate: true,
            mine: Mine::Errors,
            per_error: one(),
            wrong_below_f1: None,
            answer_in_question: false,
            additional: false,
            retries: two(),
        }
    }

    /// Name within the spec and in paths: the kind, then `-variant` if there is one.
    pub fn label(&self) -> String {
        if self.variant.is_empty() { self.kind.name().to_owned() } else { format!("{}-{}", self.kind.name(), self.variant) }
    }
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn ten() -> usize {
    10
}

fn thousand() -> usize {
    1000
}
