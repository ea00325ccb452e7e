//! Whole models on the CUDA kernels, run by the emulator: forward, backward and AdamW steps, with dropout, of both families
//! and heads.

use stepsynth_core::backend::{Backend, Real};
use stepsynth_core::config::{EncoderConfig, Head};
use stepsynth_core::model::{Initialisation, Model, Targets};
use stepsynth_core::random::Stream;
use stepsynth_core::reference::Reference;
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, TrainSet, train_step};
use stepsynth_core::weights::HostTensor;
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::Precision;

use crate::counting::counting_cuda;
use crate::plain::Plain;
use crate::rounding::rounding;

/// A student to train and what it is trained on. Every layer but the head has more outputs than a head may have.
struct Job {
    config: EncoderConfig,
    head: Head,
    set: TrainSet,
}

fn jobs() -> [Job; 2] {
    let sequences: Vec<Sequence> = [&[1, 5, 3, 7, 2][..], &[4], &[1, 9, 9, 2, 6, 10, 3]]
        .map(|ids| Sequence { ids: ids.to_vec(), token_types: (0..ids.len()).map(|place| i32::from(place > 2)).collect() })
        .into();
    let config = |text| EncoderConfig::from_json(text, "test").unwrap();
    let distilbert = r#"{"model_type": "distilbert", "vocab_size": 11, "dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 2,
        "max_position_embeddings": 8, "initializer_range": 0.3}"#;
    let bert = r#"{"model_type": "bert", "vocab_size": 11, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 8, "initializer_range": 0.3}"#;
    [
        Job {
            config: config(distilbert),
            head: Head::Classification { labels: 3 },
            set: TrainSet { sequences: sequences.clone(), targets: HostTargets::Labels(vec![2, 0, 1]) },
        },
        Job {
            config: config(bert),
            head: Head::QuestionAnswering,
            set: TrainSet { sequences, targets: HostTargets::Spans(vec![(1, 3), (0, 0), (2, 6)]) },
        },
    ]
}

const STEPS: usize = 3;

/// Steps large enough that a copy of parameters which is not renewed after a step shows: they move by half of their size.
const LEARNING_RATE: f64 = 0.05;

/// What a student computes.
struct Run {
    logits: Vec<f64>,
    losses: Vec<f64>,
    /// Of every parameter, with the name of its layer.
    gradients: Vec<(String, Vec<f64>)>,
}

/// What [`STEPS`] steps gave.
struct Trained<B: Backend> {
    /// Before the first step.
    before: Run,
    /// The mean loss of each step.
    curve: Vec<f64>,
    /// After the last step, with the parameters that the backend came to.
    after: Run,
    model: Model<B>,
}

fn evaluate<B: Backend>(backend: &B, model: &Model<B>, job: &Job) -> Run {
    let set = &job.set;
    let batch = backend.upload_batch(Batch::pack(&set.sequences).unwrap()).unwrap();
    let upload = |values: Vec<i32>| backend.upload_indices(&values).unwrap();
    let targets = match &set.targets {
        HostTargets::Labels(labels) => Targets::Labels(upload(labels.clone())),
        HostTargets::Spans(spans) => Targets::Spans {
            starts: upload(spans.iter().map(|span| span.0).collect()),
            ends: upload(spans.iter().map(|span| span.1).collect()),
        },
    };
    let mut gradients = model.zeros_like_parameters(backend).unwrap();
    let output = model.gradients(backend, &batch, &targets, Some(masks()), &mut gradients).unwrap();
    let values = |tensor: &B::Tensor| -> Vec<f64> { backend.download(tensor).unwrap().into_iter().map(Real::f64).collect() };
    let layer = |name: &str| name.rsplit_once('.').map_or(name, |(layer, _)| layer).to_owned();
    let layers = model.layout().iter().map(|spec| layer(&spec.name));
    Run {
        gradients: layers.zip(gradients.iter().map(values)).collect(),
        logits: values(&output.logits),
        losses: values(&output.losses),
    }
}

fn masks() -> Stream {
    Stream::new(4, "masks")
}

fn train<B: Backend>(backend: &B, job: &Job, mut after_step: impl FnMut()) -> Trained<B> {
    let set = &job.set;
    let mut model = Model::new(backend, job.config.clone(), job.head, Initialisation::Transformers, 1).unwrap();
    let mut optimizer = AdamW::new(backend, &model, AdamWSettings::default()).unwrap();
    let before = evaluate(backend, &model, job);
    let rows: Vec<usize> = (0..set.sequences.len()).collect();
    let curve = (0..STEPS as u64).map(|step| {
        let dropout = Some(masks().child(step));
        let report = train_step(backend, &mut model, &mut optimizer, set, &rows, LEARNING_RATE, Some(1.0), dropout).unwrap();
        after_step();
        report.loss_sum / rows.len() as f64
    });
    let curve = curve.collect();
    let after = evaluate(backend, &model, job);
    Trained { before, curve, after, model }
}

