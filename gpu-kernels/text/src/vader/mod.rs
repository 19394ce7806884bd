//! The tone of short texts by VADER: a lexicon of rated words, and rules for what stands around them.
//!
//!   text ─emoji as words─► words ─lexicon─► valence of each ─rules─► sum s, and + for !, ?
//!
//!   compound = s / √(s² + 15)       positive, neutral, negative: the shares of such words, by valence
//!
//! The rules, for a rated word, in the order they apply:
//! 1. "no" turns the two words behind it around (× -0.74), and the third if "or" or "nor" is before that; it is rated
//!    itself only where no rated word is behind it.
//! 2. A word in capitals, where not all words are, is stronger by 0.733.
//! 3. Each of the three words before it that is not rated itself, the nearest first: an adverb of degree adds or takes
//!    0.293 (× 0.95, × 0.9 with distance), "never so" strengthens (× 1.25), a negation turns around (× -0.74).
//! 4. Some phrases have a rating of their own.
//! 5. "least" before it turns around, except for "at least" and "very least".
//!
//! What stands before "but" counts half as much, what stands behind it half as much again.
//!
//! Source: Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM
//! 2014. Where the paper leaves something open, the answers are those of the package vaderSentiment 3.3.2, also where they
//! are hardly meant: of equal valences the first is weighed again when a later one meets "but". `data/vader.LICENSE` says
//! whose the lexicon is.

mod emphasis;
mod lexicon;
mod score;
mod valence;
mod words;

pub use score::{Tone, ToneScores, Vader};
