//! Words that say little. The list is data; `data/english_stop_words.LICENSE` says whose.

/// scikit-learn's English stop words.
pub fn english_stop_words() -> impl Iterator<Item = &'static str> {
    include_str!("../../data/english_stop_words.txt").split_ascii_whitespace()
}
