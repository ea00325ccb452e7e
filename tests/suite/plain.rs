//! Plain runs that an error may be measured by: in bfloat16, where numbers have eight significant bits, and in f32 with sums
//! made in one chain.

mod attention;

use ndarray::{Array2, ArrayView2};
use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, InputGradient};
use stepsynth_core::reference::Reference;

type Tensor = Array2<f32>;
type Indices = Vec<i32>;

/// Plain linear layers with at most so many outputs are heads: their outputs are stored in f32.
pub(crate) const HEAD: usize = 16;

/// The reference in f32 with numbers rounded to bfloat16 where a fast backend in bfloat16 rounds them: the operands of
/// products and, where activations are stored in bfloat16, activations and their gradients. Sums, statistics, losses,
/// parameters and their gradients stay in f32.
pub(crate) struct Plain {
    products: Products,
    stores: bool,
    reference: Reference<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Products {
    /// The reference's, of operands rounded to bfloat16.
    OfBfloat16,
    /// Of f32, term after term as in the formula. The reference adds blocks of terms, which errs less over long sums.
    InOneChain,
}

/// Rounded to the eight significant bits of bfloat16, to nearest with ties to even; for numbers of its normal range.
pub(crate) fn to_bfloat16(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let place = 2.0_f64.powi(x.abs().log2().floor() as i32 - 7);
    (x / place).round_ties_even() * place
}

fn rounded(tensor: &Tensor) -> Tensor {
    tensor.mapv(|value| to_bfloat16(f64::from(value)) as f32)
}

/// `left right^T`, each sum in one chain.
fn chained(left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Tensor {
    let sum = |row, column| left.row(row).iter().zip(right.row(column)).fold(0.0, |sum, (a, b)| sum + a * b);
    Tensor::from_shape_fn((left.nrows(), right.nrows()), |(row, column)| sum(row, column))
}

impl Plain {
    /// Rounds the operands of products alone.
    pub(crate) fn multiplying() -> Self {
        Self { products: Products::OfBfloat16, stores: false, reference: Reference::new() }
    }

    /// Also rounds what is stored.
    pub(crate) fn storing() -> Self {
        Self { products: Products::OfBfloat16, stores: true, reference: Reference::new() }
    }

    /// Rounds nothing to bfloat16; products add their terms one after another.
    pub(crate) fn chaining() -> Self {
        Self { products: Products::InOneChain, stores: false, reference: Reference::new() }
    }

    fn store(&self, tensor: &mut Tensor) {
        if self.stores {
            *tensor = rounded(tensor);
        }
    }

    /// `d_b += sum_n d_y[n]`: what a backward pass does with `d_y` before it is rounded.
    fn add_rows(d_b: &mut Tensor, d_y: &Tensor) {
        *d_b += &d_y.sum_axis(ndarray::Axis(0)).insert_axis(ndarray::Axis(0));
    }
}

impl Backend for Plain {
    type Scalar = f32;
    type Tensor = Tensor;
    type Indices = Indices;

    fn name(&self) -> String {
        match self.products {
            Products::OfBfloat16 => "plain-bf16".into(),
            Products::InOneChain => "plain-chain".into(),
        }
    }

    fn empty(&self, rows: usize, columns: usize) -> Result<Tensor> {
        self.reference.empty(rows, columns)
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Tensor> {
        self.reference.zeros(rows, columns)
    }

    fn upload(&self, rows: usize, columns: usize, host: &[f32]) -> Result<Tensor> {
        self.reference.upload(rows, columns, host)
    }

    fn upload_indices(&self, host: &[i32]) -> Result<Indices> {
        self.reference.upload_indices(host)
    }

    fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        self.reference.download(tensor)
    }

    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        self.reference.shape(tensor)
    }

    fn clear(&self, tensor: &mut Tensor) -> Result<()> {
        self.reference.clear(tensor)
    }

    fn embed(
        &self,
        out: &mut Tensor,
        batch: &DeviceBatch<Indices>,
        word: &Tensor,
        position: &Tensor,
        token_type: Option<&Tensor>,
    ) -> Result<()> {
        self.reference.embed(out, batch, word, position, token_type)?;
        self.store(out);
        Ok(())
    }

    fn embed_backward(
        &self,
        d_word: &mut Tensor,
        d_position: &mut Tensor,
        d_token_type: Option<&mut Tensor>,
        d_out: &Tensor,
        batch: &DeviceBatch<Indices>,
    ) -> Result<()> {
        self.reference.embed_backward(d_word, d_position, d_token_type, d_out, batch)
    }

    fn linear(&self, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
        match self.products {
            Products::OfBfloat16 => self.reference.linear(y, &rounded(x), &rounded(w), b)?,
            Products::InOneChain => *y = chained(x.view(), w.view()) + b,
        }
        if y.ncols() > HEAD {
            self.store(y);
        }
        Ok(())
    }

    fn linear_backward(
        &self,
        mut d_x: Option<&mut Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        match self.products {
            Products::OfBfloat16 => {
                let (mut unused, [d_y, x, w]) = (d_b.clone(), [d_y, x, w].map(rounded));
                self.reference.linear_backward(d_x.as_deref_mut(), d_w, &mut unused, &d_y, &x, &w)?;
            }
            Products::InOneChain => {
                *d_w += &chained(d_y.t(), x.t());
                if let Some(d_x) = d_x.as_deref_mut() {
                    *d_x = chained(d_y.view(), w.t());
                }
            }
        }
        Self::add_rows(d_b, d_y);
        if let Some(d_x) = d_x {
            self.store(d_x);
        }
        Ok(())
    }

    fn linear_activation(
        &self,
        y: &mut Tensor,
        inner: Option<&mut Tensor>,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        kind: Activation,
    ) -> Result<()> {
        let mut unused = y.clone();
        let inner = inner.unwrap_or(&mut unused);
        if self.products == Products::InOneChain {
            self.linear(inner, x, w, b)?;
            return self.reference.activation(y, inner, kind);
        }
        self.reference.linear_activation(y, Some(inner), &rounded(x), &rounded(w), b, kind)?;
        self.store(y);
        self.store(inner);
        Ok(())
    }

    fn linear_residual(
        &self,
        y: &mut Tensor,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        dropout: Option<&Dropout>,
        residual: &Tensor,
    ) -> Result<()> {
        if self.products == Products::InOneChain {
            self.linear(y, x, w, b)?;
            if let Some(dropout) = dropout {
                self.reference.dropout(y, dropout)?;
            }
            return self.reference.add(y, residual);
        }
        self.reference.linear_residual(y, &rounded(x), &rounded(w), b, dropout, residual)?;
        self.store(y);
        Ok(())
    }

    fn linear_backward_into(
        &self,
        d_x: &mut Tensor,
        then: InputGradient<'_, Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        if self.products == Products::InOneChain {
            let mut product = d_x.clone();
            self.linear_backward(Some(&mut product), d_w, d_b, d_y, x, w)?;
            return match then {
                InputGradient::Plus(other) => {
                    *d_x = product + other;
                    Ok(())
                }
                InputGradient::Through { inner, kind } => self.reference.activation_backward(d_x, &product, inner, kind),
            };
        }
        let mut unused = d_b.clone();
        self.reference.linear_backward_into(d_x, then, d_w, &mut unused, &rounded(d_y), &rounded(x), &rounded(w))?;
        Self::add_rows(d_b, d_y);
        self.store(d_x);
        Ok(())
    }

