//! Counter-based random numbers: Philox 4x32-10 (Salmon et al., SC 2011), the generator of cuRAND and PyTorch.
//!
//! A number is a pure function of `(seed, stream, index)`, so results do not depend on the order of evaluation or on the
//! number of threads, and a dropout mask is recomputed in the backward pass instead of being stored.

/// Multipliers and Weyl constants of Philox 4x32.
const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One Philox 4x32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key.
#[inline(always)]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(MULTIPLIER[0]) * u64::from(c[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(c[2]);
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
    }
    c
}

/// Names a stream of random numbers: what they are for.
///
/// Two streams with different seeds or purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    purpose: [u32; 2],
}

impl Stream {
    /// The stream of `purpose` under `seed`. Purposes are hashed with FNV-1a, so any short text names a stream.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let hash =
            purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self::from_parts(seed, hash)
    }

    /// The stream numbered `purpose` under `seed`.
    pub fn from_parts(seed: u64, purpose: u64) -> Self {
        Self { key: split(seed), purpose: split(purpose) }
    }

    /// Key and purpose, for a device that computes blocks itself: block `i` is
    /// `philox4x32([i, i >> 32, purpose[0], purpose[1]], key)`.
    pub fn words(self) -> ([u32; 2], [u32; 2]) {
        (self.key, self.purpose)
    }

    /// A stream derived from this one, for example one per epoch.
    pub fn child(self, index: u64) -> Self {
        let word = philox4x32([index as u32, (index >> 32) as u32, self.purpose[0], self.purpose[1]], self.key);
        Self { key: [self.key[0] ^ word[0], self.key[1] ^ word[1]], purpose: [word[2], word[3]] }
    }

    /// Four random words: block `index` of the stream.
    #[inline(always)]
    pub fn block(self, index: u64) -> [u32; 4] {
        philox4x32([index as u32, (index >> 32) as u32, self.purpose[0], self.purpose[1]], self.key)
    }

    /// Blocks `first` to `first + 7` of the stream: word `w` of block `first + b` in the low half of `[w][b]`; the high halves
    /// are arbitrary.
    ///
    /// All blocks advance together in 64-bit lanes, so that a caller compiled for vector instructions multiplies eight lanes
    /// at once, without shuffles.
    #[inline(always)]
    pub fn eight_blocks(self, first: u64) -> [[u64; 8]; 4] {
        let mut c = [[0; 8], [0; 8], [self.purpose[0].into(); 8], [self.purpose[1].into(); 8]];
        let [low, high, ..] = &mut c;
        for (lane, (low, high)) in low.iter_mut().zip(high).enumerate() {
            *low = first.wrapping_add(lane as u64);
            *high = *low >> 32;
        }
        let mut k = self.key;
        for round in 0..10 {
            if round > 0 {
                k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
            }
            let mut next = [[0; 8]; 4];
            for lane in 0..8 {
                let a = u64::from(MULTIPLIER[0]) * (c[0][lane] & 0xffff_ffff);
                let b = u64::from(MULTIPLIER[1]) * (c[2][lane] & 0xffff_ffff);
                next[0][lane] = (b >> 32) ^ c[1][lane] ^ u64::from(k[0]);
                next[1][lane] = b;
                next[2][lane] = (a >> 32) ^ c[3][lane] ^ u64::from(k[1]);
                next[3][lane] = a;
            }
            c = next;
        }
        c
    }

    /// The `index`-th word of the stream.
    #[inline(always)]
    pub fn word(self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// A sequential reader of this stream.
    pub fn generator(self) -> Generator {
        Generator { stream: self, index: 0 }
    }
}

/// Reads a [`Stream`] in order, for places where one number follows another.
#[derive(Clone, Debug)]
pub struct Generator {
    stream: Stream,
    index: u64,
}

impl Generator {
    /// The next 32 random bits.
    pub fn next_word(&mut self) -> u32 {
        let word = self.stream.word(self.index);
        self.index += 1;
        word
    }

    /// Uniform in `[0, 1)` with 32 random bits.
    pub fn uniform(&mut self) -> f64 {
        f64::from(self.next_word()) / 4_294_967_296.0
    }

    /// Uniform in `0..bound`, without bias (Lemire's method with rejection).
    ///
    /// # Panics
    /// If `bound` is zero or does not fit 32 bits.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).expect("bound fits 32 bits");
        assert!(bound > 0, "bound must be positive");
        loop {
            let product = u64::from(self.next_word()) * u64::from(bound);
            if product as u32 >= bound.wrapping_neg() % bound {
                return (product >> 32) as usize;
            }
        }
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// `count` distinct indices of `0..length` in random order, all of them if `count >= length`.
    pub fn choose(&mut self, length: usize, count: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..length).collect();
        self.shuffle(&mut indices);
        indices.truncate(count);
        indices
    }
}

fn split(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (`kat_vectors`, philox4x32 with 10 rounds).
    #[test]
    fn philox_matches_published_vectors() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn eight_blocks_are_eight_blocks() {
        let stream = Stream::new(3, "blocks");
        // Across the end of the counter's low half and around the end of all.
        for first in [0, 12_345, u64::from(u32::MAX) - 3, u64::MAX - 2] {
            let together = stream.eight_blocks(first);
            for block in 0..8 {
                let words = together.map(|word| word[block] as u32);
                assert_eq!(words, stream.block(first.wrapping_add(block as u64)));
            }
        }
    }

    #[test]
    fn below_is_within_bounds_and_roughly_uniform() {
        let mut generator = Stream::new(7, "test").generator();
        let mut counts = [0_usize; 6];
        for _ in 0..60_000 {
            counts[generator.below(6)] += 1;
        }
        // Five standard deviations of a binomial with p = 1/6 are 456.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 456), "{counts:?}");
    }

    #[test]
    fn normal_has_unit_variance() {
        let mut generator = Stream::new(1, "normal").generator();
        let values: Vec<f64> = (0..20_000).map(|_| generator.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.036 && (variance - 1.0).abs() < 0.05, "mean {mean} variance {variance}");
    }
}
