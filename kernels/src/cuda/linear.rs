//! `linear`, `linear_backward` and what is fused with them.

use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, Dropout, InputGradient, expect_shape};

use super::backend::Cuda;
use super::launch::Call;
use super::linear_plan::{Form, Plan};
use super::{Device, Format, Tensor, elementwise, linear_head as head};

const SUMS: &str = "gemm_sums";

/// What happens to a product before it is stored: `drop(f(x w^T + bias)) + residual`.
pub(super) struct Finish<'a> {
    pub(super) bias: &'a Tensor,
    pub(super) activation: Option<Activation>,
    pub(super) dropout: Option<&'a Dropout>,
    pub(super) residual: Option<&'a Tensor>,
}

impl Finish<'_> {
    fn is_plain(&self) -> bool {
        self.activation.is_none() && self.dropout.is_none() && self.residual.is_none()
    }
}

/// `ActivationKind` of `kernels/cu/activation.cuh`.
pub(super) fn activation_number(kind: Option<Activation>) -> usize {
    match kind {
        None => 0,
        Some(Activation::GeluErf) => 1,
        Some(Activation::GeluTanh) => 2,
        Some(Activation::Relu) => 3,
        Some(Activation::Tanh) => 4,
    }
}

/// `y = drop(f(x w^T + b)) + residual`; `inner`, if asked for, is the argument of `f`.
pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    y: &mut Tensor,
    inner: Option<&mut Tensor>,
    x: &Tensor,
    w: &Tensor,
    finish: &Finish<'_>,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    let rows = x.rows;
    expect_shape(op, "x", x.shape(), (rows, inputs))?;
    expect_shape(op, "b", finish.bias.shape(), (1, outputs))?;
    expect_shape(op, "y", y.shape(), (rows, outputs))?;
    if let Some(residual) = finish.residual {
        expect_shape(op, "residual", residual.shape(), (rows, outputs))?;
    }
    if let Some(inner) = &inner {
        expect_shape(op, "inner", inner.shape(), (rows, outputs))?;
    }
    let format = cuda.activations();
    if rows == 0 || outputs == 0 {
        return inner.into_iter().chain([y]).try_for_each(|empty| cuda.prepare(empty, format).map(drop));
    }
    cuda.expect_f32(op, &[w, finish.bias])?;
    if finish.is_plain() && outputs <= head::OUTPUTS {
        return head::forward(cuda, op, y, x, w, finish.bias);
    }
    let (x, w) = (operand(cuda, op, x)?, operand(cuda, op, w)?);
    let residual = finish.residual.map(|residual| operand(cuda, op, residual)).transpose()?;
    let plan = plan(cuda, Form::Forward, (rows, outputs), inputs);
    plan.operands(plan.call(cuda, op).output(y, format).maybe_output(inner, format), x, w)
        .input(finish.bias)
        .maybe_input(residual)
        .int(rows)
        .int(outputs)
        .int(inputs)
        .int(activation_number(finish.activation))
        .dropout(finish.dropout)
        .run()
}

/// `d_x = d_y w` with what `then` makes of it, `d_w += d_y^T x`, `d_b += sum_n d_y[n]`.
#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    d_x: Option<&mut Tensor>,
    then: Option<InputGradient<'_, Tensor>>,
    d_w: &mut Tensor,
    d_b: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
    w: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    let rows = x.rows;
    expect_shape(op, "x", x.shape(), (rows, inputs))?;
    expect_shape(op, "d_y", d_y.shape(), (rows, outputs))?;
    expect_shape(op, "d_w", d_w.shape(), (outputs, inputs))?;
    expect_shape(op, "d_b", d_b.shape(), (1, outputs))?;
    if let Some(d_x) = &d_x {
        expect_shape(op, "d_x", d_x.shape(), (rows, inputs))?;
    }
    let (other, kind) = match then {
        None => (None, None),
        Some(InputGradient::Plus(other)) => (Some(other), None),
        Some(InputGradient::Through { inner, kind }) => (Some(inner), Some(kind)),
    };
    if let Some(other) = other {
        let what = if kind.is_some() { "inner" } else { "other" };
        expect_shape(op, what, other.shape(), (rows, inputs))?;
    }
    let format = cuda.activations();
    if rows == 0 {
        return d_x.into_iter().try_for_each(|empty| cuda.prepare(empty, format).map(drop));
    }
    cuda.expect_f32(op, &[d_w, d_b, w])?;
    if outputs > 0 {
        bias_gradient(cuda, op, d_b, d_y)?;
    }
    if inputs == 0 {
        return d_x.into_iter().try_for_each(|empty| cuda.prepare(empty, format).map(drop));
    }
    let then = Then { other: other.map(|other| operand(cuda, op, other)).transpose()?, kind };
    let is_head = outputs <= head::OUTPUTS && d_y.format() == Some(Format::F32);
    let (x, d_y) = (operand(cuda, op, x)?, if is_head { d_y } else { operand(cuda, op, d_y)? });
    if let Some(d_x) = d_x {
        if is_head {
            head::input_gradient(cuda, op, d_x, &then, d_y, w)?;
        } else {
            input_gradient(cuda, op, d_x, &then, d_y, operand(cuda, op, w)?)?;
        }
    }
    match (outputs, is_head) {
        (0, _) => Ok(()),
        (_, true) => head::weight_gradient(cuda, op, d_w, d_y, x),
        (_, false) => weight_gradient(cuda, op, d_w, d_y, x),
    }
}

