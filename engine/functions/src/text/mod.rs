//! Functions over a column of texts: vectors by a user's own model, classes, tones. They keep all columns of their input and add
//! their own.

mod added;
mod classify;
mod device;
mod embed;
mod models;
mod train;

use crate::registry::BuiltIn;

/// The vector of each text.
pub(crate) const EMBED: BuiltIn = BuiltIn {
    name: "embed",
    about: "the vector of each text, by a model in a folder",
    whole: false,
    // Half a minute of one processor at most.
    batch_rows: Some(512),
    paths: &["model"],
    check: embed::check,
    plan: embed::plan,
    call: embed::call,
};

/// The class of each text.
pub(crate) const CLASSIFY: BuiltIn = BuiltIn {
    name: "classify",
    about: "the class of each text, by a trained model or by the rules of VADER",
    whole: false,
    batch_rows: None,
    paths: &["model"],
    check: classify::check,
    plan: classify::plan,
    call: classify::call,
};

/// A model of labelled texts.
pub(crate) const TRAIN_CLASSIFIER: BuiltIn = BuiltIn {
    name: "train-classifier",
    about: "a file with a model of labelled texts, for `classify`",
    whole: true,
    batch_rows: None,
    paths: &["model"],
    check: |_| Ok(()),
    plan: train::plan,
    call: train::call,
};
