//! Configurations and weights as transformers' `save_pretrained` writes them.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use stepsynth_core::config::{EncoderConfig, Family, Head, parameter_layout};
use stepsynth_core::weights;

use crate::golden;

const MODELS: [(&str, Family, Head); 4] = [
    ("distilbert-classification", Family::DistilBert, Head::Classification { labels: 3 }),
    ("distilbert-qa", Family::DistilBert, Head::QuestionAnswering),
    ("bert-classification", Family::Bert, Head::Classification { labels: 3 }),
    ("bert-qa", Family::Bert, Head::QuestionAnswering),
];

/// Names with shapes and bytes.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec()))).collect()
}

#[test]
fn files_of_transformers_survive_a_round_trip() {
    let directory = tempfile::tempdir().unwrap();
    for (name, family, head) in MODELS {
        let original = golden::path(&format!("models/{name}"));
        let config = EncoderConfig::load(&original).unwrap();
        assert_eq!((config.family, config.hidden, config.heads, config.layers), (family, 16, 2, 2));
        let loaded = weights::load(&original, &config, head).unwrap();
        assert!(loaded.missing_head.is_empty());
        let names: Vec<&str> = loaded.tensors.iter().map(|(name, _)| name.as_str()).collect();
        let layout = parameter_layout(&config, head);
        assert_eq!(names, layout.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>());
        let copy = directory.path().join(name);
        weights::save(&copy, &config, head, &loaded.tensors).unwrap();
        assert_eq!(tensors(&copy), tensors(&original.join("model.safetensors")), "{name}");
    }
}

#[test]
fn a_classifier_of_one_task_lends_its_encoder_to_the_other() {
    for (name, _, head) in MODELS {
        let directory = golden::path(&format!("models/{name}"));
        let config = EncoderConfig::load(&directory).unwrap();
        let other = match head {
            Head::QuestionAnswering => Head::Classification { labels: 5 },
            Head::Classification { .. } => Head::QuestionAnswering,
        };
        let loaded = weights::load(&directory, &config, other).unwrap();
        assert!(!loaded.missing_head.is_empty());
        assert!(loaded.tensors.iter().all(|(name, _)| !name.starts_with("head.")));
    }
}
