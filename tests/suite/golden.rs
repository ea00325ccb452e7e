//! Reading the expected values under `tests/golden/`.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

/// What the files that this build understands begin with; `generate.py` writes the same.
const MAGIC: &str = "stepsynth-golden";
const VERSION: u64 = 1;
const HINT: &str = "regenerate with: python tests/golden/generate.py";

/// The path of `name` under `tests/golden/`.
pub(crate) fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", name].iter().collect()
}

/// The JSON file `name` after its magic and version are checked.
pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {HINT}", path.display()));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}; {HINT}"));
    assert!(value["magic"] == MAGIC && value["version"] == VERSION, "{name} is not of version {VERSION}; {HINT}");
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{name}: {error}; {HINT}"))
}
