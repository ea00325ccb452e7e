//! A sequence has the same logits alone as in a batch, on the fast backend, but for the last bits.

use proptest::prelude::*;
use stepsynth_core::Sequence;
use stepsynth_core::config::{EncoderConfig, Head};
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::train::logits;
use stepsynth_kernels::cpu::Cpu;

use crate::rounding::rounding;

const LONGEST: usize = 70;
const HEADS: [Head; 2] = [Head::Classification { labels: 3 }, Head::QuestionAnswering];

/// Sizes that are multiples of no vector length.
const CONFIGS: [&str; 2] = [
    r#"{"model_type": "distilbert", "vocab_size": 30, "dim": 22, "hidden_dim": 42, "n_layers": 2, "n_heads": 2,
        "max_position_embeddings": 70, "initializer_range": 0.3}"#,
    r#"{"model_type": "bert", "vocab_size": 30, "hidden_size": 22, "intermediate_size": 42, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 70, "initializer_range": 0.3}"#,
];

fn any_sequences() -> impl Strategy<Value = Vec<Sequence>> {
    let one = prop::collection::vec(0..30_i32, 1..=LONGEST).prop_map(|ids| {
        let half = ids.len() / 2;
        Sequence { token_types: (0..ids.len()).map(|place| i32::from(place > half)).collect(), ids }
    });
    prop::collection::vec(one, 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// How a product is cut into blocks depends on the number of rows, so its sums may be ordered otherwise. Each result is
    /// within the rounding error of the truth, so two of them are within twice that.
    #[test]
    fn alone_equals_in_a_batch(sequences in any_sequences(), threads in 1..3_usize) {
        let backend = Cpu::new(threads).unwrap();
        for text in CONFIGS {
            let config = EncoderConfig::from_json(text, "test").unwrap();
            for head in HEADS {
                let model = Model::new(&backend, config.clone(), head, Initialisation::Transformers, 2).unwrap();
                let of = |budget| logits(&backend, &model, &sequences, budget, &|_, _| true).unwrap();
                let (together, alone) = (of(usize::MAX).concat(), of(1).concat());
                prop_assert_eq!(together.len(), alone.len());
                let largest = alone.iter().fold(1.0, |largest: f32, value| largest.max(value.abs()));
                let bound = 2.0 * rounding(&config, LONGEST, 1) * f64::from(largest);
                for (one, other) in together.iter().zip(&alone) {
                    let distance = f64::from((one - other).abs());
                    prop_assert!(distance <= bound, "{head:?}: {one} in a batch, {other} alone, bound {bound:e}");
                }
            }
        }
    }
}
