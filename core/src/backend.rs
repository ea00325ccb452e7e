//! The operations a device must offer, each with its formula, shapes and aliasing rule.
//!
//! The encoder, the heads and their backward passes are written once over [`Backend`]. A tensor is a dense row-major
//! matrix `(rows, columns)`; a vector of parameters is a matrix of one row. Outputs come first and are distinct from
//! every input (`&mut` enforces it). "Overwrites" means that old contents are ignored; "accumulates" means `+=`.
//! Every operation checks its shapes and returns [`Error::Shape`] naming the argument. Results do
//! not depend on the number of threads.
//!
//! Letters: `B` sequences, `N` packed tokens, `C` hidden size, `H` heads, `D = C / H`, `F` feed-forward size,
//! `V` vocabulary, `P` positions, `T` token types, `K` classes.

use crate::random::Stream;
use crate::{Batch, Error, Result};

/// A floating-point number of the host: `f32` for speed, `f64` for checks.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + std::iter::Sum + std::fmt::Debug + std::fmt::Display + Send + Sync + 'static
{
    /// From `f64`, rounding to nearest.
    fn of(value: f64) -> Self;
    /// To `f64`, exact.
    fn f64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn f64(self) -> f64 {
        self
    }
}

/// Elementwise non-linearities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x/2 (1 + erf(x / sqrt 2))`: Hugging Face's `"gelu"`.
    GeluErf,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: Hugging Face's `"gelu_new"` and `"gelu_pytorch_tanh"`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `tanh x`.
    Tanh,
}

/// Dropout of one site in one step.
///
/// Element `i` is kept iff `stream.word(i) >= threshold` with `threshold = round(p 2^32)`, and kept elements are scaled
/// by `1 / (1 - p)`. The mask is never stored: the backward pass recomputes it from the same value.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Words below this are dropped.
    pub threshold: u32,
    /// `1 / (1 - p)`.
    pub scale: f64,
    /// Where the mask comes from.
    pub stream: Stream,
}

impl Dropout {
    /// Dropout with probability `p`; `None` if `p` is zero, so that inference and `p = 0` take the same path.
    pub fn new(p: f64, stream: Stream) -> Option<Self> {
        (p > 0.0).then(|| Self {
            threshold: (p * 4_294_967_296.0).round().min(4_294_967_295.0) as u32,
            scale: 1.0 / (1.0 - p),
            stream,
        })
    }

    /// The factor of element `index`: 0 or `scale`.
    #[inline(always)]
    pub fn factor(&self, index: u64) -> f64 {
        if self.stream.word(index) >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Index of attention probability (query token `row`, head `head`, key position `key` within the sequence) in its dropout
/// stream. `row` counts packed tokens. Sequences are at most [`ATTENTION_DROPOUT_KEYS`] long.
#[inline(always)]
pub fn attention_dropout_index(row: usize, head: usize, heads: usize, key: usize) -> u64 {
    ((row * heads + head) * ATTENTION_DROPOUT_KEYS + key) as u64
}

/// Key positions reserved for each (token, head) by [`attention_dropout_index`].
pub const ATTENTION_DROPOUT_KEYS: usize = 8192;

/// Constants of one AdamW step (Loshchilov and Hutter 2019; the formula of `torch.optim.AdamW`).
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, applied to parameters whose `decay` flag is set.
    pub weight_decay: f64,
    /// Step number `t`, from 1.
    pub step: u64,
    /// Every gradient is multiplied by this first (global-norm clipping).
    pub gradient_scale: f64,
}

/// One parameter with its gradient and moments, as AdamW sees it. All four tensors have one shape.
pub struct AdamWSlot<'a, T> {
    /// The parameter, updated.
    pub parameter: &'a mut T,
    /// Its gradient, read.
    pub gradient: &'a T,
    /// First moment, updated.
    pub first: &'a mut T,
    /// Second moment, updated.
    pub second: &'a mut T,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// What a linear layer's `d_x = d_y w` is combined with. The tensors have the shape of `d_x`.
pub enum InputGradient<'a, T> {
    /// `d_x = d_y w + other`: the input has another use, whose gradient this is.
    Plus(&'a T),
    /// `d_x = (d_y w) f'(inner)`: the input was `f(inner)`, and the gradient of `inner` is wanted.
    Through {
        /// The argument of the activation.
        inner: &'a T,
        /// The activation `f`.
        kind: Activation,
    },
}

impl<T> Clone for InputGradient<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for InputGradient<'_, T> {}

/// A packed batch on the device, with the host's copy.
pub struct DeviceBatch<I> {
    /// Token ids, `N`.
    pub ids: I,
    /// Segments, `N`.
    pub token_types: I,
    /// Positions, `N`.
    pub positions: I,
    /// Sequence boundaries, `B + 1`.
    pub cu_seqlens: I,
    /// Row of each sequence's first token, `B`.
    pub first_rows: I,
    /// The same on the host.
    pub host: Batch,
}

/// Checks one argument's shape; every backend reports a mismatch this way.
///
/// # Errors
/// [`Error::Shape`] if `got` differs from `expected`.
pub fn expect_shape(op: &'static str, what: &'static str, got: (usize, usize), expected: (usize, usize)) -> Result<()> {
    if got == expected { Ok(()) } else { Err(Error::Shape { op, what, expected, got }) }
}

/// Checks that an index lies in `0..bound` and converts it.
///
/// # Errors
/// [`Error::Index`] otherwise.
pub fn expect_index(op: &'static str, what: &'static str, index: i32, bound: usize) -> Result<usize> {
    match usize::try_from(index) {
        Ok(value) if value < bound => Ok(value),
        _ => Err(Error::Index { op, what, index: i64::from(index), bound }),
    }
}

/// A device that can run the student.
pub trait Backend: Send + Sync {
    /// Number type of the host side.
    type Scalar: Real;
    /// A dense row-major matrix on the device.
    type Tensor: Send + Sync;
    /// A vector of `i32` on the device.
    type Indices: Send + Sync;

