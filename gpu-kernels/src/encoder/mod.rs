//! A BERT sentence encoder: packed tokens in, one vector of length 1 for each sequence out.

pub mod cuda;
