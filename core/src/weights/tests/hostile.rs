//! Files made to mislead: never a panic, never more memory than the file has, always one line.

use proptest::prelude::*;

use super::*;
use crate::fuzz::{any_change, change, check_line};

#[test]
fn hostile_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("distilbert");
    save(&path, &config, CLASSES, &random_tensors(&config, CLASSES)).unwrap();
    let good = std::fs::read(&path).unwrap();
    let file = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let hostile = [
        Vec::new(),
        good[..7].to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&u64::MAX.to_le_bytes(), &good[8..]].concat(),
        [&(good.len() as u64 - 7).to_le_bytes(), &good[8..]].concat(),
        [good.clone(), vec![0]].concat(),
        file(r#"{"embeddings.word_embeddings.weight":{"dtype":"F32","shape":[11,4],"data_offsets":[0,18446744073709551615]}}"#),
        file(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,0]}}"#),
        file(r#"{"a":{"dtype":"F99","shape":[],"data_offsets":[0,0]}}"#),
        file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#),
        // Overlapping, with a hole between them, and one tensor twice.
        file(r#"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}"#),
        file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#),
        file(r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#),
        file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}"#),
        file("not json"),
        file(&"[".repeat(1 << 20)),
        file(&"{\"a\":".repeat(1 << 20)),
        file("{\"a\\n\":{\"dtype\":\"\u{7f}\\n\",\"shape\":[],\"data_offsets\":[0,0]}}"),
    ];
    for bytes in hostile {
        std::fs::write(&path, &bytes).unwrap();
        let error = load(&path, &config, CLASSES).unwrap_err();
        assert!(matches!(error, Error::Weights { .. }), "{error}");
        check_line(&error);
    }
    assert!(matches!(load(&path.join("missing"), &config, CLASSES), Err(Error::Io { .. })));
}

/// A small valid file.
fn bytes_of_a_model() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let config = config("bert");
    save(&path, &config, CLASSES, &random_tensors(&config, CLASSES)).unwrap();
    std::fs::read(path).unwrap()
}

/// What `load` says of these bytes. Values may change, so a success is possible too.
fn load_bytes(name: &str, bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    // A shard for an index to name.
    std::fs::write(directory.path().join("a.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    for head in [CLASSES, Head::QuestionAnswering] {
        if let Err(error) = load(directory.path(), &config("bert"), head) {
            check_line(&error);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        load_bytes(find::SINGLE, &bytes);
        load_bytes(find::INDEX, &bytes);
    }

    /// The length of the header is right, its text is not.
    #[test]
    fn random_headers_are_refused(text in "[\\[\\]{}:,\"a0-9FU\\-.e ]{0,80}") {
        load_bytes(find::SINGLE, &[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
    }

    /// Changes in the first 3 kB, where the header is, keeping its stated length or not.
    #[test]
    fn changed_files_give_one_line_or_load(changes in prop::collection::vec(any_change(), 1..4), restate in any::<bool>()) {
        let mut bytes = bytes_of_a_model();
        let before = bytes.len();
        change(&mut bytes, changes, 3000);
        if restate && bytes.len() >= 8 {
            let header = u64::from_le_bytes(bytes_of_a_model()[..8].try_into().unwrap());
            let length = (header + bytes.len() as u64).saturating_sub(before as u64);
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        load_bytes(find::SINGLE, &bytes);
    }

    #[test]
    fn changed_indices_give_one_line_or_load(changes in prop::collection::vec(any_change(), 1..4)) {
        let mut bytes = br#"{"metadata": {"total_size": 8}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#.to_vec();
        change(&mut bytes, changes, usize::MAX);
        load_bytes(find::INDEX, &bytes);
    }

    #[test]
    fn changed_configurations_give_one_line_or_load(changes in prop::collection::vec(any_change(), 1..4)) {
        let mut bytes = config("bert").to_json(CLASSES).into_bytes();
        change(&mut bytes, changes, usize::MAX);
        if let Err(error) = EncoderConfig::from_json(&String::from_utf8_lossy(&bytes), "config.json") {
            check_line(&error);
        }
    }
}
