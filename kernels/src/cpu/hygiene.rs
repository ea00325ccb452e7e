//! What every operation promises beyond its values: errors instead of panics, and NaN and infinity that spread.

use stepsynth_core::backend::{Activation, Backend, DeviceBatch};
use stepsynth_core::config::{Dropouts, EncoderConfig, Family, Head};
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::random::Stream;
use stepsynth_core::train::{AdamW, AdamWSettings, HostTargets, TrainSet, train_step};
use stepsynth_core::{Batch, Error, Sequence};

use super::{Cpu, Tensor};

fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

fn filled(cpu: &Cpu, rows: usize, columns: usize, value: f32) -> Tensor {
    cpu.upload(rows, columns, &vec![value; rows * columns]).unwrap()
}

fn batch(cpu: &Cpu, lengths: &[usize]) -> DeviceBatch<Vec<i32>> {
    let sequences: Vec<_> =
        lengths.iter().map(|&length| Sequence { ids: vec![0; length], token_types: vec![0; length] }).collect();
    cpu.upload_batch(Batch::pack(&sequences).unwrap()).unwrap()
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let cpu = cpu();
    let t = |rows, columns| filled(&cpu, rows, columns, 1.0);
    let batch = batch(&cpu, &[2, 1]);
    let dropped = None;
    let results = [
        cpu.upload(2, 2, &[0.0; 3]).map(drop),
        cpu.embed(&mut t(3, 4), &batch, &t(5, 4), &t(5, 3), None),
        cpu.embed(&mut t(2, 4), &batch, &t(5, 4), &t(5, 4), None),
        cpu.embed_backward(&mut t(5, 4), &mut t(5, 4), Some(&mut t(2, 3)), &t(3, 4), &batch),
        cpu.linear(&mut t(3, 2), &t(3, 4), &t(2, 5), &t(1, 2)),
        cpu.linear(&mut t(3, 2), &t(3, 4), &t(2, 4), &t(2, 1)),
        cpu.linear_backward(Some(&mut t(3, 5)), &mut t(2, 4), &mut t(1, 2), &t(3, 2), &t(3, 4), &t(2, 4)),
        cpu.layer_norm(&mut t(3, 4), &mut t(3, 1), &t(3, 4), &t(1, 4), &t(1, 4), 1e-5),
        cpu.layer_norm_backward(&mut t(3, 4), &mut t(1, 4), &mut t(1, 5), &t(3, 4), &t(3, 4), &t(3, 2), &t(1, 4)),
        cpu.activation(&mut t(4, 3), &t(3, 4), Activation::Relu),
        cpu.activation_backward(&mut t(3, 4), &t(4, 3), &t(3, 4), Activation::Relu),
        cpu.attention(&mut t(3, 4), &mut t(3, 2), &t(3, 11), &batch, 2, dropped),
        cpu.attention(&mut t(3, 4), &mut t(3, 3), &t(3, 12), &batch, 3, dropped),
        cpu.attention(&mut t(4, 4), &mut t(4, 2), &t(4, 12), &batch, 2, dropped),
        cpu.attention_backward(&mut t(3, 12), &t(3, 4), &t(3, 4), &t(3, 1), &t(3, 12), &batch, 2, dropped),
        cpu.add(&mut t(3, 4), &t(4, 3)),
        cpu.copy(&mut t(3, 4), &t(4, 3)),
        cpu.gather_rows(&mut t(1, 4), &t(3, 4), &vec![0, 1]),
        cpu.scatter_rows(&mut t(3, 4), &t(1, 4), &vec![0, 1]),
        cpu.cross_entropy(&mut t(3, 1), &mut t(3, 2), &t(3, 2), &vec![0, 1]),
        cpu.span_loss(&mut t(2, 1), &mut t(3, 2), &t(3, 2), &batch, &vec![0], &vec![0, 0]),
    ];
    for (index, result) in results.iter().enumerate() {
        assert!(matches!(result, Err(Error::Shape { .. })), "case {index}: {result:?}");
    }
}