    /// Name for people and results, for example `reference-f64` or `cpu`.
    fn name(&self) -> String;

    /// A matrix whose contents are unspecified; dropping it gives the memory back.
    fn empty(&self, rows: usize, columns: usize) -> Result<Self::Tensor>;
    /// A matrix of zeros.
    fn zeros(&self, rows: usize, columns: usize) -> Result<Self::Tensor>;
    /// A matrix with the given row-major contents.
    fn upload(&self, rows: usize, columns: usize, host: &[Self::Scalar]) -> Result<Self::Tensor>;
    /// Indices with the given contents.
    fn upload_indices(&self, host: &[i32]) -> Result<Self::Indices>;
    /// Row-major contents.
    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<Self::Scalar>>;
    /// `(rows, columns)`.
    fn shape(&self, tensor: &Self::Tensor) -> (usize, usize);
    /// Sets every element to zero.
    fn clear(&self, tensor: &mut Self::Tensor) -> Result<()>;

    /// Token embedding: `out[n] = word[ids[n]] + position[positions[n]] (+ token_type[token_types[n]])`.
    ///
    /// Shapes: `out (N, C)`, `word (V, C)`, `position (P, C)`, `token_type (T, C)`. Overwrites `out`.
    fn embed(
        &self,
        out: &mut Self::Tensor,
        batch: &DeviceBatch<Self::Indices>,
        word: &Self::Tensor,
        position: &Self::Tensor,
        token_type: Option<&Self::Tensor>,
    ) -> Result<()>;

    /// Backward of [`embed`](Self::embed): `d_word[ids[n]] += d_out[n]`, likewise the other tables. Accumulates, in the
    /// order of `n`.
    fn embed_backward(
        &self,
        d_word: &mut Self::Tensor,
        d_position: &mut Self::Tensor,
        d_token_type: Option<&mut Self::Tensor>,
        d_out: &Self::Tensor,
        batch: &DeviceBatch<Self::Indices>,
    ) -> Result<()>;

    /// `y = x w^T + b`. Shapes: `y (N, O)`, `x (N, I)`, `w (O, I)`, `b (1, O)`. Overwrites `y`.
    fn linear(&self, y: &mut Self::Tensor, x: &Self::Tensor, w: &Self::Tensor, b: &Self::Tensor) -> Result<()>;

    /// Backward of [`linear`](Self::linear): `d_x = d_y w` (overwrites; skipped if `None`), `d_w += d_y^T x`,
    /// `d_b += sum_n d_y[n]` (accumulate).
    fn linear_backward(
        &self,
        d_x: Option<&mut Self::Tensor>,
        d_w: &mut Self::Tensor,
        d_b: &mut Self::Tensor,
        d_y: &Self::Tensor,
        x: &Self::Tensor,
        w: &Self::Tensor,
    ) -> Result<()>;

