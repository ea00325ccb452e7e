//! The published weights of all-MiniLM-L6-v2 against transformers: `tests/golden/minilm`.
//!
//! Runs where STEPSYNTH_MINILM names the model's directory; `tests/golden/minilm.py` says where it is from.

use std::path::PathBuf;

use serde::Deserialize;
use stepsynth_core::backend::{Backend, Real};
use stepsynth_core::config::{EncoderConfig, Head};
use stepsynth_core::model::{Model, Targets};
use stepsynth_core::reference::Reference;
use stepsynth_core::tokenize::{Tokenizer, Truncation};
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, LinearSchedule, TrainSet, logits, train_step};
use stepsynth_core::weights::{self, HostTensor, hugging_face_names};
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::cpu::{Cpu, Precision};

use crate::golden;
use crate::rounding::rounding;

const CLASSES: Head = Head::Classification { labels: 2 };

#[derive(Deserialize)]
struct Expected {
    inputs: Vec<Input>,
    hidden: Hidden,
    class_logits: Values,
    span_logits: Spans,
    gradients: Gradients,
    training: Training,
}

#[derive(Deserialize)]
struct Input {
    text: String,
    text_pair: Option<String>,
    label: i32,
    ids: Vec<i32>,
    token_types: Vec<i32>,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f64>,
    torch_f32_distance: f64,
}

/// Two columns after each layer for each token of one text.
#[derive(Deserialize)]
struct Hidden {
    row: usize,
    columns: [usize; 2],
    #[serde(flatten)]
    values: Values,
}

#[derive(Deserialize)]
struct Spans {
    rows: Vec<usize>,
    #[serde(flatten)]
    values: Values,
}

#[derive(Deserialize)]
struct Gradients {
    rows: usize,
    torch_f32_distance: f64,
    /// Of each tensor its norm, and the place and value of its largest element.
    name_norm_place_value: Vec<(String, f64, usize, f64)>,
}

#[derive(Deserialize)]
struct Training {
    batch: usize,
    warmup_steps: usize,
    learning_rate: f64,
    weight_decay: f64,
    max_gradient_norm: f64,
    torch_f64: Vec<f64>,
    torch_f32: Vec<f64>,
    torch_bf16_autocast: Vec<f64>,
}

impl Training {
    /// What a loss curve is compared with, and how far it may be from it.
    ///
    /// In f32 the curve drifts as PyTorch's own does, of which there is one draw: four times that, and one unit of rounding of
    /// numbers of order one. In bf16 it may be twice as far from f32 as PyTorch's under bf16 autocast.
    fn yardstick(&self, precision: Precision) -> (&[f64], f64) {
        let distance = |one: &[f64], other: &[f64]| worst(one.iter().zip(other).map(|(a, b)| a - b));
        match precision {
            Precision::F32 => (&self.torch_f64, 4.0 * distance(&self.torch_f32, &self.torch_f64) + 4.0 * f64::from(f32::EPSILON)),
            Precision::Bf16 => (&self.torch_f32, 2.0 * distance(&self.torch_bf16_autocast, &self.torch_f32)),
        }
    }
}

/// NaN-proof maximum of absolute values.
fn worst(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |worst, value| if value.is_nan() { f64::INFINITY } else { worst.max(value.abs()) })
}

fn expected() -> Expected {
    golden::read("minilm/expected.json")
}

/// The model's directory, if there is one.
fn directory() -> Option<PathBuf> {
    let directory = std::env::var_os("STEPSYNTH_MINILM").map(PathBuf::from);
    if directory.is_none() {
        eprintln!("skipped: STEPSYNTH_MINILM names no model directory (see tests/golden/minilm.py)");
    }
    directory
}

fn sequences(expected: &Expected) -> Vec<Sequence> {
    let sequence = |input: &Input| Sequence { ids: input.ids.clone(), token_types: input.token_types.clone() };
    expected.inputs.iter().map(sequence).collect()
}

