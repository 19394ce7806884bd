//! Texts through the public interface, with a tiny model in the layout of Hugging Face that `tiny_model.py` has written.

mod columns;
mod current;
mod embed;
mod golden;
mod load_errors;
mod tiny;
