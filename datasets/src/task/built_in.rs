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
];

/// Names of the built-in tasks.
pub fn built_in() -> Vec<&'static str> {
    FILES.iter().map(|(name, _)| *name).collect()
}