/// The published encoder, cut to its first `layers`, under a head with the given output matrix and no bias.
fn model<B: Backend>(backend: &B, layers: usize, head: Head, output: impl Fn(usize) -> f64) -> Option<Model<B>> {
    let directory = directory()?;
    let config = EncoderConfig::load(&directory).unwrap();
    assert_eq!((config.hidden, config.layers, config.vocab_size), (384, 6, 30522), "STEPSYNTH_MINILM must be all-MiniLM-L6-v2");
    let loaded = weights::load(&directory, &config, head).unwrap();
    assert_eq!(loaded.missing_head.len(), 2, "the published file has no head");
    let columns = config.hidden;
    let weight = (0..head.outputs() * columns).map(|index| output(index) as f32).collect();
    let new = [
        ("head.out.weight".to_owned(), HostTensor { rows: head.outputs(), columns, data: weight }),
        ("head.out.bias".to_owned(), HostTensor { rows: 1, columns: head.outputs(), data: vec![0.0; head.outputs()] }),
    ];
    let kept = |name: &str| !(layers..config.layers).any(|layer| name.starts_with(&format!("layer.{layer}.")));
    let tensors = loaded.tensors.into_iter().filter(|(name, _)| kept(name)).chain(new);
    Some(Model::from_tensors(backend, EncoderConfig { layers, ..config }, head, tensors).unwrap())
}

/// The head's weights of `minilm.py`.
fn head_weight(index: usize) -> f64 {
    0.05 * (index as f64 + 1.0).sin()
}

/// Fails unless `got` is as close to the truth as f32 can be: within the rounding of one pass, and at most four times as far
/// as PyTorch's own f32, of which there is one draw.
fn check_values(what: &str, got: &[f32], wanted: &[f64], torch_distance: f64, rounding: f64) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let distance = worst(got.iter().zip(wanted).map(|(&got, wanted)| f64::from(got) - wanted));
    let scale = worst(wanted.iter().copied()).max(1.0);
    let bound = (rounding * scale).min(4.0 * torch_distance + 4.0 * f64::from(f32::EPSILON) * scale);
    eprintln!("{what}: off by {distance:.2e}, PyTorch in f32 by {torch_distance:.2e}, bound {bound:.2e}");
    assert!(distance <= bound, "{what}: off by {distance:e}, bound {bound:e}");
}

/// A head that answers with two columns of the hidden states shows them without rounding.
fn check_hidden<B: Backend>(backend: &B, layers: &[usize]) {
    let Hidden { row, columns, values } = &expected().hidden;
    let sequence = &sequences(&expected())[*row];
    let per_layer = 2 * sequence.ids.len();
    for &layer in layers {
        let pick = |index: usize| f64::from(u8::from(index == columns[0] || index == 384 + columns[1]));
        let Some(model) = model(backend, layer, Head::QuestionAnswering, pick) else { return };
        let got = logits(backend, &model, std::slice::from_ref(sequence), usize::MAX, &|_, _| true).unwrap().concat();
        let wanted = &values.values[(layer - 1) * per_layer..layer * per_layer];
        let rounding = rounding(model.config(), sequence.ids.len(), 1);
        check_values(&format!("hidden states after layer {layer}"), &got, wanted, values.torch_f32_distance, rounding);
    }
}

fn check_logits<B: Backend>(backend: &B, rows: usize) {
    let expected = expected();
    let sequences = sequences(&expected);
    let Some(classifier) = model(backend, 6, CLASSES, head_weight) else { return };
    let rounding = rounding(classifier.config(), 30, 1);
    let got = logits(backend, &classifier, &sequences[..rows], 64, &|_, _| true).unwrap().concat();
    let Values { values, torch_f32_distance } = &expected.class_logits;
    check_values("class logits", &got, &values[..2 * rows], *torch_f32_distance, rounding);

    let Some(reader) = model(backend, 6, Head::QuestionAnswering, head_weight) else { return };
    let read: Vec<Sequence> = expected.span_logits.rows.iter().map(|&row| sequences[row].clone()).collect();
    let got = logits(backend, &reader, &read, usize::MAX, &|_, _| true).unwrap().concat();
    let Values { values, torch_f32_distance } = &expected.span_logits.values;
    check_values("span logits", &got, values, *torch_f32_distance, rounding);
}

