use std::path::Path;

use super::*;

#[test]
fn every_built_in_task_is_found_and_valid() {
    assert_eq!(built_in(), built_in::FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for name in built_in() {
        let task = TaskSpec::find(name).unwrap();
        assert_eq!(task.name, name);
        assert!(!task.title.is_empty(), "{name}");
        assert_eq!(task.gold.is_none(), crate::lab::task(name).is_some(), "{name}");
        assert_eq!(TaskSpec::parse(&toml::to_string(&task).unwrap(), Path::new(name)).unwrap(), task, "{name}");
    }
}

#[test]
fn label_words_of_the_paper() {
    let words = |task| {
        let task = TaskSpec::find(task).unwrap();
        (0..task.labels.len()).map(|label| (task.labels[label].clone(), task.label_word(label).to_owned())).collect::<Vec<_>>()
    };
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(words("imdb"), pairs(&[("negative", "negative"), ("positive", "positive")]));
    assert_eq!(words("qnli"), pairs(&[("entailment", "in"), ("not_entailment", "not in")]));
    assert_eq!(words("rte"), pairs(&[("entailment", "correct"), ("not_entailment", "wrong")]));
    assert_eq!(words("adqa"), []);
}

#[test]
fn a_label_without_a_word_goes_by_its_name() {
    let text = "version = 1\nname = \"t\"\nkind = \"single\"\nlabels = [\"a\", \"b\"]\nmetric = \"accuracy\"";
    let task = TaskSpec::parse(text, Path::new("t.toml")).unwrap();
    assert_eq!(task.label_word(1), "b");
    assert_eq!((task.gold, task.split), (None, SplitSizes { mine: 1000, select: 1000 }));
}

#[test]
fn a_path_reads_the_users_task() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let text = "version = 1\nname = \"mine\"\nkind = \"qa\"\nmetric = \"f1\"\n";
    std::fs::write(&path, text).unwrap();
    assert_eq!(TaskSpec::find(path.to_str().unwrap()).unwrap().name, "mine");
}

#[test]
fn formats_of_names() {
    for (name, format) in [
        ("a.jsonl", Some(Format::Jsonl)),
        ("a.JSONL.GZ", Some(Format::Jsonl)),
        ("a.b.csv", Some(Format::Csv)),
        ("a.tsv.gz", Some(Format::Tsv)),
        ("a.parquet", Some(Format::Parquet)),
        ("a.json", None),
        ("csv", None),
    ] {
        assert_eq!(Format::of_name(Path::new(name)), format, "{name}");
    }
    for format in Format::ALL {
        assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
    }
}