    /// [`linear`](Self::linear) and [`activation`](Self::activation): `inner = x w^T + b`, `y = f(inner)`.
    ///
    /// Shapes: `y, inner (N, O)`, `x (N, I)`, `w (O, I)`, `b (1, O)`. Overwrites `y` and `inner`, which only a backward pass
    /// needs.
    fn linear_activation(
        &self,
        y: &mut Self::Tensor,
        inner: Option<&mut Self::Tensor>,
        x: &Self::Tensor,
        w: &Self::Tensor,
        b: &Self::Tensor,
        kind: Activation,
    ) -> Result<()> {
        let (rows, columns) = self.shape(y);
        let mut temporary = None;
        let inner = match inner {
            Some(inner) => inner,
            None => temporary.insert(self.empty(rows, columns)?),
        };
        self.linear(inner, x, w, b)?;
        self.activation(y, inner, kind)
    }

    /// [`linear`](Self::linear) in a residual branch: `y = drop(x w^T + b) + residual`, with the mask of
    /// [`dropout`](Self::dropout).
    ///
    /// Shapes: `y, residual (N, O)`, `x (N, I)`, `w (O, I)`, `b (1, O)`. Overwrites `y`.
    fn linear_residual(
        &self,
        y: &mut Self::Tensor,
        x: &Self::Tensor,
        w: &Self::Tensor,
        b: &Self::Tensor,
        dropout: Option<&Dropout>,
        residual: &Self::Tensor,
    ) -> Result<()> {
        self.linear(y, x, w, b)?;
        if let Some(dropout) = dropout {
            self.dropout(y, dropout)?;
        }
        self.add(y, residual)
    }

    /// [`linear_backward`](Self::linear_backward) whose `d_x` is what `then` says; the same shapes and effects otherwise.
    #[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
    fn linear_backward_into(
        &self,
        d_x: &mut Self::Tensor,
        then: InputGradient<'_, Self::Tensor>,
        d_w: &mut Self::Tensor,
        d_b: &mut Self::Tensor,
        d_y: &Self::Tensor,
        x: &Self::Tensor,
        w: &Self::Tensor,
    ) -> Result<()> {
        match then {
            InputGradient::Plus(other) => {
                self.linear_backward(Some(d_x), d_w, d_b, d_y, x, w)?;
                self.add(d_x, other)
            }
            InputGradient::Through { inner, kind } => {
                let (rows, columns) = self.shape(d_x);
                let mut d_activated = self.empty(rows, columns)?;
                self.linear_backward(Some(&mut d_activated), d_w, d_b, d_y, x, w)?;
                self.activation_backward(d_x, &d_activated, inner, kind)
            }
        }
    }

    /// Layer normalisation over columns: `y = (x - mean) rstd gamma + beta`, `rstd = 1 / sqrt(var + epsilon)` with the
    /// biased variance, computed in two passes.
    ///
    /// Shapes: `y, x (N, C)`, `stats (N, 2)` receives `mean, rstd`, `gamma, beta (1, C)`. Overwrites `y` and `stats`.
    fn layer_norm(
        &self,
        y: &mut Self::Tensor,
        stats: &mut Self::Tensor,
        x: &Self::Tensor,
        gamma: &Self::Tensor,
        beta: &Self::Tensor,
        epsilon: f64,
    ) -> Result<()>;

    /// Backward of [`layer_norm`](Self::layer_norm). Overwrites `d_x`, accumulates `d_gamma` and `d_beta`.
    #[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
    fn layer_norm_backward(
        &self,
        d_x: &mut Self::Tensor,
        d_gamma: &mut Self::Tensor,
        d_beta: &mut Self::Tensor,
        d_y: &Self::Tensor,
        x: &Self::Tensor,
        stats: &Self::Tensor,
        gamma: &Self::Tensor,
    ) -> Result<()>;

    /// `y = f(x)` elementwise, any equal shapes. Overwrites `y`.
    fn activation(&self, y: &mut Self::Tensor, x: &Self::Tensor, kind: Activation) -> Result<()>;

    /// `d_x = d_y f'(x)` elementwise; `x` is the input of the forward pass. Overwrites `d_x`.
    fn activation_backward(&self, d_x: &mut Self::Tensor, d_y: &Self::Tensor, x: &Self::Tensor, kind: Activation) -> Result<()>;

