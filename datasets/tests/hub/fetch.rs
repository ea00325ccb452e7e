//! What a fetch leaves on disk.

use std::fs;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use stepsynth_datasets::hub::{Hub, Record, cached_model, cached_models};
use stepsynth_datasets::load::ReadOptions;
use stepsynth_datasets::task::GoldFiles;
use stepsynth_datasets::{TaskSpec, check};

use super::server::{TestHub, git_blob, sha256};
use super::{COMMIT, OTHER, bert, fetch, refusal, settings, storage_path, weights};

#[test]
fn a_model_lands_in_the_layout_of_the_python_library() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    let weights = weights(300_000);
    bert(&hub, &weights);
    let fetched = fetch(&hub, cache.path(), "bert").unwrap();
    let root = cache.path().join("models--bert");
    assert_eq!(fetched.folder, root.join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read(fetched.folder.join("model.safetensors")).unwrap(), weights);
    for (file, blob) in [("config.json", git_blob(b"{\"a\": 1}")), ("model.safetensors", sha256(&weights))] {
        assert_eq!(
            fs::metadata(root.join("blobs").join(&blob)).unwrap().len(),
            fetched.folder.join(file).metadata().unwrap().len()
        );
        #[cfg(unix)]
        assert_eq!(fs::read_link(fetched.folder.join(file)).unwrap().to_str().unwrap(), format!("../../blobs/{blob}"));
    }
    // Nothing else lies about.
    let names = |folder: &std::path::Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&root), ["blobs", "fetched", "refs", "snapshots"]);
    assert_eq!(names(&root.join("blobs")).len(), 3);
    assert_eq!(names(&root.join("snapshots")), [COMMIT]);

    let record: Record = serde_json::from_slice(&fs::read(root.join(format!("fetched/{COMMIT}.json"))).unwrap()).unwrap();
    assert_eq!(record, fetched.record);
    assert_eq!((record.commit.as_str(), record.revision.as_str(), record.bytes()), (COMMIT, "main", 300_000 + 8 + 6));
    assert_eq!(record.files[2].file, "config.json");
    assert_eq!(record.files[2].sha256, sha256(b"{\"a\": 1}"));

    // Again: the file list alone is asked for.
    let before = hub.hub.requests().len();
    assert_eq!(fetch(&hub, cache.path(), "bert").unwrap(), fetched);
    let later = hub.hub.requests();
    assert!(later[before..].iter().all(|request| request.target.starts_with("/api/")), "{later:?}");
    assert_eq!(hub.storage.requests_of(&storage_path(&weights)).len(), 1);
}

#[test]
fn the_cache_is_searched_without_network() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    let none = settings(&hub, cache.path(), &[]);
    let error = cached_model(&none, &"bert".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(error, format!("model `bert`: not in the cache {}; run `stepsynth data fetch bert`", cache.path().display()));
    assert!(cached_models(&none).unwrap().is_empty());

    bert(&hub, &weights(100));
    let folder = fetch(&hub, cache.path(), "bert").unwrap().folder;
    let asked = hub.hub.requests().len();
    let offline = settings(&hub, cache.path(), &[("HF_HUB_OFFLINE", "1")]);
    for name in ["bert".to_owned(), "bert@main".into(), format!("bert@{COMMIT}")] {
        assert_eq!(cached_model(&offline, &name.parse().unwrap()).unwrap(), folder, "{name}");
    }
    let models = cached_models(&offline).unwrap();
    assert_eq!(models.len(), 1);
    assert_eq!((models[0].repository.as_str(), models[0].bytes, &models[0].references[..]), ("bert", 114, &["main".into()][..]));
    assert!(models[0].missing.is_empty());
    assert_eq!(hub.hub.requests().len(), asked);

    let error = cached_model(&offline, &"org/bert".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains(&format!(" (but `bert@{COMMIT}` is); run")), "{error}");

    // A snapshot that another program left half done.
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let error = cached_model(&offline, &"bert".parse().unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("has no model.safetensors; run `stepsynth data fetch bert`"), "{error}");
    assert_eq!(cached_models(&offline).unwrap()[0].missing, ["model.safetensors"]);
    let error = refusal(Hub::new(offline).fetch_model(&"bert".parse().unwrap(), None, &()));
    assert!(error.contains("HF_HUB_OFFLINE is set"), "{error}");
    // A fetch completes it.
    assert_eq!(fetch(&hub, cache.path(), "bert").unwrap().folder, folder);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights(100));
}

