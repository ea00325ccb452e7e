//! Whole models: gradients against finite differences, packing, and learning.

use ndarray::Array2;
use proptest::prelude::*;

use super::{Initialisation, Model, Targets};
use crate::backend::{Activation, Backend};
use crate::config::{Dropouts, EncoderConfig, Family, Head};
use crate::random::Stream;
use crate::reference::Reference;
use crate::train::{HostTargets, TrainSet, TrainSettings, logits, train};
use crate::{Batch, Sequence};

pub(crate) fn small_config(family: Family, dropout: f64) -> EncoderConfig {
    EncoderConfig {
        family,
        vocab_size: 11,
        hidden: 8,
        layers: 2,
        heads: 2,
        feed_forward: 12,
        max_positions: 9,
        token_types: if family == Family::Bert { 2 } else { 0 },
        layer_norm_epsilon: 1e-12,
        activation: Activation::GeluErf,
        dropouts: Dropouts {
            hidden: dropout,
            attention: dropout,
            classifier: dropout,
            question_answering: if family == Family::Bert { 0.0 } else { dropout },
        },
        initializer_range: 0.4,
        pad_token_id: 0,
        id2label: vec!["a".into(), "b".into(), "c".into()],
    }
}

const HEADS: [Head; 2] = [Head::Classification { labels: 3 }, Head::QuestionAnswering];

fn sequence(ids: &[i32]) -> Sequence {
    Sequence { ids: ids.to_vec(), token_types: ids.iter().enumerate().map(|(place, _)| i32::from(place > 2)).collect() }
}

fn targets(head: Head) -> Targets<Vec<i32>> {
    match head {
        Head::Classification { .. } => Targets::Labels(vec![2, 0, 1]),
        Head::QuestionAnswering => Targets::Spans { starts: vec![1, 0, 2], ends: vec![3, 0, 4] },
    }
}

/// Central differences of the mean loss by every parameter of both families and heads, with and without dropout.
/// With step 1e-5 the differences are good to about 1e-9 of a loss of order one; 1e-6 of the largest gradient leaves room.
#[test]
fn every_parameter_gradient_matches_finite_differences() {
    let backend = Reference::<f64>::new();
    let sequences = [sequence(&[1, 5, 3, 7, 2]), sequence(&[4]), sequence(&[1, 9, 9, 2, 6, 10])];
    let batch = backend.upload_batch(Batch::pack(&sequences).unwrap()).unwrap();
    for family in [Family::DistilBert, Family::Bert] {
        for head in HEADS {
            for dropout in [0.0, 0.2] {
                let mut model =
                    Model::new(&backend, small_config(family, dropout), head, Initialisation::Transformers, 1).unwrap();
                let masks = Some(Stream::new(4, "masks"));
                let loss = |model: &Model<Reference<f64>>| {
                    let mut unused = model.zeros_like_parameters(&backend).unwrap();
                    model.gradients(&backend, &batch, &targets(head), masks, &mut unused).unwrap().losses.mean().unwrap()
                };
                let mut gradients = model.zeros_like_parameters(&backend).unwrap();
                model.gradients(&backend, &batch, &targets(head), masks, &mut gradients).unwrap();
                for (index, gradient) in gradients.iter().enumerate() {
                    let largest = gradient.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
                    // Every element of small tensors, every seventh of the large.
                    for element in (0..gradient.len()).step_by(if gradient.len() > 50 { 7 } else { 1 }) {
                        let place = (element / gradient.ncols(), element % gradient.ncols());
                        let mut shifted = |by: f64| {
                            model.parameters_mut()[index][place] += by;
                            let value = loss(&model);
                            model.parameters_mut()[index][place] -= by;
                            value
                        };
                        let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                        let name = &model.layout()[index].name;
                        let expected = gradient[place];
                        assert!(
                            (difference - expected).abs() <= 1e-6 * largest,
                            "{family:?} {head:?} dropout {dropout}: {name} {place:?}: {difference} but {expected}"
                        );
                    }
                }
            }
        }
    }
}

