//! Which kernel computes a product, in which tiles, and into how many parts its depth is split.

use super::backend::Cuda;
use super::launch::Call;
use super::{Device, Format, Properties, Tensor, Tier};

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
    blocks: usize,
    /// The copy engine reads the operands.
    boxes: bool,
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
    /// Blocks stay and compute tile after tile, from boxes.
    hopper: bool,
    /// Bytes of device memory that an H200 moves in the time that a block takes for one multiplication, all blocks running.
    pace: usize,
}

impl Variant {
    fn tiles(&self, shape: (usize, usize)) -> usize {
        shape.0.div_ceil(self.tile.0) * shape.1.div_ceil(self.tile.1)
    }
}

impl Plan {
    /// The plan of a product of `shape` over `depth` on a device with these properties and perhaps a copy engine.
    pub(super) fn new(
        properties: &Properties,
        copy_engine: bool,
        format: Format,
        form: Form,
        shape: (usize, usize),
        depth: usize,
    ) -> Self {
        let multiprocessors = properties.multiprocessors as usize;
        // Tensor cores take rows of operands in multiples of 16 bytes.
        let whole = match form {
            Form::Forward => depth.is_multiple_of(8),
            Form::Input => depth.is_multiple_of(8) && shape.1.is_multiple_of(8),
            Form::Weights => shape.0.is_multiple_of(8) && shape.1.is_multiple_of(8),
        };
        let mut variants = Vec::new();
        if format == Format::Bf16 && whole && depth > 0 {
            if properties.tier() == Tier::Hopper && copy_engine {
                variants.push(hopper(form));
            }
            if properties.tier() != Tier::Portable {
                variants.extend(tensor_cores(properties, form));
            }
        }
        if variants.is_empty() {
            variants.extend(portable(format, form));
        }
        // From the largest tile to the smallest: the first that gives every multiprocessor a tile (the Hopper kernel, two of
        // three: it is faster by more than that). A great depth of weights is split instead.
        let fills = |variant: &&Variant| {
            let tiles = variant.tiles(shape) * if variant.hopper { 3 } else { 2 };
            tiles >= 2 * multiprocessors || (form == Form::Weights && depth >= 1024)
        };
        let chosen = variants.iter().find(fills).unwrap_or(&variants[variants.len() - 1]);
        let tiles = chosen.tiles(shape);
        let (splits, length) = match form {
            Form::Weights => split(depth, tiles, chosen, multiprocessors * chosen.resident),
            _ => (1, depth),
        };
        let blocks = if chosen.hopper { tiles.min((multiprocessors / splits).max(1)) } else { tiles };
        let Variant { source, kernel, threads, shared_bytes, hopper, .. } = *chosen;
        Self { source, kernel, threads, shared_bytes, blocks, boxes: hopper, splits, length }
    }

    /// The call, without its arguments.
    pub(super) fn call<'a, D: Device>(&self, cuda: &'a Cuda<D>, op: &'static str) -> Call<'a, D> {
        Call::new(cuda, op, self.source, self.kernel)
            .grid(self.blocks, self.splits, 1)
            .block(self.threads)
            .shared(self.shared_bytes)
    }

    /// Gives the call both operands of the product.
    pub(super) fn operands<'a, D: Device>(&self, call: Call<'a, D>, left: &Tensor, right: &Tensor) -> Call<'a, D> {
        if self.boxes { call.boxes(left).boxes(right) } else { call.input(left).input(right) }
    }
}

/// Number of parts of the depth and length of each. Blocks run in waves of `slots`; more parts make the last wave fuller, and
/// each part is written and read once more.
fn split(depth: usize, tiles: usize, variant: &Variant, slots: usize) -> (usize, usize) {
    let area = variant.tile.0 * variant.tile.1;
    // In bytes of device memory.
    let cost = |splits: usize| {
        let parts = if splits == 1 { 0 } else { 8 * splits * tiles * area };
        (tiles * splits).div_ceil(slots) * variant.pace * area * depth / splits + parts
    };
    // At least 128 rows each, in whole slices of 64.
    let splits = (1..=32.min(depth / 128).max(1)).min_by_key(|&splits| cost(splits)).unwrap_or(1);
    let length = depth.div_ceil(splits).next_multiple_of(64);
    (depth.div_ceil(length), length)
}

/// Kernels without tensor cores.
fn portable(format: Format, form: Form) -> Vec<Variant> {
    let [large, small] = match (format, form) {
        (Format::F32, Form::Forward) => ["forward_f32_128", "forward_f32_64"],
        (Format::F32, Form::Input) => ["input_f32_128", "input_f32_64"],
        (Format::F32, Form::Weights) => ["weights_f32_128", "weights_f32_64"],
        (Format::Bf16, Form::Forward) => ["forward_bf16_128", "forward_bf16_64"],
        (Format::Bf16, Form::Input) => ["input_bf16_128", "input_bf16_64"],
        (Format::Bf16, Form::Weights) => ["weights_bf16_128", "weights_bf16_64"],
    };
    let shapes = [(large, 256, (128, 128), 2), (small, 64, (64, 64), 5)];
    let variant = |(kernel, threads, tile, resident)| Variant {
        source: "gemm_portable",
        kernel,
        threads,
        shared_bytes: 0,
        tile,
        resident,
        hopper: false,
        pace: 20 * resident,
    };
    shapes.map(variant).into()
}