#[test]
fn indices_out_of_range_are_errors() {
    let cpu = cpu();
    let t = |rows, columns| filled(&cpu, rows, columns, 1.0);
    let mut bad = batch(&cpu, &[2, 1]);
    bad.ids[1] = -1;
    let short = batch(&cpu, &[2, 1]);
    let mut torn = batch(&cpu, &[2, 1]);
    torn.cu_seqlens[1] = 9;
    let mut hollow = batch(&cpu, &[2, 1]);
    hollow.cu_seqlens[1] = 0;
    let results = [
        cpu.embed(&mut t(3, 4), &bad, &t(5, 4), &t(5, 4), None),
        cpu.embed(&mut t(3, 4), &short, &t(5, 4), &t(1, 4), None),
        cpu.embed_backward(&mut t(5, 4), &mut t(5, 4), None, &t(3, 4), &bad),
        cpu.attention(&mut t(3, 4), &mut t(3, 2), &t(3, 12), &torn, 2, None),
        cpu.attention(&mut t(3, 4), &mut t(3, 2), &t(3, 12), &hollow, 2, None),
        cpu.attention_backward(&mut t(3, 12), &t(3, 4), &t(3, 4), &t(3, 2), &t(3, 12), &hollow, 2, None),
        cpu.attention(&mut t(3, 4), &mut t(3, 0), &t(3, 12), &short, 0, None),
        cpu.attention(&mut t(3, 0), &mut t(3, 2), &t(3, 0), &short, 2, None),
        cpu.attention_backward(&mut t(3, 0), &t(3, 0), &t(3, 0), &t(3, 2), &t(3, 0), &short, 2, None),
        cpu.gather_rows(&mut t(1, 4), &t(3, 4), &vec![3]),
        cpu.scatter_rows(&mut t(3, 4), &t(1, 4), &vec![-1]),
        cpu.cross_entropy(&mut t(1, 1), &mut t(1, 2), &t(1, 2), &vec![2]),
        cpu.span_loss(&mut t(2, 1), &mut t(3, 2), &t(3, 2), &short, &vec![0, 1], &vec![0, 0]),
        cpu.span_loss(&mut t(2, 1), &mut t(3, 2), &t(3, 2), &torn, &vec![0, 0], &vec![0, 0]),
    ];
    for (index, result) in results.iter().enumerate() {
        assert!(matches!(result, Err(Error::Index { .. })), "case {index}: {result:?}");
    }
}

#[test]
fn empty_tensors_are_no_panic() {
    let cpu = cpu();
    let t = |rows, columns| filled(&cpu, rows, columns, 1.0);
    let batch = cpu.upload_batch(Batch::pack([]).unwrap()).unwrap();
    cpu.embed(&mut t(0, 4), &batch, &t(5, 4), &t(5, 4), None).unwrap();
    cpu.linear(&mut t(0, 2), &t(0, 4), &t(2, 4), &t(1, 2)).unwrap();
    cpu.linear_backward(Some(&mut t(0, 4)), &mut t(2, 4), &mut t(1, 2), &t(0, 2), &t(0, 4), &t(2, 4)).unwrap();
    cpu.layer_norm(&mut t(0, 4), &mut t(0, 2), &t(0, 4), &t(1, 4), &t(1, 4), 1e-5).unwrap();
    cpu.layer_norm(&mut t(3, 0), &mut t(3, 2), &t(3, 0), &t(1, 0), &t(1, 0), 1e-5).unwrap();
    cpu.attention(&mut t(0, 4), &mut t(0, 2), &t(0, 12), &batch, 2, None).unwrap();
    cpu.cross_entropy(&mut t(0, 1), &mut t(0, 2), &t(0, 2), &vec![]).unwrap();
    let mut y = t(3, 2);
    cpu.linear(&mut y, &t(3, 0), &t(2, 0), &t(1, 2)).unwrap();
    assert_eq!(cpu.download(&y).unwrap(), [1.0; 6]);
    let mut d_b = t(1, 2);
    cpu.linear_backward(None, &mut t(2, 0), &mut d_b, &t(3, 2), &t(3, 0), &t(2, 0)).unwrap();
    assert_eq!(cpu.download(&d_b).unwrap(), [4.0; 2]);
}

