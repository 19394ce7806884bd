//! Classifiers of articles, and their files.

use std::path::Path;

use tandem_text::FitError;
use tandem_text::classify::{
    Article, Basis, HeadRecipe, ModelFileError, Recipe, Scores, TOPICS, TextClassifier, ToneClassifier,
    TopicClassifier, VectorClassifier,
};
use tandem_text::logistic::{self, Inputs, LogisticOptions};
use tandem_text::vader::Tone;

use crate::corpus::{Random, TRAINING, corpus, dense};
use crate::threads;

fn trained() -> (TextClassifier, TextClassifier) {
    let corpus = &corpus()[..TRAINING];
    let texts: Vec<&str> = corpus.iter().map(|labelled| labelled.text.as_str()).collect();
    let topics: Vec<&str> = corpus.iter().map(|labelled| labelled.topic.as_str()).collect();
    let tones: Vec<&str> = corpus.iter().map(|labelled| labelled.tone.as_str()).collect();
    let topics = Recipe::topics().train(&texts, &topics, "topics 1", threads(1)).expect("good texts");
    (topics, Recipe::tones().train(&texts, &tones, "tones 1", threads(1)).expect("good texts"))
}

#[test]
fn articles_get_topics_and_tones_and_what_they_rest_on() {
    let (topics, tones) = trained();
    let topics = TopicClassifier::new(topics);
    let articles = [
        Article { title: "Election", content: "the parliament passed a law" },
        Article { title: "", content: "the parliament passed a law" },
        Article { title: "Election", content: " \n" },
        Article { title: "qqq", content: "qqq" },
    ];
    for number in [1, 3] {
        let found = topics.topics(&articles, threads(number));
        assert_eq!((found[0].label, found[0].basis), ("Politics", Basis::Words));
        assert!(found[0].probability.is_some_and(|probability| (0.5..=1.0).contains(&probability)), "{found:?}");
        for empty in &found[1..3] {
            assert_eq!((empty.label, empty.probability, empty.basis), ("World", None, Basis::Empty));
        }
        assert_eq!(found[3].basis, Basis::NoKnownWord);
        assert!(TOPICS.contains(&found[3].label));
    }
    assert_eq!((topics.model().method(), topics.model().version()), ("tfidf+naive-bayes", "topics 1"));

    let contents = ["a great success", "", "the worst crisis, terrible failure", "qqq"];
    let model = ToneClassifier::trained(tones.clone(), Scores::Found).expect("labels are tones");
    let found = model.tones(&contents, threads(2));
    let names: Vec<_> = found.iter().map(|found| (found.tone, found.basis)).collect();
    assert_eq!(
        names[..3],
        [(Tone::Positive, Basis::Words), (Tone::Neutral, Basis::Empty), (Tone::Negative, Basis::Words)]
    );
    assert_eq!((names[3].1, found[1].score), (Basis::NoKnownWord, 0.5));
    assert!(found.iter().all(|found| (1.0 / 3.0..=1.0).contains(&found.score) && found.vader.is_none()), "{found:?}");
    let old = ToneClassifier::trained(tones, Scores::Compatible).expect("labels are tones");
    let scores: Vec<f32> = old.tones(&contents, threads(1)).iter().map(|found| found.score).collect();
    assert_eq!(scores, [0.98, 0.5, 0.98, 0.98]);

    let vader = ToneClassifier::vader(Scores::Found);
    let found = vader.tones(&contents, threads(2));
    assert_eq!(
        found.iter().map(|found| found.tone).collect::<Vec<_>>(),
        [Tone::Positive, Tone::Neutral, Tone::Negative, Tone::Neutral]
    );
    let compound = |at: usize| found[at].vader.map(|scores| scores.compound as f32);
    assert!(compound(0) == Some(found[0].score) && compound(2) == Some(-found[2].score), "{found:?}");
    assert_eq!((found[1].score, compound(1)), (0.5, None));
    assert_eq!((found[3].score, compound(3)), (1.0, Some(0.0)));
    let old = ToneClassifier::vader(Scores::Compatible).tones(&contents, threads(1));
    assert_eq!(old.iter().map(|found| found.score).collect::<Vec<_>>(), [0.98, 0.5, 0.98, 0.98]);
    assert_eq!(old[0].vader, found[0].vader);
    assert_eq!((vader.method(), vader.version(), found[3].basis), ("vader", "3.3.2", Basis::NoKnownWord));
}

#[test]
fn other_labels_are_no_tones_and_one_label_is_no_model() {
    let (topics, _) = trained();
    let error = ToneClassifier::trained(topics, Scores::Found).expect_err("topics are no tones");
    assert!(error.to_string().starts_with("label \"business\" of the model is no tone"), "{error}");
    for recipe in [Recipe::topics(), Recipe::tones()] {
        let error = recipe.train(&["some words", "some words"], &["a", "a"], "1", threads(1)).expect_err("one label");
        assert_eq!(error, FitError::TooFewClasses { labels: vec!["a".to_owned()] });
        assert!(recipe.train(&[] as &[&str], &[] as &[&str], "1", threads(1)).is_err());
    }
    let head = HeadRecipe::Logistic(LogisticOptions { max_iterations: 1, ..LogisticOptions::default() });
    let recipe = Recipe { head, ..Recipe::tones() };
    let texts = ["some words", "some other", "other words", "some words"];
    let error = recipe.train(&texts, &["a", "b", "b", "a"], "1", threads(1)).expect_err("one iteration");
    assert!(matches!(error, FitError::NotConverged { iterations: 1, .. }), "{error}");
}