#[test]
fn a_copy_goes_to_a_new_folder() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, &weights(1000));
    let to = cache.path().join("made/bert");
    let client = Hub::new(settings(&hub, cache.path(), &[]));
    let fetched = client.fetch_model(&"bert".parse().unwrap(), Some(&to), &()).unwrap();
    assert_eq!(fetched.folder, to);
    assert_eq!(fs::read(to.join("model.safetensors")).unwrap(), weights(1000));
    assert!(fs::symlink_metadata(to.join("config.json")).unwrap().is_file());
    let record: Record = serde_json::from_slice(&fs::read(to.join("fetched.json")).unwrap()).unwrap();
    assert_eq!(record.commit, COMMIT);
    assert_eq!(fs::read_dir(cache.path().join("made")).unwrap().count(), 1);

    let asked = hub.hub.requests().len();
    let error = refusal(client.fetch_model(&"bert".parse().unwrap(), Some(&to), &()));
    assert!(error.contains("the folder is not empty"), "{error}");
    assert_eq!(hub.hub.requests().len(), asked);
}

#[test]
fn branches_are_resolved_and_commits_are_not() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    bert(&hub, &weights(100));
    hub.model("bert", OTHER, &[("config.json", b"{}"), ("vocab.txt", b"x"), ("model.safetensors", b"other")]);
    hub.branch("models", "bert", "main", COMMIT);
    hub.branch("models", "bert", "refs%2Fpr%2F1", OTHER);
    let folder = fetch(&hub, cache.path(), "bert@refs/pr/1").unwrap().folder;
    assert!(folder.ends_with(OTHER));
    assert_eq!(fs::read_to_string(cache.path().join("models--bert/refs/refs/pr/1")).unwrap(), OTHER);
    let folder = fetch(&hub, cache.path(), &format!("bert@{COMMIT}")).unwrap().folder;
    assert!(folder.ends_with(COMMIT));
    assert!(hub.hub.requests_of(&format!("/api/models/bert/revision/{COMMIT}")).is_empty());
    assert!(!cache.path().join("models--bert/refs/main").exists());
    assert_eq!(cached_models(&settings(&hub, cache.path(), &[])).unwrap().len(), 2);
}

#[test]
fn a_model_that_moved_keeps_the_name_it_was_asked_by() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    hub.model("org/bert", COMMIT, &[("config.json", b"{}"), ("tokenizer.json", b"{}"), ("model.safetensors", b"weights")]);
    for path in ["/api/models/", "/"] {
        let rests: &[String] = match path {
            "/" => &["config.json", "tokenizer.json", "model.safetensors"].map(|file| format!("/resolve/{COMMIT}/{file}")),
            _ => &["/revision/main".into(), format!("/tree/{COMMIT}")],
        };
        for rest in rests {
            hub.hub.redirect(&format!("{path}bert{rest}"), 307, &format!("{path}org/bert{rest}"));
        }
    }
    let folder = fetch(&hub, cache.path(), "bert").unwrap().folder;
    assert!(folder.starts_with(cache.path().join("models--bert")));
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), b"weights");
}

#[test]
fn shards_are_fetched_by_their_index() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    let index =
        br#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let (one, two) = (weights(1000), weights(900));
    hub.model(
        "org/big",
        COMMIT,
        &[
            ("config.json", b"{}"),
            ("tokenizer.json", b"{}"),
            ("model.safetensors.index.json", index),
            ("model-00001-of-00002.safetensors", &one),
            ("model-00002-of-00002.safetensors", &two),
            ("pytorch_model.bin", b"not fetched"),
        ],
    );
    let fetched = fetch(&hub, cache.path(), "org/big").unwrap();
    assert_eq!(fetched.record.files.len(), 5);
    assert_eq!(fs::read(fetched.folder.join("model-00002-of-00002.safetensors")).unwrap(), two);
    assert!(!fetched.folder.join("pytorch_model.bin").exists());
    cached_model(&settings(&hub, cache.path(), &[]), &"org/big".parse().unwrap()).unwrap();
}

