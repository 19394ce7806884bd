//! Every way in which a folder can be no model we can use, and the one line that says so.

use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use tandem_kernels::encoder::Precision;
use tandem_text::model::{Model, ModelPrecision};

use crate::tiny::{Copy, Tensor, here};

/// What loading says when a key has another value.
fn set(file: &str, pointer: &str, value: Value) -> String {
    Copy::new().set(file, pointer, value).error()
}

#[test]
fn missing_folders_and_files() {
    let load = |path: &Path| Model::load(path, ModelPrecision::Auto).err().expect("no model").to_string();
    assert!(load(Path::new("/no/such/folder")).starts_with("/no/such/folder: No such file or directory"));
    assert!(load(&here().join("tiny.rs")).ends_with("tiny.rs: not a directory"));
    for file in ["config.json", "model.safetensors", "1_Pooling/config.json"] {
        let error = Copy::new().remove(file).error();
        assert!(error.starts_with(&format!("{file}: ")), "{error}");
    }
    let error = Copy::new().remove("tokenizer.json").remove("vocab.txt").error();
    assert_eq!(error, "tokenizer.json: no such file");
}

#[test]
fn files_that_are_no_json_or_lack_a_key() {
    for file in ["config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]
    {
        let cut = if file == "modules.json" { "[" } else { "{" };
        let error = Copy::new().write(file, cut).error();
        assert!(error.starts_with(&format!("{file}: EOF while parsing")), "{error}");
    }
    assert!(set("config.json", "/hidden_size", Value::Null).starts_with("config.json: missing field `hidden_size`"));
    assert!(set("config.json", "/hidden_size", json!(-1)).starts_with("config.json: invalid value: integer `-1`"));
    assert!(
        set("tokenizer.json", "/model/vocab", json!({"a": "b"})).starts_with("tokenizer.json: invalid type: string")
    );
    assert!(
        Copy::new().write("config.json", [0xFF]).error().starts_with("config.json: stream did not contain valid UTF-8")
    );
}

#[test]
fn other_architectures_activations_and_shapes() {
    let config = |pointer, value| set("config.json", pointer, value);
    assert_eq!(config("/model_type", json!("roberta")), "config.json: model_type is roberta, expected bert");
    let unnamed = Copy::new().set("config.json", "/model_type", Value::Null);
    assert!(unnamed.load().is_ok(), "the architecture says it");
    let error = unnamed.set("config.json", "/architectures", json!(["MPNetModel"])).error();
    assert_eq!(error, "config.json: architectures is MPNetModel, expected BertModel");
    assert_eq!(config("/hidden_act", json!("relu")), "config.json: hidden_act is relu, expected gelu");
    assert_eq!(config("/hidden_act", json!("gelu_new")), "config.json: hidden_act is gelu_new, expected gelu");
    let error = config("/position_embedding_type", json!("relative_key"));
    assert_eq!(error, "config.json: position_embedding_type is relative_key, expected absolute");
    assert_eq!(config("/is_decoder", json!(true)), "config.json: is_decoder is true, expected false");
    assert!(config("/num_attention_heads", json!(5)).ends_with("heads is 5, expected a number that divides hidden"));
    assert!(config("/num_hidden_layers", json!(0)).ends_with("layers is 0, expected 1 to 16 million"));
    let error = set("sentence_bert_config.json", "/max_seq_length", json!(41));
    let expected = "sentence_bert_config.json: max_seq_length is 41, expected 3 to the 40 positions of config.json";
    assert_eq!(error, expected);
    assert!(set("sentence_bert_config.json", "/max_seq_length", json!(2)).contains("max_seq_length is 2"));
    let cased = Copy::new().set("tokenizer.json", "/normalizer/lowercase", json!(false));
    let error = cased.set("sentence_bert_config.json", "/do_lower_case", json!(true)).error();
    assert!(error.starts_with("sentence_bert_config.json: do_lower_case is true, expected false, or a tokenizer"));
}

#[test]
fn other_modules_and_poolings() {
    let modules = |pointer, value| set("modules.json", pointer, value);
    let order = "expected Transformer, Pooling and perhaps Normalize, in this order";
    let error = modules("/2/type", json!("sentence_transformers.models.Dense"));
    assert_eq!(error, format!("modules.json: type of module 2 is sentence_transformers.models.Dense, {order}"));
    assert!(modules("/1/type", json!("models.Normalize")).contains("type of module 1 is models.Normalize"));
    assert!(Copy::new().write("modules.json", "[]").error().starts_with("modules.json: the list of modules is 0"));
    for path in ["../1_Pooling", "/etc", "a/b", "", "..", "a\\b"] {
        let error = modules("/1/path", json!(path));
        let folder = "expected the name of a folder: letters, digits, - and _";
        assert_eq!(error, format!("modules.json: path of module 1 is {path}, {folder}"));
    }
    let pooling = |key: &str, value| set("1_Pooling/config.json", key, value);
    let error = pooling("/pooling_mode_max_tokens", json!(true));
    let both = "pooling_mode_mean_tokens and pooling_mode_max_tokens";
    assert_eq!(error, format!("1_Pooling/config.json: pooling_mode is {both}, expected mean or cls, one of them"));
    assert!(pooling("/pooling_mode_mean_tokens", json!(false)).contains("pooling_mode is , expected mean or cls"));
    let error = pooling("/word_embedding_dimension", json!(33));
    let expected = "1_Pooling/config.json: word_embedding_dimension is 33, expected 32, the hidden_size";
    assert_eq!(error, expected);
}

#[test]
fn other_tokenizers() {
    let tokenizer = |pointer, value| set("tokenizer.json", pointer, value);
    assert_eq!(tokenizer("/model/type", json!("BPE")), "tokenizer.json: model.type is BPE, expected WordPiece");
    let error = tokenizer("/normalizer", json!({"type": "NFC"}));
    assert_eq!(error, "tokenizer.json: normalizer.type is NFC, expected BertNormalizer");
    assert!(tokenizer("/normalizer", Value::Null).contains("normalizer.type is null"));
    assert!(tokenizer("/pre_tokenizer/type", json!("Metaspace")).contains("pre_tokenizer.type is Metaspace"));
    assert!(tokenizer("/post_processor/type", json!("RobertaProcessing")).contains("post_processor.type is Roberta"));
    let error = tokenizer("/post_processor/single/2/SpecialToken/id", json!("[PAD]"));
    assert_eq!(error, "tokenizer.json: post_processor.single is [CLS] text [PAD], expected [CLS] text [SEP]");
    let error = tokenizer("/added_tokens/4/lstrip", json!(true));
    assert!(error.starts_with("tokenizer.json: added_tokens is [MASK], expected a token without"), "{error}");
}

#[test]
fn vocabularies_without_a_token_or_of_another_size() {
    for token in ["[CLS]", "[SEP]", "[UNK]"] {
        let text = String::from_utf8(Copy::new().bytes("vocab.txt")).expect("text").replace(token, "[other]");
        let copy = Copy::new().remove("tokenizer.json").write("vocab.txt", text);
        assert_eq!(copy.error(), format!("vocab.txt: token {token} is missing"));
    }
    let error = set("tokenizer.json", "/model/unk_token", json!("<unk>"));
    assert_eq!(error, "tokenizer.json: token <unk> is missing");
    let mut text = Copy::new().bytes("vocab.txt");
    let tokens = text.iter().filter(|byte| **byte == b'\n').count();
    text.extend(b"more\n");
    let error = Copy::new().remove("tokenizer.json").write("vocab.txt", text).error();
    let expected = format!("{}, as many as the tokenizer has", tokens + 1);
    assert_eq!(error, format!("config.json: vocab_size is {tokens}, expected {expected}"));
}

#[test]
fn weights_that_are_cut_or_described_wrongly() {
    let good = Copy::new().bytes("model.safetensors");
    let with = |bytes: &[u8]| Copy::new().write("model.safetensors", bytes).error();
    let length = good.len();
    let error = with(&good[..length - 100]);
    assert_eq!(error, format!("model.safetensors: has {} bytes, but its header describes {length}", length - 100));
    assert!(with(&[&good[..], &[0]].concat()).contains("bytes, but its header describes"));
    assert_eq!(with(&good[..5]), "model.safetensors: has 5 bytes, but its header describes 8");
    assert!(with(&good[..300]).starts_with("model.safetensors: has 300 bytes, but its header describes"));
    assert_eq!(with(&[0xFF; 64]), "model.safetensors: no safetensors file: the header is too long");
    let garbage = [&good[..8], &vec![b'x'; length - 8][..]].concat();
    assert!(with(&garbage).starts_with("model.safetensors: expected value at line 1"));
    // A header whose tensors overlap, one whose numbers do not fit the shape.
    for (from, to) in [("\"data_offsets\":[0,", "\"data_offsets\":[4,"), ("\"shape\":[32]", "\"shape\":[31]")] {
        let end = 8 + u64::from_le_bytes(good[..8].try_into().expect("eight")) as usize;
        let header = String::from_utf8(good[8..end].to_vec()).expect("a header").replacen(from, to, 1);
        let error = with(&[&good[..8], header.as_bytes(), &good[end..]].concat());
        assert!(error.starts_with("model.safetensors: "), "{error}");
    }
}

#[test]
fn tensors_that_are_missing_or_wrong() {
    let name = "encoder.layer.1.attention.self.key.weight";
    let changed = |change: &dyn Fn(Tensor) -> Option<Tensor>| {
        Copy::new().tensors(|tensor| if tensor.name == name { change(tensor) } else { Some(tensor) }).error()
    };
    assert_eq!(changed(&|_| None), format!("model.safetensors: tensor {name} is missing"));
    let error = changed(&|tensor| Some(Tensor { shape: vec![16, 64], ..tensor }));
    let shapes = "has shape [16, 64], expected [32, 32] by config.json";
    assert_eq!(error, format!("model.safetensors: tensor {name} {shapes}"));
    let error = changed(&|tensor| Some(Tensor { dtype: Dtype::I32, ..tensor }));
    assert_eq!(error, format!("model.safetensors: tensor {name} has type I32, expected F32, F16 or BF16"));
    for (bad, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let error = changed(&|tensor| {
            let mut floats = tensor.floats();
            floats[77] = bad;
            Some(tensor.with(&floats))
        });
        let expected = format!("value 77 of tensor {name} is {shown}, expected a finite number");
        assert_eq!(error, format!("model.safetensors: {expected}"));
    }
    let error = set("config.json", "/num_hidden_layers", json!(3));
    assert_eq!(error, "model.safetensors: tensor encoder.layer.2.attention.self.query.weight is missing");
    let error = set("config.json", "/max_position_embeddings", json!(1_u64 << 40));
    assert!(error.contains("embeddings.position_embeddings.weight has shape [40, 32], expected [1099511627776, 32]"));
}

#[test]
fn precisions_that_the_processor_lacks() {
    for precision in [Precision::Bf16, Precision::Int8] {
        let load = Model::load(&here().join("tiny_model"), ModelPrecision::Only(precision));
        match (precision.missing(), load) {
            (None, load) => assert_eq!(load.expect("a model").precision(), precision),
            (Some(missing), load) => {
                let error = load.err().expect("an error").to_string();
                let expected = format!("precision {precision} needs {missing}, which this processor lacks");
                assert!(error.ends_with(&expected), "{error}");
            }
        }
    }
}
