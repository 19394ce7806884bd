//! The words that matter: their ratings, and the parts they play in rules.

use crate::terms::{Terms, hash_word};

/// By how much adverbs of degree add to a rating, or take from it.
const DEGREE: f64 = 0.293;

const NEGATIONS: &str = "
    aint arent cannot cant couldnt darent didnt doesnt dont hadnt hasnt havent isnt mightnt mustnt neednt oughtnt shant
    shouldnt wasnt werent wont wouldnt neither never none nope nor not nothing nowhere uhuh uh-uh without rarely seldom
    despite";

const STRENGTHENING: &str = "
    absolutely amazingly awfully completely considerable considerably decidedly deeply effing enormous enormously entirely
    especially exceptional exceptionally extreme extremely fabulously flippin flipping frackin fracking frickin fricking
    friggin frigging fuckin fucking fuggin fugging fully greatly hella highly hugely incredible incredibly intensely major
    majorly more most particularly purely quite really remarkably so substantially thoroughly total totally tremendous
    tremendously uber unbelievably unusually utter utterly very";

const WEAKENING: &str = "
    almost barely hardly kind-of kinda kindof less little marginal marginally occasional occasionally partly scarce scarcely
    slight slightly somewhat sort-of sorta sortof";

/// Words that rules ask for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    None,
    Ass,
    At,
    Bad,
    Beating,
    Bomb,
    Bus,
    But,
    Death,
    Die,
    Doubt,
    Enough,
    For,
    Heart,
    Just,
    Kind,
    Kiss,
    Least,
    Never,
    No,
    Nor,
    Of,
    Or,
    Right,
    Shit,
    So,
    Sort,
    Stop,
    The,
    This,
    To,
    Very,
    Without,
    Yeah,
}

const PARTS: [(&str, Part); 33] = [
    ("ass", Part::Ass),
    ("at", Part::At),
    ("bad", Part::Bad),
    ("beating", Part::Beating),
    ("bomb", Part::Bomb),
    ("bus", Part::Bus),
    ("but", Part::But),
    ("death", Part::Death),
    ("die", Part::Die),
    ("doubt", Part::Doubt),
    ("enough", Part::Enough),
    ("for", Part::For),
    ("heart", Part::Heart),
    ("just", Part::Just),
    ("kind", Part::Kind),
    ("kiss", Part::Kiss),
    ("least", Part::Least),
    ("never", Part::Never),
    ("no", Part::No),
    ("nor", Part::Nor),
    ("of", Part::Of),
    ("or", Part::Or),
    ("right", Part::Right),
    ("shit", Part::Shit),
    ("so", Part::So),
    ("sort", Part::Sort),
    ("stop", Part::Stop),
    ("the", Part::The),
    ("this", Part::This),
    ("to", Part::To),
    ("very", Part::Very),
    ("without", Part::Without),
    ("yeah", Part::Yeah),
];

/// What is known of a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    /// Its rating from -4 to 4, if it has one.
    pub(super) rating: Option<f64>,
    /// What it adds to the rating of a word behind it.
    pub(super) degree: f64,
    pub(super) negates: bool,
    pub(super) part: Part,
}

/// A word that nothing is known of.
pub(super) const UNKNOWN: Entry = Entry { rating: None, degree: 0.0, negates: false, part: Part::None };

/// All words, and the emoji that stand for words.
#[derive(Debug)]
pub(super) struct Lexicon {
    terms: Terms,
    entries: Vec<Entry>,
    /// Ascending.
    emoji: Vec<(char, &'static str)>,
}

impl Lexicon {
    /// Reads the data that comes with the crate.
    pub(super) fn new() -> Self {
        let mut lexicon = Self { terms: Terms::default(), entries: Vec::new(), emoji: Vec::new() };
        let rated = lines(include_str!("../../data/vader_lexicon.tsv"));
        // Words are looked up in lower case and have no spaces, so that other entries are never met.
        for (word, rating) in rated.filter(|(word, _)| !word.contains(' ') && *word == word.to_lowercase()) {
            lexicon.entry(word).rating = Some(rating.parse().expect("ratings are numbers"));
        }
        NEGATIONS.split_ascii_whitespace().for_each(|word| lexicon.entry(word).negates = true);
        STRENGTHENING.split_ascii_whitespace().for_each(|word| lexicon.entry(word).degree = DEGREE);
        WEAKENING.split_ascii_whitespace().for_each(|word| lexicon.entry(word).degree = -DEGREE);
        PARTS.iter().for_each(|(word, part)| lexicon.entry(word).part = *part);
        let emoji = lines(include_str!("../../data/vader_emoji.tsv"));
        lexicon.emoji = emoji.map(|(emoji, words)| (emoji.chars().next().expect("not empty"), words)).collect();
        debug_assert!(lexicon.emoji.is_sorted());
        lexicon
    }

    fn entry(&mut self, word: &str) -> &mut Entry {
        let id = self.terms.insert(word) as usize;
        if id == self.entries.len() {
            self.entries.push(UNKNOWN);
        }
        &mut self.entries[id]
    }

    /// What is known of a word in lower case.
    #[inline]
    pub(super) fn find(&self, word: &[u8]) -> Entry {
        self.terms.find(hash_word(word), word).map_or(UNKNOWN, |id| self.entries[id as usize])
    }

    /// The words that an emoji stands for.
    #[inline]
    pub(super) fn emoji(&self, character: char) -> Option<&'static str> {
        let at = self.emoji.binary_search_by_key(&character, |(emoji, _)| *emoji).ok()?;
        Some(self.emoji[at].1)
    }
}

/// The two columns of a file.
fn lines(file: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    file.lines().map(|line| line.split_once('\t').expect("lines have two columns"))
}