#[test]
fn predictions_do_not_depend_on_threads_or_neighbours() {
    let (topics, tones) = trained();
    let texts: Vec<String> = corpus().into_iter().map(|labelled| labelled.text).collect();
    for model in [topics, tones] {
        let together = model.predict(&texts, threads(1));
        assert_eq!(model.predict(&texts, threads(4)), together);
        let alone: Vec<_> = texts.iter().take(300).map(|text| model.predict(&[text], threads(1))[0]).collect();
        assert_eq!(together[..300], alone);
        assert_eq!(model.predict(&[] as &[&str], threads(2)), []);
    }
}

#[test]
fn files_hold_the_same_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let (topics, tones) = trained();
    for model in [topics, tones] {
        model.save(&path).expect("a writable folder");
        let first = std::fs::read(&path).expect("a file");
        let loaded = TextClassifier::load(&path).expect("a good file");
        assert_eq!(loaded, model);
        loaded.save(&path).expect("a writable folder");
        assert_eq!(std::fs::read(&path).expect("a file"), first, "the same model gives the same bytes");
        assert!(VectorClassifier::load(&path).is_err());
    }
    let (values, labels) = dense(4);
    let inputs = Inputs::Dense { values: &values, width: 12 };
    let head = logistic::train(inputs, &labels, &LogisticOptions::default(), threads(1)).expect("good rows").model;
    let model = VectorClassifier { head, embedding_model: "mini 1".to_owned(), version: "7".to_owned() };
    model.save(&path).expect("a writable folder");
    assert_eq!(VectorClassifier::load(&path).expect("a good file"), model);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");

    let error = model.save(&folder.path().join("no/folder")).expect_err("no folder");
    assert!(matches!(error, ModelFileError::Write { .. }));
    let error = TextClassifier::load(&path).expect_err("another method").to_string();
    assert!(error.contains("model.safetensors: method: it is \"vectors+logistic\", expected"), "{error}");
}

/// The error of a file of these bytes.
fn refuse(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).expect("a writable folder");
    TextClassifier::load(path).expect_err("not a good file").to_string()
}

#[test]
fn files_that_are_no_models_are_refused_by_name_and_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    assert!(matches!(TextClassifier::load(&path), Err(ModelFileError::Read { .. })));
    let texts = ["cat dog", "dog cow", "cow cat", "cat cow dog"];
    let small = Recipe { stop_words: vec!["the".to_owned()], ..Recipe::topics() };
    let model = small.train(&texts, &["a", "b", "a", "b"], "1", threads(1)).expect("good texts");
    model.save(&path).expect("a writable folder");
    let good = std::fs::read(&path).expect("a file");
    let read = safetensors::SafeTensors::deserialize(&good).expect("the form that others read");
    assert_eq!(read.tensor("idf").expect("weights of terms").dtype(), safetensors::Dtype::F64);
    let header = 8 + u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;

    assert!(refuse(&path, &[]).ends_with("model: header: the file has 0 bytes and ends before it"));
    assert!(refuse(&path, &good[..header - 1]).contains("ends before it"));
    assert!(refuse(&path, &[0xFF; 64]).contains("header: it is longer than"));
    assert!(refuse(&path, b"\x02\0\0\0\0\0\0\0[]").contains("model: header: "));
    // The same length, so that all else stays where it was.
    let changed = |from: &str, to: &str| {
        let text = std::str::from_utf8(&good[..header]).expect("text");
        assert!(text.contains(from), "{text}");
        assert_eq!(from.len(), to.len());
        [text.replacen(from, to, 1).as_bytes(), &good[header..]].concat()
    };
    for (from, to, says) in [
        ("tandem-text-1", "tandem-text-9", "format: it is \"tandem-text-9\", expected tandem-text-1"),
        ("\"format\"", "\"farmat\"", "format: it is missing"),
        ("1 to 2", "0 to 2", "words: fewest words of a term is 0"),
        ("1 to 2", "1 or 2", "words: it is not like"),
        ("\"idf\"", "\"odf\"", "idf: it is missing"),
        ("\"F64\"", "\"F32\"", "idf: its dtype is \"F32\""),
        ("\"lowercase\":\"true\"", "\"lowercase\":\"TRUE\"", "lowercase: it is \"TRUE\", expected true or false"),
        ("\"labels.ends\"", "\"labels.enbs\"", "labels.ends: it is missing"),
        ("\"shape\":[2]", "\"shape\":[9]", "are not its shape [9]"),
        ("\"data_offsets\":[0", "\"data_offsets\":[9", "are not its shape"),
    ] {
        let error = refuse(&path, &changed(from, to));
        assert!(error.contains("/model: ") && error.contains(says), "{error}");
    }
    // Any single byte of the data, and any end of the file: an error, or a model that answers without a panic.
    let mut random = Random(5);
    for _ in 0..400 {
        let mut bytes = good.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        std::fs::write(&path, &bytes).expect("a writable folder");
        if let Ok(model) = TextClassifier::load(&path) {
            let found = model.predict(&texts, threads(1));
            assert!(found.iter().all(|found| found.probability.is_finite()), "{found:?}");
        }
    }
}
