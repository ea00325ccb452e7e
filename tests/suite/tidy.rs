//! What ARCHITECTURE.md calls invariants, checked on the source text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest source file. A flat list of independent items may be long; one type or one flow should be split.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Files below the workspace's packages with one of the given endings, as (path from the root, contents).
fn sources(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push((relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 5, "the source files were not found");
    found
}

fn manifest(package: &str) -> toml::Table {
    std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// core <- kernels <- harness -> datasets, and nothing points back.
#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("core", &[] as &[&str]),
        ("kernels", &["stepsynth-core"]),
        ("datasets", &[]),
        ("harness", &["stepsynth-core", "stepsynth-datasets", "stepsynth-kernels"]),
    ]);
    for (package, allowed) in allowed {
        let manifest = manifest(package);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = manifest.get(section).and_then(|table| table.as_table()).into_iter().flat_map(|table| table.keys());
            for name in names.filter(|name| name.starts_with("stepsynth")) {
                assert!(allowed.contains(&name.as_str()), "{package} must not depend on {name}");
            }
        }
    }
}

#[test]
fn no_asynchronous_runtime() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for runtime in ["tokio", "async-std", "smol", "futures-executor"] {
        assert!(!lock.contains(&format!("name = \"{runtime}\"")), "{runtime} is in Cargo.lock");
    }
}

#[test]
fn unsafe_is_confined_to_kernels() {
    const ALLOWED: [&str; 9] = [
        "kernels/src/cpu/gemm",
        "kernels/src/cuda/driver/context",
        "kernels/src/cuda/driver/launch",
        "kernels/src/cuda/driver/memory",
        "kernels/src/cuda/driver/nvrtc",
        "kernels/src/cuda/driver/tensor_map",
        "kernels/emulator/",
        "kernels/lab/src/bench/cublaslt",
        "kernels/tests/allocations.rs",
    ];
    for (path, text) in sources(&[".rs"]) {
        if ALLOWED.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            assert!(!words.clone().any(|word| word == concat!("un", "safe")), "{path}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn files_are_short() {
    for (path, text) in sources(&[".rs", ".cu", ".cuh", ".py"]) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{path} has {lines} lines, more than {MAX_LINES}: split it");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unim", "plemented!("), concat!("db", "g!(")];
    for (path, text) in sources(&[".rs", ".cu", ".cuh", ".py", ".toml", ".md", ".sh"]) {
        for (number, line) in text.lines().enumerate() {
            for mark in marks {
                assert!(!line.contains(mark), "{path}:{}: {line}", number + 1);
            }
        }
    }
}

/// Nothing in the documents still waits to be filled in.
#[test]
fn no_placeholder_is_left() {
    for (path, text) in sources(&[".md", ".rs"]).into_iter().filter(|(path, _)| path.ends_with(".md")) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            assert!(!(line.len() > 1 && line.starts_with('@') && line.ends_with('@')), "{path}:{}: {line}", number + 1);
        }
    }
}

/// The test split is opened by the final evaluator alone, and one file alone so much as names it, so that it cannot be
/// imported under another name either.
#[test]
fn one_file_opens_the_test_split() {
    let others = ["core/", "kernels/", "harness/", "benches/"];
    let openers: Vec<String> = sources(&[".rs"])
        .into_iter()
        .filter(|(path, text)| others.iter().any(|other| path.starts_with(other)) && text.contains(concat!("Final", "Evaluator")))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(openers, ["harness/src/experiment/evaluate.rs"]);
}

/// Every package forbids what the workspace forbids.
#[test]
fn every_package_takes_the_workspace_lints() {
    for package in ["core", "kernels", "kernels/emulator", "kernels/lab", "datasets", "harness", "benches", "tests"] {
        let lints = manifest(package)["lints"]["workspace"].as_bool();
        assert_eq!(lints, Some(true), "{package}/Cargo.toml needs [lints] workspace = true");
    }
}
