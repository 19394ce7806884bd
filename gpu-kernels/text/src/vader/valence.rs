//! The rules for one rated word and what stands around it.

use super::lexicon::Part::{self, *};
use super::words::Word;

/// What a negation multiplies by.
const NEGATED: f64 = -0.74;
/// By how much capitals strengthen.
const CAPITALS: f64 = 0.733;
/// How much of an adverb's effect is left one, two and three words on.
const BY_DISTANCE: [f64; 3] = [1.0, 0.95, 0.9];

/// Pairs of words with a rating of their own.
const PAIRS: [([Part; 2], f64); 6] = [
    ([The, Shit], 3.0),
    ([The, Bomb], 3.0),
    ([Bad, Ass], 1.5),
    ([Bus, Stop], 0.0),
    ([Yeah, Right], -2.0),
    ([Beating, Heart], 3.5),
];
/// The same for three words.
const TRIPLES: [([Part; 3], f64); 2] = [([Kiss, Of, Death], -1.5), ([To, Die, For], 3.0)];
/// Pairs of words that weaken what stands behind them.
const WEAKENING: [[Part; 2]; 3] = [[Just, Enough], [Kind, Of], [Sort, Of]];
const DEGREE: f64 = 0.293;

/// The words of a text, and whether only some of them are in capitals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) words: &'a [Word],
    pub(super) mixed_case: bool,
}

impl Context<'_> {
    /// The valence of a word: 0 unless it is rated.
    #[inline]
    pub(super) fn valence(&self, at: usize) -> f64 {
        let word = self.words[at].entry;
        let Some(rating) = word.rating else { return 0.0 };
        // "kind of" is an adverb, as other adverbs are even where they are rated.
        if word.degree != 0.0 || (word.part == Kind && self.part(at + 1) == Of) {
            return 0.0;
        }
        let mut valence = self.with_no(at, rating);
        if self.words[at].capitals && self.mixed_case {
            valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
        }
        for distance in 1..=at.min(3) {
            let before = self.words[at - distance];
            if before.entry.rating.is_none() {
                valence += self.degree(before, valence) * BY_DISTANCE[distance - 1];
                valence *= self.negation(at, distance);
                if distance == 3 {
                    valence = self.with_phrases(at, valence);
                }
            }
        }
        valence * self.least(at)
    }

    /// The part of a word, also where there is none.
    fn part(&self, at: usize) -> Part {
        self.words.get(at).map_or(None, |word| word.entry.part)
    }

    /// Whether the words from `at` on have these parts.
    fn reads(&self, at: usize, parts: &[Part]) -> bool {
        self.words
            .get(at..at + parts.len())
            .is_some_and(|words| words.iter().map(|word| word.entry.part).eq(parts.iter().copied()))
    }

    /// The rating, or what "no" makes of it.
    fn with_no(&self, at: usize, rating: f64) -> f64 {
        let said_no = |distance: usize| at >= distance && self.part(at - distance) == No;
        if said_no(1) || said_no(2) || (said_no(3) && matches!(self.part(at - 1), Or | Nor)) {
            return rating * NEGATED;
        }
        let next = self.words.get(at + 1).and_then(|next| next.entry.rating);
        if self.part(at) == No && next.is_some() { 0.0 } else { rating }
    }

    /// What an adverb adds to a valence.
    fn degree(&self, adverb: Word, valence: f64) -> f64 {
        let degree = adverb.entry.degree;
        if degree == 0.0 {
            return 0.0;
        }
        let degree = if valence < 0.0 { -degree } else { degree };
        match adverb.capitals && self.mixed_case {
            true if valence > 0.0 => degree + CAPITALS,
            true => degree - CAPITALS,
            false => degree,
        }
    }

    /// What the word at some distance before another, with those between them, multiplies its valence by.
    fn negation(&self, at: usize, distance: usize) -> f64 {
        let part = |distance: usize| self.part(at - distance);
        let emphatic = |distance: usize| matches!(part(distance), So | This);
        let (strengthens, no_doubt) = match distance {
            2 => (part(2) == Never && emphatic(1), part(2) == Without && part(1) == Doubt),
            3 => {
                let doubt = part(2) == Doubt || part(1) == Doubt;
                ((part(3) == Never && emphatic(2)) || emphatic(1), part(3) == Without && doubt)
            }
            _ => (false, false),
        };
        match self.words[at - distance].entry.negates {
            _ if strengthens => 1.25,
            true if !no_doubt => NEGATED,
            _ => 1.0,
        }
    }

    /// The valence, or that of a phrase around the word; three words stand before it.
    fn with_phrases(&self, at: usize, mut valence: f64) -> f64 {
        let pair = |first: usize| PAIRS.iter().find(|(parts, _)| self.reads(first, parts)).map(|(_, rating)| *rating);
        let triple =
            |first: usize| TRIPLES.iter().find(|(parts, _)| self.reads(first, parts)).map(|(_, rating)| *rating);
        let before = pair(at - 1).or_else(|| triple(at - 2)).or_else(|| pair(at - 2)).or_else(|| triple(at - 3));
        let before = before.or_else(|| pair(at - 3));
        // Of phrases that begin with the word, the longest counts, and more than those it ends or follows.
        if let Some(rating) = triple(at).or_else(|| pair(at)).or(before) {
            valence = rating;
        }
        for first in [at - 3, at - 2] {
            if WEAKENING.iter().any(|parts| self.reads(first, parts)) {
                valence -= DEGREE;
            }
        }
        valence
    }

    /// What "least" before a word multiplies its valence by.
    fn least(&self, at: usize) -> f64 {
        let said = at >= 1 && self.part(at - 1) == Least && self.words[at - 1].entry.rating.is_none();
        let harmless = at >= 2 && matches!(self.part(at - 2), At | Very);
        if said && !harmless { NEGATED } else { 1.0 }
    }
}