    /// Multi-head self-attention within each sequence: for query row `n`, head `h` and the keys `m` of the same sequence,
    /// `out[n, h] = sum_m drop(softmax_m(q[n, h] . k[m, h] / sqrt D)) v[m, h]`.
    ///
    /// `qkv (N, 3C)` holds queries, keys and values side by side, each `H` heads of `D`; `out (N, C)`; `lse (N, H)`
    /// receives the logarithm of each softmax's denominator. Dropout acts on the probabilities with the index
    /// [`attention_dropout_index`]. Overwrites `out` and `lse`.
    fn attention(
        &self,
        out: &mut Self::Tensor,
        lse: &mut Self::Tensor,
        qkv: &Self::Tensor,
        batch: &DeviceBatch<Self::Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()>;

    /// Backward of [`attention`](Self::attention). Overwrites `d_qkv (N, 3C)`.
    #[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
    fn attention_backward(
        &self,
        d_qkv: &mut Self::Tensor,
        d_out: &Self::Tensor,
        out: &Self::Tensor,
        lse: &Self::Tensor,
        qkv: &Self::Tensor,
        batch: &DeviceBatch<Self::Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()>;

    /// `y[i] = x[i] factor(i)` in place, `i` counting row-major elements. It is its own backward pass.
    fn dropout(&self, y: &mut Self::Tensor, dropout: &Dropout) -> Result<()>;

    /// `y = x`, equal shapes. Overwrites `y`.
    fn copy(&self, y: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;

    /// `y += x`, equal shapes.
    fn add(&self, y: &mut Self::Tensor, x: &Self::Tensor) -> Result<()>;

    /// `out[b] = x[rows[b]]`. Shapes: `out (B, C)`, `x (N, C)`, `rows` of length `B`. Overwrites `out`.
    fn gather_rows(&self, out: &mut Self::Tensor, x: &Self::Tensor, rows: &Self::Indices) -> Result<()>;

    /// Backward of [`gather_rows`](Self::gather_rows): `d_x` is zero but for `d_x[rows[b]] = d_out[b]`. Overwrites `d_x`;
    /// `rows` are distinct.
    fn scatter_rows(&self, d_x: &mut Self::Tensor, d_out: &Self::Tensor, rows: &Self::Indices) -> Result<()>;

    /// Cross-entropy with gradient: `losses[b] = -log softmax(logits[b])[labels[b]]` and
    /// `d_logits = (softmax - onehot) / B`, the gradient of the mean loss.
    ///
    /// Shapes: `losses (B, 1)`, `d_logits, logits (B, K)`, `labels` of length `B`. Overwrites both outputs.
    fn cross_entropy(
        &self,
        losses: &mut Self::Tensor,
        d_logits: &mut Self::Tensor,
        logits: &Self::Tensor,
        labels: &Self::Indices,
    ) -> Result<()>;

    /// Span loss with gradient. Column 0 of `logits (N, 2)` scores starts, column 1 ends; each is a softmax over the rows
    /// of one sequence. `losses[b] = (CE(start) + CE(end)) / 2`; `d_logits (N, 2)` is the gradient of the mean over `B`.
    ///
    /// `starts` and `ends` (inclusive) count tokens from the beginning of their own sequence. Overwrites both outputs.
    fn span_loss(
        &self,
        losses: &mut Self::Tensor,
        d_logits: &mut Self::Tensor,
        logits: &Self::Tensor,
        batch: &DeviceBatch<Self::Indices>,
        starts: &Self::Indices,
        ends: &Self::Indices,
    ) -> Result<()>;

    /// Sum of squares over all elements of all tensors, for the global gradient norm.
    fn sum_of_squares(&self, tensors: &[Self::Tensor]) -> Result<f64>;

    /// One AdamW step on every slot, with `g = gradient_scale * gradient`:
    /// `p -= lr wd p` (where `decay`); `m = b1 m + (1 - b1) g`; `v = b2 v + (1 - b2) g^2`;
    /// `p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`.
    fn adamw(&self, slots: &mut [AdamWSlot<'_, Self::Tensor>], step: &AdamWStep) -> Result<()>;

    /// Uploads a packed batch.
    fn upload_batch(&self, batch: Batch) -> Result<DeviceBatch<Self::Indices>> {
        Ok(DeviceBatch {
            ids: self.upload_indices(&batch.ids)?,
            token_types: self.upload_indices(&batch.token_types)?,
            positions: self.upload_indices(&batch.positions)?,
            cu_seqlens: self.upload_indices(&batch.cu_seqlens)?,
            first_rows: self.upload_indices(&batch.cu_seqlens[..batch.sequences()])?,
            host: batch,
        })
    }
}
