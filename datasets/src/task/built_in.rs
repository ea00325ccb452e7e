//! The tasks that come with stepsynth: adding one is adding a file and its line here.

/// Name and TOML text of each.
pub(super) const FILES: &[(&str, &str)] = &[
    ("imdb", include_str!("../../tasks/imdb.toml")),
    ("qnli", include_str!("../../tasks/qnli.toml")),
    ("rte", include_str!("../../tasks/rte.toml")),
    ("adqa", include_str!("../../tasks/adqa.toml")),
    ("sst2", include_str!("../../tasks/sst2.toml")),
    ("agnews", include_str!("../../tasks/agnews.toml")),
    ("squad", include_str!("../../tasks/squad.toml")),
    ("lab-reviews", include_str!("../../tasks/lab-reviews.toml")),
    ("lab-questions", include_str!("../../tasks/lab-questions.toml")),
    ("lab-entailment", include_str!("../../tasks/lab-entailment.toml")),
    ("lab-spans", include_str!("../../tasks/lab-spans.toml")),
];

/// Names of the built-in tasks.
pub fn built_in() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}