/// Norms and largest elements, each relative to the layer's largest element, or a thousandth of the model's if that is more
/// (why: see `golden_models.rs`).
fn check_gradients<B: Backend>(backend: &B) {
    let expected = expected();
    let Some(model) = model(backend, 6, CLASSES, head_weight) else { return };
    let Gradients { rows, torch_f32_distance, name_norm_place_value } = &expected.gradients;
    let batch = backend.upload_batch(Batch::pack(&sequences(&expected)[..*rows]).unwrap()).unwrap();
    let labels: Vec<i32> = expected.inputs[..*rows].iter().map(|input| input.label).collect();
    let targets = Targets::Labels(backend.upload_indices(&labels).unwrap());
    let mut gradients = model.zeros_like_parameters(backend).unwrap();
    model.gradients(backend, &batch, &targets, None, &mut gradients).unwrap();

    let everywhere = worst(name_norm_place_value.iter().map(|&(.., value)| value));
    let mut distance: f64 = 0.0;
    let mut seen = 0;
    for (spec, gradient) in model.layout().iter().zip(&gradients) {
        let all: Vec<f64> = backend.download(gradient).unwrap().into_iter().map(Real::f64).collect();
        let names = hugging_face_names(model.config().family, CLASSES, &spec.name);
        for (name, part) in names.iter().zip(all.chunks(all.len() / names.len())) {
            let found = name_norm_place_value.iter().find(|(other, ..)| other == name);
            let (_, norm, place, value) = found.unwrap_or_else(|| panic!("{name} is not in the golden file"));
            let got = part.iter().map(|value| value * value).sum::<f64>().sqrt();
            // A norm is off by at most the root of the number of elements times what one is, so it is measured so.
            let layer = |name: &str| name.rsplit_once('.').map(|(layer, _)| layer.to_owned());
            let of_layer = name_norm_place_value.iter().filter(|(other, ..)| layer(other) == layer(name));
            let largest = worst(of_layer.map(|&(.., value)| value)).max(1e-3 * everywhere);
            let spread = (norm / largest).max(1.0);
            distance = worst([distance, (part[*place] - value) / largest, (got - norm) / (largest * spread)].into_iter());
            seen += 1;
        }
    }
    assert_eq!(seen, name_norm_place_value.len(), "every gradient is compared");
    let bound = rounding(model.config(), 30, 3).min(4.0 * torch_f32_distance + 4.0 * f64::from(f32::EPSILON));
    eprintln!("gradients: off by {distance:.2e}, PyTorch in f32 by {torch_f32_distance:.2e}, bound {bound:.2e}");
    assert!(distance <= bound, "gradients: off by {distance:e}, bound {bound:e}");
}

/// Twenty steps with clipping and schedule, dropout off.
fn check_curve<B: Backend>(backend: &B, precision: Precision) {
    let expected = expected();
    let Some(mut model) = model(backend, 6, CLASSES, head_weight) else { return };
    let labels = expected.inputs.iter().map(|input| input.label).collect();
    let set = TrainSet { sequences: sequences(&expected), targets: HostTargets::Labels(labels) };
    let training = &expected.training;
    let settings = AdamWSettings { weight_decay: training.weight_decay, ..AdamWSettings::default() };
    let mut optimizer = AdamW::new(backend, &model, settings).unwrap();
    let total_steps = training.torch_f64.len();
    let schedule = LinearSchedule { learning_rate: training.learning_rate, warmup_steps: training.warmup_steps, total_steps };
    let rows: Vec<usize> = (0..set.sequences.len()).collect();
    let curve = rows.chunks(training.batch).cycle().take(total_steps).enumerate().map(|(step, rows)| {
        let (rate, clip) = (schedule.at(step), Some(training.max_gradient_norm));
        let step = train_step(backend, &mut model, &mut optimizer, &set, rows, rate, clip, None).unwrap();
        step.loss_sum / rows.len() as f64
    });
    let curve: Vec<f64> = curve.collect();
    let (wanted, bound) = training.yardstick(precision);
    let distance = worst(curve.iter().zip(wanted).map(|(a, b)| a - b));
    eprintln!("loss curve: off by {distance:.2e}, bound {bound:.2e}");
    assert!(distance <= bound, "loss curve off by {distance:e}, bound {bound:e}: {curve:?}");
}