    fn layer_norm(
        &self,
        y: &mut Tensor,
        stats: &mut Tensor,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        epsilon: f64,
    ) -> Result<()> {
        self.reference.layer_norm(y, stats, x, gamma, beta, epsilon)?;
        self.store(y);
        Ok(())
    }

    fn layer_norm_backward(
        &self,
        d_x: &mut Tensor,
        d_gamma: &mut Tensor,
        d_beta: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        stats: &Tensor,
        gamma: &Tensor,
    ) -> Result<()> {
        self.reference.layer_norm_backward(d_x, d_gamma, d_beta, d_y, x, stats, gamma)?;
        self.store(d_x);
        Ok(())
    }

    fn activation(&self, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        self.reference.activation(y, x, kind)?;
        self.store(y);
        Ok(())
    }

    fn activation_backward(&self, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        self.reference.activation_backward(d_x, d_y, x, kind)?;
        self.store(d_x);
        Ok(())
    }

    fn attention(
        &self,
        out: &mut Tensor,
        lse: &mut Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        self.reference.attention(out, lse, qkv, batch, heads, dropout)?;
        if self.stores {
            attention::forward(out, lse, qkv, &batch.host, heads, dropout);
        }
        self.store(out);
        Ok(())
    }

    fn attention_backward(
        &self,
        d_qkv: &mut Tensor,
        d_out: &Tensor,
        out: &Tensor,
        lse: &Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Indices>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        self.reference.attention_backward(d_qkv, d_out, out, lse, qkv, batch, heads, dropout)?;
        if self.stores {
            attention::backward(d_qkv, d_out, [out, lse, qkv], &batch.host, heads, dropout);
        }
        self.store(d_qkv);
        Ok(())
    }

    fn dropout(&self, y: &mut Tensor, dropout: &Dropout) -> Result<()> {
        self.reference.dropout(y, dropout)?;
        self.store(y);
        Ok(())
    }

    fn copy(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        self.reference.copy(y, x)?;
        self.store(y);
        Ok(())
    }

    fn add(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        self.reference.add(y, x)?;
        self.store(y);
        Ok(())
    }

    fn gather_rows(&self, out: &mut Tensor, x: &Tensor, rows: &Indices) -> Result<()> {
        self.reference.gather_rows(out, x, rows)
    }

    fn scatter_rows(&self, d_x: &mut Tensor, d_out: &Tensor, rows: &Indices) -> Result<()> {
        self.reference.scatter_rows(d_x, d_out, rows)
    }

    fn cross_entropy(&self, losses: &mut Tensor, d_logits: &mut Tensor, logits: &Tensor, labels: &Indices) -> Result<()> {
        self.reference.cross_entropy(losses, d_logits, logits, labels)
    }

    fn span_loss(
        &self,
        losses: &mut Tensor,
        d_logits: &mut Tensor,
        logits: &Tensor,
        batch: &DeviceBatch<Indices>,
        starts: &Indices,
        ends: &Indices,
    ) -> Result<()> {
        self.reference.span_loss(losses, d_logits, logits, batch, starts, ends)
    }

    fn sum_of_squares(&self, tensors: &[Tensor]) -> Result<f64> {
        self.reference.sum_of_squares(tensors)
    }

    fn adamw(&self, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
        self.reference.adamw(slots, step)
    }
}
