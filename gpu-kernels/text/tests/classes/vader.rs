//! Tones by rules.

use proptest::prelude::*;
use tandem_text::vader::{Tone, ToneScores, Vader};

use crate::corpus::fuzzed;
use crate::threads;

fn compound(texts: &[&str]) -> Vec<f64> {
    Vader::new().scores(texts, threads(1)).iter().map(|scores| scores.compound).collect()
}

#[test]
fn rules_change_scores_as_they_say() {
    let [plain, very, capitals, marked, not, kind_of, never_so, least] = compound(&[
        "The film was good",
        "The film was very good",
        "The film was GOOD",
        "The film was good!!",
        "The film was not good",
        "The film was kind of good",
        "The film was never so good",
        "The film was least good",
    ])[..] else {
        unreachable!("as many scores as texts")
    };
    assert!(plain < very && very < capitals && plain < marked && kind_of < plain && plain < never_so);
    assert!(not < 0.0 && least < 0.0);
    let [first, second] = compound(&["It was good but bad", "It was bad but good"])[..] else {
        unreachable!("as many scores as texts")
    };
    assert!(first < 0.0 && second > 0.0);
}

#[test]
fn tones_begin_at_a_twentieth() {
    let tone = |compound| ToneScores { compound, ..ToneScores::default() }.tone();
    assert_eq!(
        [0.05, 0.0499, 0.0, -0.0499, -0.05].map(tone),
        [Tone::Positive, Tone::Neutral, Tone::Neutral, Tone::Neutral, Tone::Negative]
    );
    // Clear is what is far from where another tone begins.
    let clarity = |compound| ToneScores { compound, ..ToneScores::default() }.clarity();
    assert_eq!([1.0, 0.05, 0.0, -0.05, -0.75].map(clarity), [1.0, 0.05, 1.0, 0.05, 0.75]);
    for tone in [Tone::Positive, Tone::Neutral, Tone::Negative] {
        assert_eq!(Tone::parse(tone.name()), Some(tone));
    }
    assert_eq!(Tone::parse("Positive"), None);
}

#[test]
fn texts_without_words_score_0() {
    let scores = Vader::new().scores(&["", " \n\t", "\u{3000}"], threads(2));
    assert_eq!(scores, [ToneScores::default(); 3]);
    assert_eq!(Vader::new().scores(&[] as &[&str], threads(2)), []);
}

#[test]
fn threads_change_nothing_and_long_texts_take_no_longer_than_they_are() {
    let texts = fuzzed();
    let vader = Vader::new();
    assert_eq!(vader.scores(&texts, threads(1)), vader.scores(&texts, threads(3)));
    // With work that grows by the square of the length, this would take minutes.
    let long = "good bad GREAT ".repeat(100_000) + "but nice";
    let scores = vader.scores(&[&long], threads(1))[0];
    assert!(scores.compound > 0.99, "{scores:?}");
}

proptest! {
    #[test]
    fn any_text_has_scores(text in any::<String>()) {
        let scores = Vader::new().scores(&[&text], threads(1))[0];
        prop_assert!((-1.0..=1.0).contains(&scores.compound));
        let sum = scores.positive + scores.neutral + scores.negative;
        prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 0.002, "{:?}", scores);
        prop_assert!((0.0..=1.0).contains(&scores.clarity()), "{:?}", scores);
    }
}
