//! Which items to recommend, and how good such lists are. Works on rows of any model whose score is a dot product:
//! those of [`crate::funk`] with their biases inside, and those of [`crate::ials`].

pub mod cuda;
mod metrics;
mod top_k;

pub use metrics::{RankingMetrics, evaluate, measure};
pub use top_k::{Scored, top_k};
