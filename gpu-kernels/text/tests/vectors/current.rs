//! Whether a model is still that of its folder.

use std::fs;

use crate::tiny::Copy;

/// Puts another file in the place of `file`, with the same content.
fn replace(copy: &Copy, file: &str) {
    fs::write(copy.path("other"), copy.bytes(file)).expect("a file");
    fs::rename(copy.path("other"), copy.path(file)).expect("a file that is replaced");
}

#[test]
fn a_model_is_current_until_a_file_of_it_changes() {
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json"]
    {
        let copy = Copy::new();
        let model = copy.load().expect("a good model");
        assert!(model.is_current());
        fs::write(copy.path("README.md"), "about the model").expect("a file");
        assert!(model.is_current(), "what is not read does not count");
        replace(&copy, file);
        assert!(!model.is_current(), "{file} is another one");
        assert!(copy.load().expect("a good model").is_current());
    }
    let copy = Copy::new();
    let model = copy.load().expect("a good model");
    fs::write(copy.path("config.json"), [copy.bytes("config.json"), b"\n".to_vec()].concat()).expect("a file");
    assert!(!model.is_current(), "config.json is longer");
}

#[test]
fn a_file_that_was_missing_counts_too() {
    let copy = Copy::new().remove("sentence_bert_config.json");
    let model = copy.load().expect("a model without settings of its own");
    assert!(model.is_current());
    fs::write(copy.path("sentence_bert_config.json"), r#"{"max_seq_length": 8}"#).expect("a file");
    assert!(!model.is_current());
    let model = copy.load().expect("a good model");
    assert!(model.is_current() && model.longest() == 8);
    assert!(!copy.remove("model.safetensors").path("model.safetensors").exists() && !model.is_current());
}