/// NaN-proof maximum of magnitudes: a NaN becomes infinite.
fn worst(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |worst, value| if value.is_nan() { f64::INFINITY } else { worst.max(value.abs()) })
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    worst(a.iter().zip(b).map(|(a, b)| a - b))
}

impl Run {
    /// Largest differences of logits, losses and gradients. A gradient's is relative to its layer's largest, or a
    /// thousandth of the model's if that is more: see `golden_models`.
    fn distances(&self, truth: &Self) -> [(&'static str, f64); 3] {
        let everywhere = worst(truth.gradients.iter().flat_map(|(_, values)| values.iter().copied()));
        let gradients = self.gradients.iter().zip(&truth.gradients).map(|((_, got), (layer, wanted))| {
            let of_layer = truth.gradients.iter().filter(|(other, _)| other == layer);
            let largest = worst(of_layer.flat_map(|(_, values)| values.iter().copied())).max(1e-3 * everywhere);
            distance(got, wanted) / largest
        });
        [
            ("logits", distance(&self.logits, &truth.logits)),
            ("losses", distance(&self.losses, &truth.losses)),
            ("gradients", worst(gradients)),
        ]
    }
}

/// At most twice as far from the truth as the plain run in the same numbers. In f32 that run is one draw of a random error, so
/// that the rounding derived for it may be had instead.
///
/// The model is compared before the first step and after the last, there with the parameters that the backend itself came to:
/// AdamW's first steps are as large for a gradient of nearly nothing as for any other, so that two runs in bfloat16 part in
/// parameters whose gradients' signs rounding decides. In f32 the losses on the way are compared too.
fn check<P: Backend>(plain: &P, precision: Precision) {
    for job in jobs() {
        let exact = Reference::<f64>::new();
        let (truth, plainly) = (train(&exact, &job, || ()), train(plain, &job, || ()));
        let longest = job.set.sequences.iter().map(|sequence| sequence.ids.len()).max().unwrap();
        let rounding = |passes| rounding(&job.config, longest, passes);
        for capability in [(7, 5), (8, 0)] {
            let cuda = counting_cuda(capability, precision);
            let mut allocations = Vec::new();
            let trained = train(&cuda, &job, || allocations.push(cuda.device().allocations()));
            let place = format!("{:?} at {capability:?}, {}", job.head, cuda.name());
            let close = |when: &str, got: &Run, plain: &Run, truth: &Run| {
                let (got, plain) = (got.distances(truth), plain.distances(truth));
                let of_logits = 2.0 * plain[0].1 + rounding(1);
                for ((what, error), (_, plain)) in got.into_iter().zip(plain) {
                    let allowed = match what {
                        "gradients" => 2.0 * plain + rounding(3),
                        // Three losses of the plain run can be close by luck. Softmax moves a loss by at most twice as much as
                        // the logits move.
                        "losses" => (2.0 * plain + rounding(1)).max(2.0 * of_logits),
                        _ => of_logits,
                    };
                    assert!(error <= allowed, "{place}: {what} {when} off by {error:e}, allowed {allowed:e}");
                }
            };
            close("before training", &trained.before, &plainly.before, &truth.before);
            let parameters = trained.model.tensors(&cuda).unwrap();
            let truth_after = evaluate(&exact, &with_parameters(&exact, &job, &parameters), &job);
            let plain_after = evaluate(plain, &with_parameters(plain, &job, &parameters), &job);
            close("after training", &trained.after, &plain_after, &truth_after);
            if precision == Precision::F32 {
                let error = distance(&trained.curve, &truth.curve);
                let allowed = 2.0 * distance(&plainly.curve, &truth.curve) + rounding(1);
                assert!(error <= allowed, "{place}: the losses of the steps off by {error:e}, allowed {allowed:e}");
            }
            // The end of the first step takes memory that stays: where the parameters are. So the second may take some too.
            assert_eq!(allocations[1..], [allocations[1]; STEPS - 1], "a later step allocates memory");
        }
    }
}

fn with_parameters<B: Backend>(backend: &B, job: &Job, parameters: &[(String, HostTensor)]) -> Model<B> {
    Model::from_tensors(backend, job.config.clone(), job.head, parameters.iter().cloned()).unwrap()
}

#[test]
fn a_model_on_the_emulator_agrees_with_the_reference() {
    check(&Reference::<f32>::new(), Precision::F32);
}

#[test]
fn a_model_on_the_emulator_agrees_with_the_reference_in_bfloat16() {
    check(&Plain::storing(), Precision::Bf16);
}