/// Kernels with `mma.sync`, bf16 only.
fn tensor_cores(properties: &Properties, form: Form) -> Vec<Variant> {
    let kernels = match form {
        Form::Forward => ["mma_forward_128x128", "mma_forward_128x64", "mma_forward_64x64"],
        Form::Input => ["mma_input_128x128", "mma_input_128x64", "mma_input_64x64"],
        Form::Weights => ["mma_weights_128x128", "mma_weights_128x64", "mma_weights_64x64"],
    };
    let shapes = [((128, 128), 256, 2), ((128, 64), 128, 3), ((64, 64), 128, 4)];
    let variant = |(kernel, (tile, threads, resident)): (_, ((usize, usize), u32, usize))| {
        // A ring of four slices of depth 32 of both operands.
        let shared_bytes = (tile.0 + tile.1) * 32 * 2 * 4;
        let room = properties.shared_bytes as usize / (shared_bytes + 1024);
        let resident = resident.min(room).max(1);
        Variant { source: "gemm_mma", kernel, threads, shared_bytes, tile, resident, hopper: false, pace: 2 * resident }
    };
    kernels.into_iter().zip(shapes).map(variant).collect()
}

/// The kernel with `wgmma`, bf16 only.
fn hopper(form: Form) -> Variant {
    let kernel = match form {
        Form::Forward => "hopper_forward",
        Form::Input => "hopper_input",
        Form::Weights => "hopper_weights",
    };
    // Five slices of both operands, eight slabs of sums, two barriers a slice, and room to align.
    let shared_bytes = 5 * 2 * 128 * 64 * 2 + 8 * 16 * 72 * 4 + 5 * 2 * 8 + 1024;
    Variant { source: "gemm_hopper", kernel, threads: 384, shared_bytes, tile: (128, 128), resident: 1, hopper: true, pace: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(capability: (u32, u32)) -> Properties {
        Properties { name: "test".into(), capability, multiprocessors: 132, shared_bytes: 227 * 1024, memory_bytes: 1 << 37 }
    }

    fn kernel(capability: (u32, u32), format: Format, form: Form, shape: (usize, usize), depth: usize) -> &'static str {
        Plan::new(&device(capability), true, format, form, shape, depth).kernel
    }

    #[test]
    fn tiers() {
        let (shape, depth) = ((8192, 768), 768);
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Forward, shape, depth), "hopper_forward");
        assert_eq!(kernel((8, 0), Format::Bf16, Form::Forward, shape, depth), "mma_forward_128x128");
        assert_eq!(kernel((12, 0), Format::Bf16, Form::Forward, shape, depth), "mma_forward_128x128");
        assert_eq!(kernel((7, 5), Format::Bf16, Form::Forward, shape, depth), "forward_bf16_128");
        assert_eq!(kernel((9, 0), Format::F32, Form::Forward, shape, depth), "forward_f32_128");
        // Without a copy engine, and where rows are not multiples of 16 bytes.
        let plan = Plan::new(&device((9, 0)), false, Format::Bf16, Form::Forward, shape, depth);
        assert_eq!(plan.kernel, "mma_forward_128x128");
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Forward, shape, 767), "forward_bf16_128");
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Input, (8192, 767), 768), "input_bf16_128");
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Weights, (768, 767), 8192), "weights_bf16_128");
        // Few tokens.
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Forward, (2048, 768), 768), "hopper_forward");
        assert_eq!(kernel((9, 0), Format::Bf16, Form::Forward, (128, 768), 768), "mma_forward_64x64");
    }

    #[test]
    fn parts_cover_the_depth_once() {
        for capability in [(7, 5), (8, 0), (9, 0)] {
            for shape in [(8, 8), (384, 384), (768, 768), (768, 3072), (2304, 768)] {
                for depth in [1, 63, 64, 100, 127, 1000, 2048, 4097, 8192, 65536] {
                    for format in [Format::F32, Format::Bf16] {
                        let plan = Plan::new(&device(capability), true, format, Form::Weights, shape, depth);
                        assert!(plan.splits >= 1 && plan.blocks >= 1);
                        assert!(plan.splits * plan.length >= depth && (plan.splits - 1) * plan.length < depth, "{plan:?}");
                        assert!(plan.splits == 1 || plan.length.is_multiple_of(64), "{plan:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_great_depth_fills_the_device() {
        let plan = Plan::new(&device((8, 0)), false, Format::Bf16, Form::Weights, (768, 768), 65536);
        assert!(plan.blocks * plan.splits > 200, "{plan:?}");
        let plan = Plan::new(&device((9, 0)), true, Format::Bf16, Form::Weights, (768, 768), 65536);
        assert!((110..=132).contains(&(plan.blocks * plan.splits)), "{plan:?}");
    }
}
