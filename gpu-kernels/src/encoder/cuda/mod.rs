//! The encoder on a device: bf16 weights and activations, f32 sums.
//!
//! ```text
//! ids ─► embed + norm ─► ( qkv product ─► attention ─► product ─► + norm ─► product, GELU ─► product ─► + norm ) × layers
//!                                                                                       ─► mean, length 1 ─► vectors
//! ```
//!
//! Tokens of all sequences lie one after another, without padding; `offsets` has the first token of each sequence, and at
//! the end their number. A pass has at most [`PASS_TOKENS`] tokens, so that activations stay in the device's cache; while
//! one runs, the tokens of the next are copied. A sequence's bits do not depend on the others.
//!
//! Source: J. Devlin et al., "BERT" (2018), with erf-GELU; N. Reimers, I. Gurevych, "Sentence-BERT" (2019).

mod forward;
mod weights;

pub use forward::{DeviceEncoder, PASS_TOKENS};
pub use weights::{EncoderConfig, EncoderWeights};

use crate::device::{Program, Source};

const NORM: Source = Source {
    path: "encoder/norm.cu",
    text: include_str!("../norm.cu"),
    kernels: &["encoder_embed", "encoder_add_norm", "encoder_pool"],
};
const PRODUCT: Source =
    Source { path: "encoder/product.cu", text: include_str!("../product.cu"), kernels: &["encoder_product"] };
const ATTENTION: Source =
    Source { path: "encoder/attention.cu", text: include_str!("../attention.cu"), kernels: &["encoder_attention"] };

fn norm(hidden: usize) -> Program {
    Program::new(NORM, &[("HIDDEN", hidden as u32)])
}

fn product(gelu: bool) -> Program {
    Program::new(PRODUCT, &[("GELU", u32::from(gelu))])
}

fn attention(head: usize) -> Program {
    Program::new(ATTENTION, &[("HEAD", head as u32)])
}

/// What the usual models need.
pub(crate) fn programs() -> Vec<Program> {
    let mut programs = vec![product(false), product(true), attention(32), attention(64)];
    programs.extend([384, 768, 1024].map(norm));
    programs
}
