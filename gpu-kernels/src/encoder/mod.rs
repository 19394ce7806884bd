//! The forward pass of a BERT encoder of any depth, width and number of heads, over packed tokens: sentences come one
//! behind the other, said by where each starts, and nothing is computed for padding.
//!
//! ```text
//!   x     = norm(word + position + type)                                        norm: mean 0, variance 1, scale, shift
//!   layer:  q, k, v = x·W + b        attention = softmax(q·kᵀ / √width of a head)·v, by sentence and head
//!           x = norm(x + attention·W + b)
//!           x = norm(x + gelu(x·W + b)·W + b)                                   gelu(x) = x·Φ(x), by the error function
//!   vector = mean of x over the sentence (or x of its first token), scaled to length 1 if asked
//! ```
//!
//! A pack of some 512 tokens is the work of one thread. Between two attentions everything is a matter of single rows, so
//! a pack passes in blocks of rows that stay in the second cache, through all five products of a layer:
//!
//! ```text
//!   attention of the pack ─► block ─► output ─► add, norm ─► up, gelu ─► down ─► add, norm ─► q, k, v of the next layer
//! ```
//!
//! Layout: weights lie in panels of 32 columns (`panels.rs`), rows of activations are padded with zeros to a multiple of
//! 32. A product is made of tiles of 12 rows and 32 columns whose sums stay in registers (`tiles.rs`).
//!
//! What holds: a vector depends on its own tokens alone. In `f32` it has the same bits in any pack, in any order, for any
//! number of threads, and on every path of every processor, as all sums have one order. In `Bf16` and `Int8` it has the
//! same bits in any pack, order and number of threads on one kind of processor: what has the instructions of one and not
//! of the other attends in other precisions.
//!
//! Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019); Hendrycks, Gimpel, "Gaussian
//! Error Linear Units" (2016); Ba, Kiros, Hinton, "Layer Normalization" (2016).

mod arithmetic;
mod attention;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_attention;
pub mod cuda;
mod encode;
mod full;
#[cfg(target_arch = "x86_64")]
mod int8;
mod lines;
mod math;
mod norm;
mod panels;
mod pass;
mod pool;
mod precision;
mod shape;
mod store;
mod tiles;
mod weights;

pub use encode::Encoder;
pub use precision::Precision;
pub use shape::{EncoderShape, Pooling};
pub use weights::{EmbeddingWeights, LayerWeights, LinearWeights, NormWeights};
