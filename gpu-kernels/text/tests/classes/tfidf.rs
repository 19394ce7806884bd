//! Terms and their weights, for any texts.

use proptest::prelude::*;
use tandem_text::tfidf::{Analyzer, Frequency, TermCounts, TfidfOptions};
use tandem_text::{FitError, Row, SparseRows};

use crate::corpus::{Random, corpus};
use crate::threads;

fn analyzer() -> Analyzer {
    Analyzer::new(1..=2, ["the"]).expect("a good range")
}

/// Texts with odd characters and common words in them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(
            prop_oneof!["the", "cat", "Cat", "a", "é\u{301}", "日本", "x_1", "İI", " ", "-"],
            0..12
        )
        .prop_map(|words| words.join(" ")),
        any::<String>(),
    ]
}

/// Terms as the rules read, one copy each.
fn plain_terms(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    let words: Vec<&str> = words.filter(|word| word.chars().count() >= 2 && *word != "the").collect();
    words.iter().map(|word| (*word).to_owned()).chain(words.windows(2).map(|pair| pair.join(" "))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_threads_and_the_order_of_merging_change_nothing(
        texts in proptest::collection::vec(text(), 0..40), cut in 0usize..40, number in 1usize..5,
        min_df in 1u64..3, max_features in proptest::option::of(1usize..20),
    ) {
        let options = TfidfOptions { min_df: Frequency::Texts(min_df), max_features, ..TfidfOptions::default() };
        let mut all = TermCounts::new(analyzer());
        all.add(&texts, threads(1));
        let (first, second) = texts.split_at(cut.min(texts.len()));
        let count = |texts: &[String]| {
            let mut counts = TermCounts::new(analyzer());
            counts.add(texts, threads(number));
            counts
        };
        for (one, other) in [(first, second), (second, first)] {
            let mut merged = count(one);
            let sent = TermCounts::from_bytes(&count(other).to_bytes()).expect("bytes of counts");
            merged.merge(&sent).expect("the same analyzer");
            let mut received = TermCounts::from_bytes(&count(one).to_bytes()).expect("bytes of counts");
            received.add(other, threads(number));
            prop_assert_eq!(received.finish(&options), all.finish(&options));
            prop_assert_eq!(merged.texts(), texts.len() as u64);
            prop_assert_eq!(merged.finish(&options), all.finish(&options));
        }
        if let Ok(model) = all.finish(&options) {
            let rows = model.transform(&texts, threads(number));
            prop_assert_eq!(&rows, &model.transform(&texts, threads(1)));
            for row in rows.iter() {
                let squares: f64 = row.values.iter().map(|value| value * value).sum();
                prop_assert!(row.values.is_empty() || (squares - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn terms_are_those_of_the_rules(text in "[a-cA-C é日_1.,THEthe\n-]{0,60}") {
        let mut counts = TermCounts::new(analyzer());
        counts.add(&[&text], threads(1));
        let mut expected = plain_terms(&text);
        expected.sort_unstable();
        let model = counts.finish(&TfidfOptions::default());
        if expected.is_empty() {
            prop_assert_eq!(model, Err(FitError::NoWords { documents: 1 }));
        } else {
            let model = model.expect("there are terms");
            let rows = model.transform(&[&text], threads(1));
            let times = |term: &str| expected.iter().filter(|other| *other == term).count() as f64;
            let norm = model.vocabulary().map(|term| times(term).powi(2)).sum::<f64>().sqrt();
            for (term, value) in model.vocabulary().zip(rows.row(0).values) {
                prop_assert!((value - times(term) / norm).abs() < 1e-12, "{}", term);
            }
            expected.dedup();
            prop_assert!(model.vocabulary().eq(expected.iter().map(String::as_str)));
        }
    }
}

#[test]
fn many_threads_count_as_one_does() {
    let texts: Vec<String> = corpus().into_iter().cycle().take(5000).map(|labelled| labelled.text).collect();
    let model = |number| {
        let mut counts = TermCounts::new(analyzer());
        counts.add(&texts, threads(number));
        counts.finish(&TfidfOptions::default()).expect("there are terms")
    };
    assert_eq!(model(1), model(4));
    assert_eq!(model(1).transform(&texts, threads(1)), model(2).transform(&texts, threads(3)));
}

#[test]
fn of_equally_frequent_terms_the_first_are_kept() {
    let mut counts = TermCounts::new(Analyzer::new(1..=1, []).expect("a good range"));
    counts.add(&["dd cc bb aa", "ee ee"], threads(1));
    let options = TfidfOptions { max_features: Some(3), ..TfidfOptions::default() };
    let model = counts.finish(&options).expect("there are terms");
    assert_eq!(model.vocabulary().collect::<Vec<_>>(), ["aa", "bb", "ee"]);
}

#[test]
fn what_is_wrong_is_said() {
    let finish = |texts: &[&str], change: fn(&mut TfidfOptions)| {
        let mut counts = TermCounts::new(analyzer());
        counts.add(texts, threads(1));
        let mut options = TfidfOptions::default();
        change(&mut options);
        counts.finish(&options).expect_err("nothing to make a model of").to_string()
    };
    assert_eq!(finish(&[], |_| ()), "there is no word in 0 texts");
    assert_eq!(finish(&["", "a the !"], |_| ()), "there is no word in 2 texts");
    let rare = |options: &mut TfidfOptions| options.min_df = Frequency::Texts(2);
    assert_eq!(finish(&["aa", "bb"], rare), "none of 2 terms is in at least 2 and at most 2 texts");
    let common = |options: &mut TfidfOptions| options.max_df = Frequency::Texts(0);
    assert_eq!(finish(&["aa"], common), "max_df is 0, expected 1 text or more");
    let share = |options: &mut TfidfOptions| options.min_df = Frequency::Share(f64::NAN);
    assert_eq!(finish(&["aa"], share), "min_df is NaN, expected a share from 0 to 1");
    let between = |options: &mut TfidfOptions| {
        (options.min_df, options.max_df) = (Frequency::Share(0.8), Frequency::Share(0.5));
    };
    assert_eq!(finish(&["aa", "aa"], between), "max_df is 1, expected no fewer texts than min_df");
    let none = |options: &mut TfidfOptions| options.max_features = Some(0);
    assert_eq!(finish(&["aa"], none), "max_features is 0, expected 1 or more");

    let mut counts = TermCounts::new(analyzer());
    let other = TermCounts::new(analyzer().with_case());
    assert_eq!(counts.merge(&other), Err(FitError::OtherAnalyzer));
}

#[test]
fn bytes_that_are_no_counts_are_refused() {
    let mut counts = TermCounts::new(analyzer());
    counts.add(&["some words", "more words"], threads(1));
    let good = counts.to_bytes();
    let refuse = |bytes: &[u8]| TermCounts::from_bytes(bytes).expect_err("no counts").to_string();
    assert!(refuse(&good[..7]).starts_with("header: "));
    // The last number says how often the last term is in texts; it is in one.
    let mut bytes = good.clone();
    let at = bytes.len() - 8;
    bytes[at..].copy_from_slice(&0_u64.to_le_bytes());
    assert_eq!(refuse(&bytes), "texts: term 4 is 0 times in 1 texts of 2");
    let mut random = Random(9);
    for _ in 0..2000 {
        let mut bytes = good.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
        if let Ok(mut read) = TermCounts::from_bytes(&bytes) {
            read.add(&["some words"], threads(1));
            let _ = read.merge(&counts);
            let _ = read.finish(&TfidfOptions::default());
        }
    }
}

#[test]
fn texts_without_known_words_have_empty_rows() {
    let mut counts = TermCounts::new(analyzer());
    counts.add(&["some words"], threads(1));
    let model = counts.finish(&TfidfOptions::default()).expect("there are terms");
    let rows = model.transform(&["", "other things", "words"], threads(1));
    let empty = Row { columns: &[], values: &[] };
    assert_eq!((rows.row(0), rows.row(1), rows.row(2).values), (empty, empty, &[1.0][..]));
    assert_eq!(model.transform(&[] as &[&str], threads(3)), SparseRows::new(3));
}
