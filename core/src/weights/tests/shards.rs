//! Checkpoints in several files, and directories without safetensors.

use serde_json::{Value, json};

use super::*;

/// A checkpoint of two files with its index; the second file holds the feed-forward layers.
fn write_shards(directory: &Path) -> (EncoderConfig, Vec<(String, HostTensor)>) {
    let config = config("bert");
    let tensors = random_tensors(&config, CLASSES);
    let whole = directory.join("whole");
    save(&whole, &config, CLASSES, &tensors).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::remove_file(whole).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut map = serde_json::Map::new();
    for number in [0, 1] {
        let name = format!("model-{number}.safetensors");
        let part = || file.tensors().into_iter().filter(|(name, _)| name.contains("dense") == (number == 1));
        map.extend(part().map(|(tensor, _)| (tensor, json!(name))));
        std::fs::write(directory.join(name), safetensors::serialize(part(), None).unwrap()).unwrap();
    }
    write_index(directory, &json!({"metadata": {"total_size": 1}, "weight_map": map}));
    (config, tensors)
}

fn write_index(directory: &Path, index: &Value) {
    std::fs::write(directory.join(find::INDEX), index.to_string()).unwrap();
}

fn read_index(directory: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join(find::INDEX)).unwrap()).unwrap()
}

#[test]
fn several_files_load_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let (config, tensors) = write_shards(directory.path());
    assert_eq!(load(directory.path(), &config, CLASSES).unwrap().tensors, tensors);
    assert_eq!(load(&directory.path().join(find::INDEX), &config, CLASSES).unwrap().tensors, tensors);
}

/// A change of an index.
type Edit<'a> = &'a dyn Fn(&mut Value);

#[test]
fn an_index_must_agree_with_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let message = |edit: Edit<'_>| {
        let (config, _) = write_shards(directory);
        let mut index = read_index(directory);
        edit(&mut index);
        write_index(directory, &index);
        let error = load(directory, &config, CLASSES).unwrap_err().to_string();
        error.strip_prefix(&format!("{}: ", directory.join(find::INDEX).display())).unwrap_or(&error).to_owned()
    };
    let map = |name: &'static str, file: Value| move |index: &mut Value| index["weight_map"][name] = file.clone();
    let word = "bert.embeddings.word_embeddings.weight";
    let cases: [(Edit<'_>, String); 8] = [
        (
            &map(word, json!("model-1.safetensors")),
            format!("tensor {word} is in model-0.safetensors, weight_map says in model-1.safetensors"),
        ),
        (
            &map("more", json!("model-1.safetensors")),
            "tensor more is not in model-1.safetensors, where weight_map says it is".into(),
        ),
        (
            &|index| drop(index["weight_map"].as_object_mut().unwrap().remove(word)),
            format!("tensor {word} of model-0.safetensors is not in weight_map"),
        ),
        (&map("more", json!("model-2.safetensors")), "its file model-2.safetensors is missing; fetch the model again".into()),
        (
            &map("more", json!("../model-1.safetensors")),
            "weight_map of more is \"../model-1.safetensors\", must name a safetensors file beside the index".into(),
        ),
        (&map("more", json!(3)), "weight_map of more is 3, must name a safetensors file beside the index".into()),
        (&|index| index["weight_map"] = json!([]), "weight_map is missing or not an object from tensor to file".into()),
        (&|index| index["weight_map"] = json!({}), "weight_map is empty".into()),
    ];
    for (edit, expected) in cases {
        assert_eq!(message(edit), expected);
    }

    // A tensor in both files.
    write_shards(directory);
    let config = config("bert");
    std::fs::copy(directory.join("model-0.safetensors"), directory.join("model-2.safetensors")).unwrap();
    let mut index = read_index(directory);
    index["weight_map"][word] = json!("model-2.safetensors");
    write_index(directory, &index);
    let error = load(directory, &config, CLASSES).unwrap_err().to_string();
    assert!(error.contains("is in model-0.safetensors, weight_map says in model-2.safetensors"), "{error}");

    write_shards(directory);
    std::fs::write(directory.join("model-1.safetensors"), "short").unwrap();
    let error = load(directory, &config, CLASSES).unwrap_err().to_string();
    assert!(error.starts_with(&directory.join("model-1.safetensors").display().to_string()), "{error}");
}

#[test]
fn other_formats_come_with_the_command_that_converts_them() {
    let cases = [
        (&["pytorch_model.bin", "tf_model.h5"][..], "pytorch_model.bin is not read, convert it with: ", "from_pretrained(d)."),
        (&["pytorch_model-00001-of-00002.bin"], "pytorch_model-00001-of-00002.bin is not read", "from_pretrained(d)."),
        (&["tf_model.h5"], "tf_model.h5 is not read, convert it with (needs tensorflow", "from_pretrained(d, from_tf=True)."),
        (&["flax_model.msgpack"], "flax_model.msgpack is not read", "from_pretrained(d, from_flax=True)."),
    ];
    let config = config("bert");
    for (files, found, call) in cases {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("it's a model");
        std::fs::create_dir(&directory).unwrap();
        let message = || load(&directory, &config, CLASSES).unwrap_err().to_string();
        let nothing =
            "neither model.safetensors nor model.safetensors.index.json is there; is it a Hugging Face model directory?";
        assert_eq!(message(), format!("{}: {nothing}", directory.display()));
        for file in files {
            std::fs::write(directory.join(file), "").unwrap();
        }
        let error = message();
        assert!(error.starts_with(&format!("{}: no model.safetensors; {found}", directory.display())), "{error}");
        assert!(error.contains(&format!("t.AutoModel.{call}save_pretrained(d, safe_serialization=True)'")), "{error}");
        assert!(error.ends_with(&format!(" '{}'", directory.display().to_string().replace('\'', "'\\''"))), "{error}");
        // The class that the file is of keeps its head.
        std::fs::write(directory.join("config.json"), r#"{"architectures": ["BertForSequenceClassification"]}"#).unwrap();
        assert!(message().contains("t.BertForSequenceClassification.from_pretrained"));
        std::fs::write(directory.join("config.json"), r#"{"architectures": ["Bert'; import os #"]}"#).unwrap();
        assert!(message().contains("t.AutoModel.from_pretrained"));
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("model-00001-of-00002.safetensors"), "").unwrap();
    let error = load(directory.path(), &config, CLASSES).unwrap_err().to_string();
    assert!(error.ends_with("index.json, only model-00001-of-00002.safetensors; fetch the model again"), "{error}");
}