fn any_sequences() -> impl Strategy<Value = Vec<Sequence>> {
    let one = prop::collection::vec(1..11_i32, 1..9).prop_map(|ids| sequence(&ids));
    prop::collection::vec(one, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A sequence alone has the logits it has in a batch, and the order of a batch does not matter.
    #[test]
    fn alone_equals_in_a_batch(sequences in any_sequences(), family in prop_oneof![Just(Family::DistilBert), Just(Family::Bert)]) {
        let backend = Reference::<f64>::new();
        for head in HEADS {
            let model = Model::new(&backend, small_config(family, 0.1), head, Initialisation::Transformers, 2).unwrap();
            let together = logits(&backend, &model, &sequences, usize::MAX, &|_, _| true).unwrap();
            let alone = logits(&backend, &model, &sequences, 1, &|_, _| true).unwrap();
            let reversed: Vec<_> = sequences.iter().rev().cloned().collect();
            let mut backward = logits(&backend, &model, &reversed, usize::MAX, &|_, _| true).unwrap();
            backward.reverse();
            prop_assert_eq!(&together, &alone);
            prop_assert_eq!(&together, &backward);
        }
    }

    /// The loss of a batch is the mean of its sequences' losses, and so is the gradient.
    #[test]
    fn gradient_of_a_batch_is_the_mean_of_its_sequences(sequences in any_sequences()) {
        let backend = Reference::<f64>::new();
        let model = Model::new(&backend, small_config(Family::Bert, 0.0), HEADS[0], Initialisation::Transformers, 3).unwrap();
        let gradients_of = |some: &[Sequence]| {
            let batch = backend.upload_batch(Batch::pack(some).unwrap()).unwrap();
            let mut gradients = model.zeros_like_parameters(&backend).unwrap();
            model.gradients(&backend, &batch, &Targets::Labels(vec![1; some.len()]), None, &mut gradients).unwrap();
            gradients
        };
        let together = gradients_of(&sequences);
        let mut mean = model.zeros_like_parameters(&backend).unwrap();
        for one in &sequences {
            for (sum, gradient) in mean.iter_mut().zip(gradients_of(std::slice::from_ref(one))) {
                *sum += &(gradient / sequences.len() as f64);
            }
        }
        for (left, right) in together.iter().zip(&mean) {
            let largest = left.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
            prop_assert!(left.iter().zip(right).all(|(a, b)| (a - b).abs() <= 1e-12 * largest));
        }
    }
}

/// A task that needs order: the label is which of two tokens comes first.
fn order_task() -> TrainSet {
    let mut generator = Stream::new(9, "task").generator();
    let mut set = TrainSet { sequences: Vec::new(), targets: HostTargets::Labels(Vec::new()) };
    let HostTargets::Labels(labels) = &mut set.targets else { unreachable!() };
    for _ in 0..64 {
        let label = generator.below(2);
        let mut ids = vec![1, 6 + generator.below(5) as i32, 3, 6 + generator.below(5) as i32, 4];
        if label == 1 {
            ids.swap(2, 4);
        }
        set.sequences.push(sequence(&ids));
        labels.push(label as i32);
    }
    set
}

#[test]
fn training_learns_is_reproducible_and_keeps_the_best_epoch() {
    let backend = Reference::<f32>::new();
    let settings =
        TrainSettings { epochs: 12, batch_size: 8, learning_rate: 5e-3, warmup_steps: 8, seed: 3, ..Default::default() };
    let run = |metrics: &[f64]| {
        let mut model = Model::new(
            &backend,
            small_config(Family::DistilBert, 0.1),
            Head::Classification { labels: 2 },
            Initialisation::Transformers,
            5,
        )
        .unwrap();
        let mut epoch = 0;
        let evaluate = |_: &Model<_>| {
            epoch += 1;
            Ok(metrics.get(epoch - 1).copied())
        };
        let report = train(&backend, &mut model, &order_task(), &settings, evaluate, &|_, _| true).unwrap();
        let parameters: Vec<Array2<f32>> = model.parameters().to_vec();
        (report, parameters)
    };
    let (report, parameters) = run(&[]);
    let last = report.epochs.last().unwrap();
    assert!(last.train_accuracy > 0.95, "{report:?}");
    assert_eq!((report.best_epoch, report.epochs.len()), (12, 12));
    assert_eq!(report.tokens, 12 * 64 * 5);
    assert_eq!(run(&[]), (report, parameters));

    let (report, _) = run(&[0.1, 0.7, 0.7, 0.2]);
    assert_eq!(report.best_epoch, 2, "of equal metrics the first epoch is kept");
}

#[test]
fn patience_and_interruption_stop_training() {
    let backend = Reference::<f32>::new();
    let settings = TrainSettings { epochs: 9, patience: Some(2), learning_rate: 1e-3, ..Default::default() };
    let mut model = Model::new(
        &backend,
        small_config(Family::Bert, 0.0),
        Head::Classification { labels: 2 },
        Initialisation::Transformers,
        5,
    )
    .unwrap();
    let mut metric = 1.0;
    let falling = |_: &Model<_>| {
        metric -= 0.1;
        Ok(Some(metric))
    };
    let report = train(&backend, &mut model, &order_task(), &settings, falling, &|_, _| true).unwrap();
    assert_eq!((report.best_epoch, report.epochs.len()), (1, 3));

    let stopped = train(&backend, &mut model, &order_task(), &settings, |_| Ok(None), &|step, _| step < 3);
    assert!(matches!(stopped, Err(crate::Error::Interrupted)));
}

#[test]
fn divergence_is_reported_with_the_step() {
    let backend = Reference::<f32>::new();
    let mut model = Model::new(
        &backend,
        small_config(Family::Bert, 0.0),
        Head::Classification { labels: 2 },
        Initialisation::Transformers,
        5,
    )
    .unwrap();
    model.parameters_mut()[0].fill(f32::NAN);
    let settings = TrainSettings { learning_rate: 1e-3, ..Default::default() };
    let failed = train(&backend, &mut model, &order_task(), &settings, |_| Ok(None), &|_, _| true).unwrap_err();
    assert_eq!(failed.to_string(), "training diverged at step 0: loss is NaN; lower the learning rate (now 1e-3)");
}

#[test]
fn save_and_load_give_the_same_logits() {
    let backend = Reference::<f32>::new();
    let directory = tempfile::tempdir().unwrap();
    for family in [Family::DistilBert, Family::Bert] {
        for head in HEADS {
            let model = Model::new(&backend, small_config(family, 0.1), head, Initialisation::Transformers, 8).unwrap();
            model.save(&backend, directory.path()).unwrap();
            let (loaded, new_head) = Model::load(&backend, directory.path(), head, 0).unwrap();
            let inputs = [sequence(&[1, 2, 3]), sequence(&[7])];
            assert_eq!(new_head, None);
            let of = |model| logits(&backend, model, &inputs, 100, &|_, _| true).unwrap();
            assert_eq!(of(&model), of(&loaded));
        }
    }
}

/// What the command line prints; the new head depends on the seed alone.
#[test]
fn a_missing_head_is_new_and_said_so() {
    let backend = Reference::<f32>::new();
    let directory = tempfile::tempdir().unwrap();
    let model = Model::new(&backend, small_config(Family::Bert, 0.1), HEADS[1], Initialisation::Transformers, 8).unwrap();
    model.save(&backend, directory.path()).unwrap();
    let load = |head, seed| {
        let (model, new_head) = Model::load(&backend, directory.path(), head, seed).unwrap();
        (model.tensors(&backend).unwrap(), new_head.unwrap().to_string())
    };
    let classes = Head::Classification { labels: 2 };
    let (tensors, line) = load(classes, 5);
    let file = directory.path().join("model.safetensors");
    let missing = "bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight, classifier.bias";
    assert_eq!(line, format!("{missing} are not in {}: a new head for 2 classes is initialised from seed 5", file.display()));
    let encoder = tensors.len() - 4;
    assert_eq!(tensors[..encoder], model.tensors(&backend).unwrap()[..encoder]);
    assert_eq!(load(classes, 5).0, tensors);
    assert_ne!(load(classes, 6).0, tensors);
}

#[test]
fn unusable_heads_and_tensors_are_named() {
    let backend = Reference::<f32>::new();
    let config = small_config(Family::Bert, 0.0);
    let message = |model: crate::Result<Model<_>>| model.err().unwrap().to_string();
    let none = Head::Classification { labels: 0 };
    let expected = "model head: number of labels is 0, must be between 1 and 65536";
    assert_eq!(message(Model::new(&backend, config.clone(), none, Initialisation::Transformers, 1)), expected);
    assert_eq!(message(Model::from_tensors(&backend, config.clone(), none, [])), expected);

    let model = Model::new(&backend, config.clone(), HEADS[0], Initialisation::Transformers, 1).unwrap();
    let mut tensors = model.tensors(&backend).unwrap();
    tensors.push(tensors[0].clone());
    let expected = format!("model tensors: {} is given twice", tensors[0].0);
    assert_eq!(message(Model::from_tensors(&backend, config, HEADS[0], tensors)), expected);
}
