//! Scores of texts.

use std::num::NonZeroUsize;

use super::emphasis::{punctuation, weigh_but};
use super::lexicon::{Lexicon, Part};
use super::valence::Context;
use super::words::{Word, cut, spell_emoji};
use crate::claim::for_batches;

/// Texts that a thread scores before it claims more.
const BATCH: usize = 256;
/// From which compound score on a text is positive; the same below 0 for negative. The authors give this limit.
const LIMIT: f64 = 0.05;

/// What a text sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Bad news, anger.
    Negative,
    /// Neither.
    Neutral,
    /// Good news, joy.
    Positive,
}

impl Tone {
    /// As it is stored: `negative`, `neutral` or `positive`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }

    /// The tone of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Negative, Self::Neutral, Self::Positive].into_iter().find(|tone| tone.name() == name)
    }
}

/// The scores of one text; all 0 if it has no words.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ToneScores {
    /// From -1 to 1, to four decimals.
    pub compound: f64,
    /// Share of positive words, to three decimals, as the other two.
    pub positive: f64,
    /// Share of neutral words.
    pub neutral: f64,
    /// Share of negative words.
    pub negative: f64,
}

impl ToneScores {
    /// The tone by the compound score.
    pub fn tone(&self) -> Tone {
        match self.compound {
            compound if compound >= LIMIT => Tone::Positive,
            compound if compound <= -LIMIT => Tone::Negative,
            _ => Tone::Neutral,
        }
    }

    /// How clear the tone is, from 0 to 1: how far the compound score is from 0, and for a neutral text how near it is.
    pub fn clarity(&self) -> f64 {
        match self.tone() {
            Tone::Positive | Tone::Negative => self.compound.abs(),
            Tone::Neutral => 1.0 - self.compound.abs(),
        }
    }

    /// The scores as columns: compound, positive, neutral, negative.
    pub fn columns(&self) -> [f32; 4] {
        [self.compound, self.positive, self.neutral, self.negative].map(|score| score as f32)
    }
}

/// The lexicon, ready to score texts.
#[derive(Debug)]
pub struct Vader {
    lexicon: Lexicon,
}

impl Default for Vader {
    fn default() -> Self {
        Self::new()
    }
}

impl Vader {
    /// Reads the lexicon, which takes some milliseconds: keep it.
    pub fn new() -> Self {
        Self { lexicon: Lexicon::new() }
    }

    /// The scores of each text, found on `threads` threads.
    pub fn scores(&self, texts: &[impl AsRef<str> + Sync], threads: NonZeroUsize) -> Vec<ToneScores> {
        let mut scores = vec![ToneScores::default(); texts.len()];
        for_batches(threads, &mut scores, BATCH, Desk::default, |desk, first, scores| {
            for (text, scores) in texts[first..].iter().zip(scores) {
                *scores = self.score(text.as_ref(), desk);
            }
        });
        scores
    }

    fn score(&self, text: &str, desk: &mut Desk) -> ToneScores {
        let Desk { spelled, words, valences } = desk;
        spell_emoji(&self.lexicon, text, spelled);
        let text = if spelled.is_empty() { text } else { spelled };
        cut(&self.lexicon, text, words);
        let capitals = words.iter().filter(|word| word.capitals).count();
        let context = Context { words, mixed_case: capitals > 0 && capitals < words.len() };
        valences.clear();
        valences.extend((0..words.len()).map(|at| context.valence(at)));
        if let Some(but) = words.iter().position(|word| word.entry.part == Part::But) {
            weigh_but(valences, but);
        }
        sum_up(valences, text)
    }
}

/// Buffers that many texts share.
#[derive(Debug, Default)]
struct Desk {
    spelled: String,
    words: Vec<Word>,
    valences: Vec<f64>,
}

/// The scores of a text by the valences of its words.
fn sum_up(valences: &[f64], text: &str) -> ToneScores {
    if valences.is_empty() {
        return ToneScores::default();
    }
    let emphasis = punctuation(text);
    let mut sum: f64 = valences.iter().sum();
    if sum != 0.0 {
        sum += if sum > 0.0 { emphasis } else { -emphasis };
    }
    // A rated word counts for 1 more than its valence, as an unrated one counts for 1.
    let (mut positive, mut negative, mut neutral) = (0.0, 0.0, 0.0);
    for valence in valences {
        match *valence {
            valence if valence > 0.0 => positive += valence + 1.0,
            valence if valence < 0.0 => negative += 1.0 - valence,
            _ => neutral += 1.0,
        }
    }
    if positive > negative {
        positive += emphasis;
    } else if positive < negative {
        negative += emphasis;
    }
    let total = positive + negative + neutral;
    ToneScores {
        compound: round(sum / (sum * sum + 15.0).sqrt(), 10_000.0),
        positive: round(positive / total, 1000.0),
        neutral: round(neutral / total, 1000.0),
        negative: round(negative / total, 1000.0),
    }
}

/// The multiple of 1 / `parts` next to a value; of two that are equally near the even one.
fn round(value: f64, parts: f64) -> f64 {
    let scaled = value * parts;
    let (below, share) = (scaled.floor(), scaled - scaled.floor());
    if share != 0.5 {
        return scaled.round_ties_even() / parts;
    }
    // The product may have been rounded to what looks like the middle; the exact one tells.
    match libm::fma(value, parts, -scaled) {
        off if off > 0.0 => (below + 1.0) / parts,
        off if off < 0.0 => below / parts,
        _ => scaled.round_ties_even() / parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_exact_value() {
        for (value, expected) in [(0.0625, 0.062), (0.1875, 0.188), (0.0005, 0.001), (0.0015, 0.002), (-0.0625, -0.062)]
        {
            assert_eq!(round(value, 1000.0), expected, "{value}");
        }
        // The float next to 2.0345 is below it, though 1000 times it looks like the middle.
        assert_eq!((2.0345_f64 * 1000.0, round(2.0345, 1000.0)), (2034.5, 2.034));
        assert_eq!(round(0.0005_f64.next_down(), 1000.0), 0.0);
    }
}