fn plan<D: Device>(cuda: &Cuda<D>, form: Form, shape: (usize, usize), depth: usize) -> Plan {
    let device = cuda.device();
    Plan::new(device.properties(), device.has_copy_engine(), cuda.activations(), form, shape, depth)
}

/// What becomes of `d_y w`: `+ other`, or `f'(other)` times it where there is an activation.
pub(super) struct Then<'a> {
    pub(super) other: Option<&'a Tensor>,
    pub(super) kind: Option<Activation>,
}

fn input_gradient<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    d_x: &mut Tensor,
    then: &Then<'_>,
    d_y: &Tensor,
    w: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    let format = cuda.activations();
    let plan = plan(cuda, Form::Input, (d_y.rows, inputs), outputs);
    plan.operands(plan.call(cuda, op).output(d_x, format), d_y, w)
        .maybe_input(then.other)
        .int(d_y.rows)
        .int(outputs)
        .int(inputs)
        .int(activation_number(then.kind))
        .run()
}

fn weight_gradient<D: Device>(cuda: &Cuda<D>, op: &'static str, d_w: &mut Tensor, d_y: &Tensor, x: &Tensor) -> Result<()> {
    let (rows, outputs, inputs) = (x.rows, d_y.columns, x.columns);
    let plan = plan(cuda, Form::Weights, (outputs, inputs), rows);
    let call = plan.call(cuda, op);
    let mut parts = Tensor::unwritten(plan.splits, outputs * inputs);
    let call = if plan.splits == 1 { call.update(d_w) } else { call.output(&mut parts, Format::F32) };
    plan.operands(call, d_y, x).int(rows).int(outputs).int(inputs).int(plan.length).run()?;
    if plan.splits == 1 { Ok(()) } else { add_parts(cuda, op, d_w, &parts) }
}

/// `d_b += sum_n d_y[n]`, from `d_y` as it came.
fn bias_gradient<D: Device>(cuda: &Cuda<D>, op: &'static str, d_b: &mut Tensor, d_y: &Tensor) -> Result<()> {
    let (rows, outputs) = d_y.shape();
    let kernel = match d_y.format() {
        Some(Format::Bf16) => "column_sums_bf16",
        _ => "column_sums_f32",
    };
    let groups = outputs.div_ceil(256);
    let (chunks, length) = cuda.chunks(rows, groups);
    let mut parts = Tensor::unwritten(chunks, outputs);
    Call::new(cuda, op, SUMS, kernel)
        .grid(groups, chunks, 1)
        .output(&mut parts, Format::F32)
        .input(d_y)
        .int(rows)
        .int(outputs)
        .int(length)
        .run()?;
    add_parts(cuda, op, d_b, &parts)
}

/// `to += ` the sum of the rows of `parts`.
pub(super) fn add_parts<D: Device>(cuda: &Cuda<D>, op: &'static str, to: &mut Tensor, parts: &Tensor) -> Result<()> {
    let (number, count) = parts.shape();
    // Many parts of few elements: eight warps share an element's parts.
    let ways = if number >= 16 { 8 } else { 1 };
    Call::new(cuda, op, SUMS, "add_parts")
        .grid(count.div_ceil(256 / ways), 1, 1)
        .update(to)
        .input(parts)
        .long(count)
        .int(number)
        .int(ways)
        .run()
}

/// A tensor in the format in which products take their operands.
fn operand<'a, D: Device>(cuda: &Cuda<D>, op: &'static str, tensor: &'a Tensor) -> Result<&'a Tensor> {
    match (cuda.activations(), cuda.format_of(op, tensor)?) {
        (Format::F32, Format::F32) | (Format::Bf16, Format::Bf16) => Ok(tensor),
        (Format::F32, Format::Bf16) => Err(cuda.fault(format!("{op}: an operand in bf16 in a backend of f32"))),
        (Format::Bf16, Format::F32) => tensor.rounded(|tensor| {
            let mut copy = Tensor::unwritten(tensor.rows, tensor.columns);
            elementwise::convert(cuda, op, &mut copy, Format::Bf16, tensor)?;
            Ok(copy)
        }),
    }
}

impl<D: Device> Cuda<D> {
    /// Number of chunks of rows and rows of each, for a sum over rows of which `groups` blocks share a chunk: enough blocks to
    /// fill the device, and at least 64 rows each.
    pub(super) fn chunks(&self, rows: usize, groups: usize) -> (usize, usize) {
        let blocks = 4 * self.device().properties().multiprocessors as usize;
        let chunks = (blocks / groups).clamp(1, rows.div_ceil(64)).min(128);
        let length = rows.div_ceil(chunks);
        (rows.div_ceil(length), length)
    }
}
