//! What others make of the same files and texts.

use serde::Deserialize;
use serde_json::{Value, json};
use tandem_kernels::encoder::Precision;
use tandem_text::model::Model;

use crate::tiny::{Copy, here, model};

#[derive(Deserialize)]
struct Golden {
    text: String,
    ids: Vec<u32>,
    cut: bool,
    vector: Vec<f64>,
}

fn golden() -> Vec<Golden> {
    let file = std::fs::read_to_string(here().join("golden_vectors.json")).expect("golden vectors");
    serde_json::from_str(&file).expect("golden vectors")
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
    let length = |squares: f64| squares.sqrt();
    let of_a = length(a.iter().map(|a| f64::from(*a).powi(2)).sum());
    dot / of_a / length(b.iter().map(|b| b * b).sum())
}

#[test]
fn vectors_are_those_of_numpy() {
    let golden = golden();
    let texts: Vec<&str> = golden.iter().map(|golden| golden.text.as_str()).collect();
    for (precision, least) in [(Precision::F32, 0.999_999_9), (Precision::Bf16, 0.999), (Precision::Int8, 0.99)] {
        if let Some(missing) = precision.missing() {
            println!("skipped: {precision} needs {missing}");
            continue;
        }
        let model = model(precision);
        let embeddings = model.embed(&texts, 2).expect("good texts");
        assert_eq!((embeddings.len(), embeddings.dimension()), (golden.len(), 32));
        for (at, golden) in golden.iter().enumerate() {
            let vector = embeddings.vector(at).expect("a text with tokens");
            let cosine = cosine(vector, &golden.vector);
            assert!(cosine > least, "{precision}, {}: {cosine}", golden.text);
            assert_eq!(embeddings.was_cut(at), golden.cut, "{}", golden.text);
            assert_eq!(embeddings.tokens_of(at), golden.ids.len());
            if precision == Precision::F32 {
                let close = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 1e-6;
                assert!(vector.iter().zip(&golden.vector).all(close), "{}", golden.text);
            }
        }
        assert_eq!(embeddings.tokens(), golden.iter().map(|golden| golden.ids.len()).sum::<usize>());
    }
}

#[test]
fn ids_are_those_of_tokenizers_and_padding_and_truncation_of_the_file_are_not_obeyed() {
    let model = model(Precision::F32);
    for golden in golden() {
        let mut ids = vec![99];
        let encoded = model.tokenizer().encode(&golden.text, model.longest(), &mut ids);
        assert_eq!(ids[1..], golden.ids, "{}", golden.text);
        assert_eq!((encoded.pieces + 2, encoded.cut), (golden.ids.len(), golden.cut));
    }
}

#[derive(Deserialize)]
struct Odd {
    texts: Vec<String>,
    golden: Vec<Setting>,
}

#[derive(Deserialize)]
struct Setting {
    settings: serde_json::Map<String, Value>,
    ids: Vec<Vec<u32>>,
}

fn check(model: &Model, texts: &[String], ids: &[Vec<u32>], settings: &str) {
    for (text, expected) in texts.iter().zip(ids) {
        let mut ids = Vec::new();
        let encoded = model.tokenizer().encode(text, 1000, &mut ids);
        assert_eq!(&ids, expected, "{text:?} with {settings}");
        assert!(!encoded.cut);
        for limit in [2, 3, 7] {
            let mut short = Vec::new();
            let cut = model.tokenizer().encode(text, limit, &mut short).cut;
            let kept = limit.min(expected.len());
            assert_eq!(short[..kept - 1], expected[..kept - 1], "{text:?} up to {limit}");
            assert_eq!((short.len(), short[kept - 1]), (kept, expected[expected.len() - 1]));
            assert_eq!(cut, expected.len() > limit);
        }
    }
}

#[test]
fn ids_of_odd_texts_are_those_of_tokenizers_for_all_settings() {
    let file = std::fs::read_to_string(here().join("golden_ids.json")).expect("golden ids");
    let odd: Odd = serde_json::from_str(&file).expect("golden ids");
    assert!(odd.golden[0].settings.is_empty(), "the first are the defaults");
    let by_vocabulary = Copy::new().remove("tokenizer.json").load().expect("a vocabulary is enough");
    check(&by_vocabulary, &odd.texts, &odd.golden[0].ids, "vocab.txt");
    for Setting { settings, ids } in odd.golden {
        let mut copy = Copy::new();
        for (key, value) in &settings {
            let key = format!("/normalizer/{key}");
            copy = copy.set("tokenizer.json", &key, value.clone());
        }
        check(&copy.load().expect("good settings"), &odd.texts, &ids, &json!(settings).to_string());
    }
}