#[test]
fn not_a_number_spreads() {
    let cpu = cpu();
    for poison in [f32::NAN, f32::INFINITY] {
        let t = |rows, columns| filled(&cpu, rows, columns, 1.0);
        let bad = |rows, columns| filled(&cpu, rows, columns, poison);
        let all_bad = |tensor: &Tensor| assert!(tensor.data.iter().all(|value| !value.is_finite()), "{:?}", &*tensor.data);
        let (mut y, mut stats, mut gradient) = (t(3, 20), t(3, 2), t(1, 20));
        cpu.layer_norm(&mut y, &mut stats, &bad(3, 20), &t(1, 20), &t(1, 20), 1e-5).unwrap();
        all_bad(&y);
        cpu.layer_norm_backward(&mut y, &mut gradient, &mut t(1, 20), &bad(3, 20), &t(3, 20), &t(3, 2), &t(1, 20)).unwrap();
        all_bad(&y);
        for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
            cpu.activation_backward(&mut y, &bad(3, 20), &t(3, 20), kind).unwrap();
            all_bad(&y);
            if poison.is_nan() || kind != Activation::Tanh {
                cpu.activation(&mut y, &bad(3, 20), kind).unwrap();
                all_bad(&y);
            }
            if poison.is_nan() {
                cpu.activation_backward(&mut y, &t(3, 20), &bad(3, 20), kind).unwrap();
                all_bad(&y);
            }
        }
        let batch = batch(&cpu, &[2, 1]);
        let (mut out, mut lse, mut d_qkv) = (t(3, 4), t(3, 2), t(3, 12));
        cpu.attention(&mut out, &mut lse, &bad(3, 12), &batch, 2, None).unwrap();
        all_bad(&out);
        cpu.attention_backward(&mut d_qkv, &bad(3, 4), &t(3, 4), &t(3, 2), &t(3, 12), &batch, 2, None).unwrap();
        all_bad(&d_qkv);
        let mut y = t(3, 2);
        cpu.linear(&mut y, &bad(3, 4), &t(2, 4), &t(1, 2)).unwrap();
        all_bad(&y);
        let mut losses = t(3, 1);
        cpu.cross_entropy(&mut losses, &mut t(3, 2), &bad(3, 2), &vec![0, 1, 0]).unwrap();
        all_bad(&losses);
        assert!(!cpu.sum_of_squares(&[bad(1, 1)]).unwrap().is_finite());
    }
}

#[test]
fn a_steady_training_step_allocates_no_buffer() {
    let config = EncoderConfig {
        family: Family::Bert,
        vocab_size: 50,
        hidden: 32,
        layers: 3,
        heads: 2,
        feed_forward: 64,
        max_positions: 300,
        token_types: 2,
        layer_norm_epsilon: 1e-12,
        activation: Activation::GeluErf,
        dropouts: Dropouts { hidden: 0.1, attention: 0.1, classifier: 0.1, question_answering: 0.0 },
        initializer_range: 0.02,
        pad_token_id: 0,
        id2label: vec!["a".into(), "b".into()],
    };
    let cpu = cpu();
    let sequence = |length: usize| Sequence { ids: vec![7; length], token_types: vec![0; length] };
    let lengths = [300, 280, 200, 150, 270, 90, 100, 260];
    let set = TrainSet { sequences: lengths.map(sequence).to_vec(), targets: HostTargets::Labels(vec![0; lengths.len()]) };
    let mut model = Model::new(&cpu, config, Head::Classification { labels: 2 }, Initialisation::Scratch, 0).unwrap();
    let mut optimizer = AdamW::new(&cpu, &model, AdamWSettings::default()).unwrap();
    let mut step = |rows: &[usize]| {
        let masks = Some(Stream::new(0, "masks"));
        train_step(&cpu, &mut model, &mut optimizer, &set, rows, 1e-3, Some(1.0), masks).unwrap();
    };
    let mut epoch = || [[0, 1], [2, 3], [4, 6], [7, 5]].iter().for_each(|rows| step(rows));
    (0..3).for_each(|_| epoch());
    let before = cpu.memory.allocations();
    epoch();
    assert_eq!(cpu.memory.allocations(), before);
}
