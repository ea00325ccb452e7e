//! Every format gives the same examples. Broken files are in `tests/broken_input.rs`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::{Answer, Input, Target};

fn pair_task() -> TaskSpec {
    let text = r#"
        version = 1
        name = "pairs"
        kind = "pair"
        labels = ["entailment", "not_entailment"]
        metric = "accuracy"
        [fields]
        text = "hypothesis"
        text_pair = "premise"
    "#;
    TaskSpec::parse(text, Path::new("pairs.toml")).unwrap()
}

fn qa_task() -> TaskSpec {
    let text = "version = 1\nname = \"questions\"\nkind = \"qa\"\nmetric = \"f1\"\n[fields]\nid = \"id\"";
    TaskSpec::parse(text, Path::new("questions.toml")).unwrap()
}

/// What all the pair files below say.
fn pairs() -> Vec<(Input, Target)> {
    let pair = |text: &str, text_pair: &str| Input::Pair { text: text.into(), text_pair: text_pair.into() };
    vec![(pair("It \"rains\".", "Rain, again"), Target::Label(0)), (pair("Sun", "Tromsø is wet."), Target::Label(1))]
}

fn source(name: &str, format: Option<Format>) -> Source {
    let order = ["entailment", "not_entailment"].into_iter().collect();
    Source { format, label_order: Some(order), ..Source::file(name) }
}

fn contents(loaded: &Loaded) -> Vec<(Input, Target)> {
    loaded.examples.iter().map(|e| (e.input.clone(), e.target.clone())).collect()
}

#[test]
fn text_formats_agree_plain_and_gzipped() {
    let bom = "\u{feff}";
    let files = [
        ("a.jsonl", None, concat!(
            "{\"premise\": \"Rain, again\", \"hypothesis\": \"It \\\"rains\\\".\", \"label\": 0}\r\n\n",
            "{\"premise\": \"Tromsø is wet.\", \"hypothesis\": \"Sun\", \"label\": \"not_entailment\", \"src\": 1}",
        ).to_owned()),
        ("a.csv", None, format!("{bom}label,premise,hypothesis\r\n0,\"Rain, again\",\"It \"\"rains\"\".\"\r\n\r\n1.0,Tromsø is wet.,Sun\r\n")),
        ("a.tsv", None, "label\tpremise\thypothesis\nentailment\tRain, again\t\"It \"\"rains\"\".\"\n1\tTromsø is wet.\tSun\n".into()),
        ("g.tsv", Some(Format::GlueTsv), "index\tpremise\thypothesis\tlabel\r\n0\tRain, again\tIt \"rains\".\tentailment\r\n1\tTromsø is wet.\tSun\tnot_entailment\r\n".into()),
        ("lines.json", Some(Format::S3), "{\"text1\": \"Rain, again\", \"text2\": \"It \\\"rains\\\".\", \"label\": 0}\n{\"premise\": \"Tromsø is wet.\", \"hypothesis\": \"Sun\", \"label\": 1}\n".into()),
        ("list.json", Some(Format::S3), "[{\"text1\": \"Rain, again\", \"text2\": \"It \\\"rains\\\".\", \"label\": 0},\n{\"text1\": \"Tromsø is wet.\", \"text2\": \"Sun\", \"label\": 1}]".into()),
        ("columns.json", Some(Format::S3), "[[\"Rain, again\", \"Tromsø is wet.\"], [\"It \\\"rains\\\".\", \"Sun\"], [0, 1]]".into()),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, format, text) in files {
        fs::write(folder.path().join(name), &text).unwrap();
        let plain = read(&pair_task(), &source(name, format), folder.path(), &ReadOptions::default()).unwrap();
        assert_eq!(contents(&plain), pairs(), "{name}");
        assert_eq!(plain.files, [FileRecord { file: name.into(), sha256: hash::bytes(text.as_bytes()), rows: 2 }]);

        let zipped = format!("{name}.gz");
        let mut gzip = GzEncoder::new(fs::File::create(folder.path().join(&zipped)).unwrap(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let zipped = read(&pair_task(), &source(&zipped, format), folder.path(), &ReadOptions::default()).unwrap();
        assert_eq!(contents(&zipped), pairs(), "{name}.gz");
    }
}

#[test]
fn rows_are_named_by_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "premise,hypothesis,label\n\"two\nlines\",h,0\n\np,h,1\n";
    fs::write(folder.path().join("a.csv"), csv).unwrap();
    let loaded = read(&pair_task(), &source("a.csv", None), folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(loaded.examples.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a.csv:2", "a.csv:5"]);
}

#[test]
fn the_callers_label_order_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "premise,hypothesis,label\np,h,2\n").unwrap();
    let options = ReadOptions { label_order: Some("1=entailment,2=not_entailment".parse().unwrap()), ..Default::default() };
    let loaded = read(&pair_task(), &source("a.csv", None), folder.path(), &options).unwrap();
    assert_eq!(loaded.examples[0].label(), Some(1));
}

/// Where an order is stated, a number never means a label of that name.
#[test]
fn a_number_goes_by_the_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "premise,hypothesis,label\np,h,0\np,h,1.0\np,h,entailment\n").unwrap();
    let mut task = pair_task();
    task.labels = vec!["0".into(), "entailment".into()];
    let order = ["entailment", "0"].into_iter().collect();
    let source = Source { label_order: Some(order), ..Source::file("a.csv") };
    let loaded = read(&task, &source, folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(loaded.examples.iter().map(|e| e.label()).collect::<Vec<_>>(), [Some(1), Some(0), Some(1)]);
}