/// Holds without the model: the numbers on file can tell the precisions apart.
#[test]
fn the_stored_numbers_are_usable() {
    let expected = expected();
    let training = &expected.training;
    for curve in [&training.torch_f64, &training.torch_f32, &training.torch_bf16_autocast] {
        assert!(curve.len() == 20 && curve.iter().all(|loss| loss.is_finite()));
        assert!(curve[19] < 0.5 * curve[0], "the loss falls");
    }
    let (single, half) = (training.yardstick(Precision::F32).1, training.yardstick(Precision::Bf16).1);
    assert!(single > 0.0 && 100.0 * single < half && half < 0.01, "{single:e} {half:e}");
    let tokens = sequences(&expected)[expected.hidden.row].ids.len();
    assert_eq!(expected.hidden.values.values.len(), 6 * 2 * tokens);
    assert_eq!(expected.class_logits.values.len(), 2 * expected.inputs.len());
    assert_eq!(expected.gradients.name_norm_place_value.len(), 5 + 6 * 16 + 4);
}

#[test]
fn the_published_tokenizer_gives_the_same_ids() {
    let Some(directory) = directory() else { return };
    let present: Vec<_> = ["tokenizer.json", "vocab.txt"].into_iter().filter(|file| directory.join(file).exists()).collect();
    assert!(!present.is_empty());
    for file in present {
        let tokenizer = Tokenizer::load(&directory.join(file)).unwrap();
        for Input { text, text_pair, ids, token_types, .. } in expected().inputs {
            let sequence = tokenizer.encode(&text, text_pair.as_deref(), 512, Truncation::LongestFirst).unwrap();
            assert_eq!(sequence, Sequence { ids, token_types }, "{file}: {text}");
        }
    }
}

#[test]
fn a_new_head_on_the_published_encoder_is_reported() {
    let Some(directory) = directory() else { return };
    let (_, new_head) = Model::load(&Reference::<f32>::new(), &directory, CLASSES, 3).unwrap();
    let new_head = new_head.unwrap();
    assert_eq!(new_head.file.parent(), Some(directory.as_path()));
    let missing = "classifier.weight, classifier.bias are not in";
    let line = format!("{missing} {}: a new head for 2 classes is initialised from seed 3", new_head.file.display());
    assert_eq!(new_head.to_string(), line);
}

/// The plain backend is slow, so only its first and last layers and a few logits.
#[test]
fn reference_f32_equals_transformers_on_published_weights() {
    let backend = Reference::<f32>::new();
    check_hidden(&backend, &[1, 6]);
    check_logits(&backend, 4);
}

#[test]
fn cpu_equals_transformers_on_published_weights() {
    let backend = Cpu::new(2).unwrap();
    check_hidden(&backend, &[1, 2, 3, 4, 5, 6]);
    check_logits(&backend, 16);
    check_gradients(&backend);
}

#[test]
fn cpu_trains_as_pytorch_on_published_weights() {
    check_curve(&Cpu::new(2).unwrap(), Precision::F32);
}

#[test]
fn cpu_in_bf16_trains_as_close_to_f32_as_pytorch_in_bf16() {
    check_curve(&Cpu::with(2, Precision::Bf16).unwrap(), Precision::Bf16);
}
