//! The encoders and lengths that are timed.

/// The sizes of an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub(crate) name: &'static str,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) token_types: usize,
}

impl Encoder {
    pub(crate) fn feed_forward(&self) -> usize {
        4 * self.hidden
    }
}

/// Rows of the word embeddings of both.
pub(crate) const VOCABULARY: usize = 30_522;

/// Rows of the position embeddings of both.
pub(crate) const POSITIONS: usize = 512;

/// DistilBERT and MiniLM-L6, as published.
pub(crate) const ENCODERS: [Encoder; 2] = [
    Encoder { name: "distilbert", hidden: 768, layers: 6, heads: 12, token_types: 0 },
    Encoder { name: "minilm-l6", hidden: 384, layers: 6, heads: 12, token_types: 2 },
];

/// Sequences by their lengths.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) lengths: Vec<usize>,
}

/// Batches of two tasks' lengths, and one that keeps any GPU busy: 65,536 tokens in rows of 256.
pub(crate) fn workloads(batch: usize) -> [Workload; 3] {
    let lengths = |text: &str| -> Vec<usize> {
        text.split_whitespace().take(batch).map(|length| length.parse().expect("the lists hold numbers")).collect()
    };
    [
        Workload { name: "imdb", lengths: lengths(include_str!("../../../../benches/peers/lengths/imdb.txt")) },
        Workload { name: "rte", lengths: lengths(include_str!("../../../../benches/peers/lengths/rte.txt")) },
        Workload { name: "256 x 256", lengths: vec![256; 256] },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_what_they_are_called() {
        let [imdb, rte, full] = workloads(32);
        let mean = |workload: &Workload| workload.lengths.iter().sum::<usize>() / workload.lengths.len();
        assert_eq!((imdb.lengths.len(), rte.lengths.len()), (32, 32));
        assert!((150..400).contains(&mean(&imdb)) && (40..110).contains(&mean(&rte)), "{} {}", mean(&imdb), mean(&rte));
        assert_eq!(full.lengths.iter().sum::<usize>(), 1 << 16);
        assert!(imdb.lengths.iter().chain(&rte.lengths).all(|&length| length <= POSITIONS));
    }
}
