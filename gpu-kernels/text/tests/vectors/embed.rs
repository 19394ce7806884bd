//! What holds of vectors whatever the texts, and models that differ from the usual one in what is allowed.

use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};
use tandem_kernels::encoder::Precision;
use tandem_text::model::{Model, ModelPrecision};

use crate::tiny::{Copy, Tensor, model};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn vector(model: &Model, text: &str) -> Option<Vec<u32>> {
    model.embed(&[text], 1).expect("a good text").vector(0).map(bits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_text_has_the_same_bits_in_any_company(
        texts in prop::collection::vec(prop_oneof!["[a-z ,.]{0,80}", "\\PC{0,40}", Just(" \t".to_owned())], 0..30),
        threads in 1_usize..5, chosen in any::<prop::sample::Index>(),
    ) {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            if precision.missing().is_some() {
                continue;
            }
            let model = model(precision);
            let embeddings = model.embed(&texts, threads).expect("good texts");
            prop_assert_eq!(embeddings.len(), texts.len());
            if texts.is_empty() {
                prop_assert!(embeddings.is_empty() && embeddings.vectors().is_empty());
                continue;
            }
            let at = chosen.index(texts.len());
            prop_assert_eq!(embeddings.vector(at).map(bits), vector(&model, &texts[at]), "{}", texts[at]);
            let with_vectors: Vec<f32> =
                (0..texts.len()).filter_map(|at| embeddings.vector(at)).flatten().copied().collect();
            prop_assert_eq!(bits(&with_vectors), bits(embeddings.vectors()));
        }
    }
}

#[test]
fn more_texts_than_a_window_keep_their_order() {
    let model = model(Precision::F32);
    let texts: Vec<String> = (0..9000).map(|at| format!("the {at} of {}", at % 7)).collect();
    let embeddings = model.embed(&texts, 2).expect("good texts");
    for at in [0, 1, 8191, 8192, 8999] {
        assert_eq!(embeddings.vector(at).map(bits), vector(&model, &texts[at]), "{at}");
    }
}

#[test]
fn empty_texts_have_no_vector_and_no_other_text_is_moved() {
    let model = model(Precision::F32);
    let texts = ["", "the news", " \t\n\u{3000}", "\u{200b}\0", "a report"];
    let embeddings = model.embed(&texts, 1).expect("texts");
    let has: Vec<bool> = (0..texts.len()).map(|at| embeddings.vector(at).is_some()).collect();
    assert_eq!(has, [false, true, false, false, true]);
    assert_eq!((embeddings.tokens_of(0), embeddings.tokens_of(1), embeddings.tokens()), (0, 4, 8));
    for at in [1, 4] {
        assert_eq!(embeddings.vector(at).map(bits), vector(&model, texts[at]));
    }
    assert!(model.embed(&texts, 0).is_err() && model.embed::<&str>(&[], 0).is_err());
    assert_eq!(model.embed::<&str>(&[], 1).expect("no texts").len(), 0);
}

#[test]
fn a_long_text_is_cut_and_what_is_behind_does_not_count() {
    let model = model(Precision::F32);
    let (fits, longer) = ("a ".repeat(22), "a ".repeat(22) + "news");
    let embeddings = model.embed(&[&fits, &longer], 1).expect("texts");
    assert_eq!([embeddings.was_cut(0), embeddings.was_cut(1)], [false, true]);
    assert_eq!([embeddings.tokens_of(0), embeddings.tokens_of(1)], [24, 24]);
    assert_eq!(embeddings.vector(0), embeddings.vector(1));
}

#[test]
fn pooling_and_normalising_are_as_the_files_say() {
    let text = "the market report";
    let as_written = model(Precision::F32).embed(&[text], 1).expect("a text");
    let length = |vector: &[f32]| vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((length(as_written.vectors()) - 1.0).abs() < 1e-6);

    let modules =
        json!([{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "b.Pooling"}]).to_string();
    let plain = Copy::new().write("modules.json", modules).load().expect("a model");
    let plain = plain.embed(&[text], 1).expect("a text");
    let scale = length(plain.vectors());
    assert!((scale - 1.0).abs() > 0.01, "{scale}");
    let close = |(plain, written): (&f32, &f32)| (f64::from(*plain) / scale - f64::from(*written)).abs() < 1e-6;
    assert!(plain.vectors().iter().zip(as_written.vectors()).all(close));

    let without = Copy::new().remove("modules.json").load().expect("a model").embed(&[text], 1).expect("a text");
    assert_eq!(without, plain);
    let pooling = |keys: Value| {
        let copy = Copy::new().write("1_Pooling/config.json", keys.to_string());
        copy.load().expect("a model").embed(&[text], 1).expect("a text")
    };
    assert_eq!(pooling(json!({"pooling_mode": "mean", "embedding_dimension": 32})), as_written);
    let first = pooling(json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}));
    assert_ne!(first, as_written);
    assert_eq!(pooling(json!({"pooling_mode": "cls"})), first);
}

#[test]
fn names_may_have_a_prefix_and_numbers_may_be_halves() {
    let text = "a new vector, and one more";
    let plain = model(Precision::F32).embed(&[text], 1).expect("a text");
    let named = Copy::new().tensors(|tensor| Some(Tensor { name: format!("bert.{}", tensor.name), ..tensor }));
    assert_eq!(named.load().expect("a model").embed(&[text], 1).expect("a text"), plain);

    let half = |dtype: Dtype, round: fn(f32) -> u16| {
        let narrow = move |tensor: Tensor| {
            let data = tensor.floats().into_iter().flat_map(|value| round(value).to_le_bytes()).collect();
            Some(Tensor { dtype, data, ..tensor })
        };
        Copy::new().tensors(narrow).load().expect("a model").embed(&[text], 1).expect("a text")
    };
    let bf16 = half(Dtype::BF16, |value| (value.to_bits() >> 16) as u16);
    // Cuts what does not fit, which is enough for numbers from 2⁻¹⁴ to 2; smaller ones become 0.
    let f16 = half(Dtype::F16, |value| {
        let (bits, exponent) = (value.to_bits(), (value.to_bits() >> 23 & 0xFF) as i32 - 112);
        let sign = (bits >> 16) as u16 & 0x8000;
        if exponent <= 0 { sign } else { sign | (exponent << 10) as u16 | (bits >> 13 & 0x3FF) as u16 }
    });
    for (halves, error) in [(bf16, 0.1), (f16, 0.02)] {
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < error;
        assert!(halves.vectors().iter().zip(plain.vectors()).all(close), "{halves:?} and {plain:?}");
        assert_ne!(halves, plain);
    }
}

#[test]
fn optional_files_may_be_absent() {
    let copy = Copy::new().remove("sentence_bert_config.json").remove("tokenizer_config.json");
    assert_eq!(copy.load().expect("a model").longest(), 40, "as many as there are positions");
    let copy = Copy::new().remove("tokenizer.json").remove("tokenizer_config.json").remove("1_Pooling/config.json");
    assert_eq!(copy.remove("modules.json").load().expect("a model").longest(), 24);
}

#[test]
fn precisions_have_names_and_auto_takes_the_best() {
    for name in ["auto", "f32", "bf16", "int8"] {
        assert_eq!(name.parse::<ModelPrecision>().expect("a precision").to_string(), name);
    }
    let error = "fp16".parse::<ModelPrecision>().expect_err("none of ours").to_string();
    assert_eq!(error, "precision is fp16, expected auto, f32, bf16 or int8");
    let auto = Model::load(&crate::tiny::here().join("tiny_model"), ModelPrecision::Auto).expect("a model");
    assert_eq!(auto.precision(), Precision::best());
}
