//! Which kernel computes a product, in which tiles, and into how many parts its depth is split.

use super::backend::Cuda;
use super::launch::Call;
use super::{Device, Format, Properties};

/// The three products of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `y = x w^T`: rows by outputs, over inputs.
    Forward,
    /// `d_x = d_y w`: rows by inputs, over outputs.
    Input,
    /// `d_w = d_y^T x`: outputs by inputs, over rows.
    Weights,
}

/// How a product is launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    source: &'static str,
    kernel: &'static str,
    threads: u32,
    shared_bytes: usize,
    tiles: usize,
    /// Parts of the depth, each a sum by itself. One but for weights.
    pub(super) splits: usize,
    /// Depth of each part.
    pub(super) length: usize,
}

/// A kernel and the tile that a block of it computes.
struct Variant {
    source: &'static str,
    kernel: &'static str,
    threads: u32,
    shared_bytes: usize,
    tile: (usize, usize),
    /// Blocks that a multiprocessor has room for.
    resident: usize,
}

impl Plan {
    /// The plan of a product of `shape` over `depth`.
    pub(super) fn new(properties: &Properties, format: Format, form: Form, shape: (usize, usize), depth: usize) -> Self {
        let multiprocessors = properties.multiprocessors as usize;
        let variants = portable(format, form);
        let tiles_of = |variant: &Variant| shape.0.div_ceil(variant.tile.0) * shape.1.div_ceil(variant.tile.1);
        // From the largest tile to the smallest: the first that gives every multiprocessor one. The depth of weights can be
        // split instead.
        let fills = |variant: &&Variant| tiles_of(variant) >= multiprocessors;
        let small = form == Form::Weights && depth < 1024;
        let chosen = variants.iter().find(fills).unwrap_or(&variants[variants.len() - 1]);
        let chosen = if form == Form::Weights && !small { &variants[0] } else { chosen };
        let tiles = tiles_of(chosen);
        let (splits, length) = match form {
            Form::Weights => split(depth, tiles, chosen.tile, multiprocessors * chosen.resident),
            _ => (1, depth),
        };
        let Variant { source, kernel, threads, shared_bytes, .. } = *chosen;
        Self { source, kernel, threads, shared_bytes, tiles, splits, length }
    }

    /// The call, without its arguments.
    pub(super) fn call<'a, D: Device>(&self, cuda: &'a Cuda<D>, op: &'static str) -> Call<'a, D> {
        Call::new(cuda, op, self.source, self.kernel)
            .grid(self.tiles, self.splits, 1)
            .block(self.threads)
            .shared(self.shared_bytes)
    }
}

/// Number of parts of the depth and length of each, such that the blocks fill whole waves of `slots`.
///
/// A wave of a whole product takes a time of 3 bytes moved for each multiplication of one block (an H200 does about 23
/// multiplications a block and byte's time with two blocks on each of 132 multiprocessors); a part costs writing and reading.
fn split(depth: usize, tiles: usize, tile: (usize, usize), slots: usize) -> (usize, usize) {
    let area = tile.0 * tile.1;
    let cost = |splits: usize| {
        let parts = if splits == 1 { 0 } else { 8 * splits * tiles * area };
        (tiles * splits).div_ceil(slots) * 3 * area * depth / splits + parts
    };
    // At least 128 rows each, in whole slices of 64.
    let splits = (1..=32.min(depth / 128).max(1)).min_by_key(|&splits| cost(splits)).unwrap_or(1);
    let length = depth.div_ceil(splits).next_multiple_of(64);
    (depth.div_ceil(length), length)
}

/// Kernels without tensor cores.
fn portable(format: Format, form: Form) -> [Variant; 2] {
    let [large, small] = match (format, form) {
        (Format::F32, Form::Forward) => ["forward_f32_128", "forward_f32_64"],
        (Format::F32, Form::Input) => ["input_f32_128", "input_f32_64"],
        (Format::F32, Form::Weights) => ["weights_f32_128", "weights_f32_64"],
        (Format::Bf16, Form::Forward) => ["forward_bf16_128", "forward_bf16_64"],
        (Format::Bf16, Form::Input) => ["input_bf16_128", "input_bf16_64"],
        (Format::Bf16, Form::Weights) => ["weights_bf16_128", "weights_bf16_64"],
    };
    let source = "gemm_portable";
    [
        Variant { source, kernel: large, threads: 256, shared_bytes: 0, tile: (128, 128), resident: 2 },
        Variant { source, kernel: small, threads: 64, shared_bytes: 0, tile: (64, 64), resident: 5 },
    ]
}