#[test]
fn a_model_that_cannot_be_read_is_refused_before_anything_large_is_fetched() {
    let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
    let index = br#"{"weight_map": {"a": "absent.safetensors"}}"#;
    let config: (&str, &[u8]) = ("config.json", b"{}");
    let vocab: (&str, &[u8]) = ("vocab.txt", b"x");
    let weights: (&str, &[u8]) = ("model.safetensors", b"x");
    for (name, files, expected) in [
        (
            "pickled",
            vec![config, vocab, ("pytorch_model.bin", b"x" as &[u8])],
            "convert it to a folder DIR and use that: python3 -c",
        ),
        ("empty", vec![config, vocab], "there is no model.safetensors; use a model for transformers that has one"),
        ("bare", vec![vocab, weights], "there is no config.json"),
        ("mute", vec![config, weights], "there is neither tokenizer.json nor vocab.txt"),
        ("torn", vec![config, vocab, ("model.safetensors.index.json", index)], "names `absent.safetensors`, which is not there"),
    ] {
        hub.model(name, COMMIT, &files);
        let error = refusal(fetch(&hub, cache.path(), name));
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
    assert!(hub.storage.requests().is_empty());
}

/// Rows as the hub's GLUE files have them.
fn rte(rows: &[(&str, &str, i64)]) -> Vec<u8> {
    let schema = "message m { required binary sentence1 (UTF8); required binary sentence2 (UTF8); required int64 label; required int64 idx; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts =
        [rows.iter().map(|row| ByteArray::from(row.0)).collect::<Vec<_>>(), rows.iter().map(|row| row.1.into()).collect()];
    for texts in texts {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
    }
    for numbers in [rows.iter().map(|row| row.2).collect::<Vec<_>>(), (0..rows.len() as i64).collect()] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_tasks_files_are_fetched_and_read() {
    let (hub, cache, data) = (TestHub::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let task = TaskSpec::find("rte").unwrap();
    let revision = task.hub.as_ref().unwrap().revision.clone();
    let train =
        rte(&[("A dog barks.", "An animal barks.", 0), ("A dog barks.", "A cat barks.", 1), ("It rains.", "It is wet.", 0)]);
    let dev = rte(&[("Snow fell.", "It was hot.", 1)]);
    hub.dataset(
        "nyu-mll/glue",
        &revision,
        &[
            ("rte/train-00000-of-00001.parquet", &train),
            ("rte/validation-00000-of-00001.parquet", &dev),
            ("rte/test-00000-of-00001.parquet", b"no labels"),
        ],
    );
    let missing = check(&task, data.path(), &ReadOptions::default()).unwrap().train.problem.unwrap();
    let command = format!("run `stepsynth data fetch rte --data {}`, or take RTE's train.tsv", data.path().display());
    assert!(missing.contains(&command), "{missing}");
    assert_eq!(task.gold_files(data.path()), GoldFiles::Absent);

    let client = Hub::new(settings(&hub, cache.path(), &[]));
    let fetched = client.fetch_task(&task, data.path(), &()).unwrap();
    assert_eq!((fetched.record.commit.as_str(), fetched.record.files.len()), (revision.as_str(), 2));
    assert!(hub.hub.requests().iter().all(|request| !request.target.contains("/models/")));
    let record: Record = serde_json::from_slice(&fs::read(data.path().join("rte.fetched.json")).unwrap()).unwrap();
    assert_eq!(record, fetched.record);
    assert_eq!(task.gold_files(data.path()), GoldFiles::Fetched);
    let report = check(&task, data.path(), &ReadOptions::default()).unwrap();
    assert!(report.is_ok(), "{:?}", (report.train.problem, report.test.problem));
    assert_eq!(report.train.labels.iter().map(|label| label.rows).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((report.test.rows, report.train.files[0].sha256.as_str()), (1, sha256(&train).as_str()));

    // Another task of the same repository: the cache remembers both.
    hub.dataset(
        "nyu-mll/glue",
        &revision,
        &[("sst2/train-00000-of-00001.parquet", b"train"), ("sst2/validation-00000-of-00001.parquet", b"validation")],
    );
    client.fetch_task(&TaskSpec::find("sst2").unwrap(), data.path(), &()).unwrap();
    let both = fs::read(cache.path().join(format!("datasets--nyu-mll--glue/fetched/{revision}.json"))).unwrap();
    let both: Record = serde_json::from_slice(&both).unwrap();
    assert_eq!(both.files.iter().filter(|file| file.file.starts_with("rte/")).count(), 2);
    assert_eq!(both.files.len(), 4);

    // The files that the task states go first.
    for (name, label) in [("rte_train", 0), ("rte_dev", 1)] {
        let row = format!("{{\"premise\": \"p\", \"hypothesis\": \"h\", \"label\": {label}}}\n");
        fs::write(data.path().join(format!("glue/{name}.jsonl")), row).unwrap();
    }
    assert_eq!(task.gold_files(data.path()), GoldFiles::Stated);
    assert_eq!(check(&task, data.path(), &ReadOptions::default()).unwrap().train.rows, 1);
}

#[test]
fn every_built_in_task_on_the_hub_states_a_commit() {
    let tasks: Vec<TaskSpec> =
        stepsynth_datasets::task::built_in().into_iter().map(|name| TaskSpec::find(name).unwrap()).collect();
    for task in &tasks {
        assert_eq!(task.gold.is_some(), task.hub.is_some(), "{}", task.name);
        let Some(source) = &task.hub else { continue };
        assert!(source.revision.len() == 40 && source.revision.bytes().all(|b| b.is_ascii_hexdigit()), "{}", task.name);
        assert_eq!(source.label_order.is_some(), !task.labels.is_empty(), "{}", task.name);
    }
    let hub = TestHub::start();
    let cache = tempfile::tempdir().unwrap();
    let client = Hub::new(settings(&hub, cache.path(), &[]));
    let error = refusal(client.fetch_task(&TaskSpec::find("lab-reviews").unwrap(), cache.path(), &()));
    assert!(error.contains("task `lab-reviews`: its file has no [hub] section"), "{error}");
}