#[test]
fn polarity_follows_names_not_numbers() {
    let text = "version = 1\nname = \"t\"\nkind = \"single\"\nlabels = [\"negative\", \"positive\"]\nmetric = \"accuracy\"";
    let task = TaskSpec::parse(text, Path::new("t.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), "{\"text\": \"bad\", \"label\": 1}\n").unwrap();
    let order = ["positive", "negative"].into_iter().collect();
    let source = Source { label_order: Some(order), ..Source::file("a.jsonl") };
    let loaded = read(&task, &source, folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(loaded.examples[0].label(), Some(0));
}

#[test]
fn bad_rows_within_the_allowance_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.csv"), "premise,hypothesis,label\np,h,0\np,,1\np,h,7\n").unwrap();
    let options = ReadOptions { max_bad_rows: 2, ..Default::default() };
    let loaded = read(&pair_task(), &source("a.csv", None), folder.path(), &options).unwrap();
    assert_eq!(loaded.examples.len(), 1);
    let bad: Vec<_> = loaded.bad_rows.iter().map(|bad| (bad.place, bad.field.as_deref())).collect();
    assert_eq!(bad, [(Place::Line(3), Some("hypothesis")), (Place::Line(4), Some("label"))]);
}

#[test]
fn squad_json_and_lines_agree() {
    let folder = tempfile::tempdir().unwrap();
    let squad = r#"{"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "Malmö lies south.", "qas": [
        {"id": "q1", "question": "Where?", "answers": [{"text": "south", "answer_start": 11}, {"text": "south", "answer_start": 11}]},
        {"id": "q2", "question": "What?", "answers": [{"text": "Malmö", "answer_start": 0}]}]}]}]}"#;
    let lines = concat!(
        "{\"id\": \"q1\", \"context\": \"Malmö lies south.\", \"question\": \"Where?\", \"answers\": {\"text\": [\"south\"], \"answer_start\": [11]}}\n",
        "{\"id\": \"q2\", \"context\": \"Malmö lies south.\", \"question\": \"What?\", \"answers\": [{\"text\": \"Malmö\", \"answer_start\": 0}]}\n",
    );
    fs::write(folder.path().join("a.json"), squad).unwrap();
    fs::write(folder.path().join("a.jsonl"), lines).unwrap();
    let read = |name, format| read(&qa_task(), &source(name, format), folder.path(), &ReadOptions::default()).unwrap().examples;
    let (squad, lines) = (read("a.json", Some(Format::Squad)), read("a.jsonl", None));
    assert_eq!(squad, lines);
    assert_eq!(squad[0].id, "q1");
    assert_eq!(squad[0].target, Target::Answers(vec![Answer { text: "south".into(), start: 11 }]));
}

#[test]
fn parquet_with_text_numbers_and_nothing_else_read() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "message m { required binary premise (UTF8); required binary hypothesis (UTF8); required int64 label; required int96 when; }";
    let file = fs::File::create(folder.path().join("a.parquet")).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for texts in [["Rain, again", "Tromsø is wet."], ["It \"rains\".", "Sun"]] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts.map(ByteArray::from), None, None).unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[0, 1], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<::parquet::data_type::Int96Type>().write_batch(&[Default::default(); 2], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let loaded = read(&pair_task(), &source("a.parquet", None), folder.path(), &ReadOptions::default()).unwrap();
    assert_eq!(contents(&loaded), pairs());

    // Damage gives an error or other rows, also where the `parquet` crate panics; a panic of the code here fails the test.
    let whole = fs::read(folder.path().join("a.parquet")).unwrap();
    for at in (0..130).chain(500..530) {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        fs::write(folder.path().join("b.parquet"), &broken).unwrap();
        let outcome = read(&pair_task(), &source("b.parquet", None), folder.path(), &ReadOptions::default());
        let named = outcome.as_ref().err().is_none_or(|error| match error {
            Error::Format { path, .. } => path.ends_with("b.parquet"),
            Error::BadRows { rows, .. } => rows.iter().all(|row| row.file.ends_with("b.parquet")),
            _ => false,
        });
        assert!(named, "byte {at}: {outcome:?}");
    }

    let mut by_time = source("a.parquet", None);
    by_time.fields.label = Some("when".into());
    let error = read(&pair_task(), &by_time, folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("column `when` holds INT96 (NONE); text, numbers, and lists and records of them can be read"),
        "{error}"
    );
}

#[test]
fn parquet_with_nested_answers() {
    let folder = tempfile::tempdir().unwrap();
    let schema = "message m { required binary id (UTF8); required binary question (UTF8); required binary context (UTF8);
        required group answers { required group text (LIST) { repeated group list { required binary element (UTF8); } }
        required group answer_start (LIST) { repeated group list { required int32 element; } } } }";
    let file = fs::File::create(folder.path().join("a.parquet")).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for text in ["q1", "Where?", "Malmö lies south."] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from(text)], None, None).unwrap();
        column.close().unwrap();
    }
    let (definition, repetition) = (&[1, 1][..], &[0, 1][..]);
    let mut column = group.next_column().unwrap().unwrap();
    let texts = ["south", "Malmö"].map(ByteArray::from);
    column.typed::<ByteArrayType>().write_batch(&texts, Some(definition), Some(repetition)).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<::parquet::data_type::Int32Type>().write_batch(&[11, 0], Some(definition), Some(repetition)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let loaded = read(&qa_task(), &Source::file("a.parquet"), folder.path(), &ReadOptions::default()).unwrap();
    let answer = |text: &str, start| Answer { text: text.into(), start };
    assert_eq!(loaded.examples[0].target, Target::Answers(vec![answer("south", 11), answer("Malmö", 0)]));
}
