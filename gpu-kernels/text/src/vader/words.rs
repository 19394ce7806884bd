//! Cuts a text into words, with all that rules ask about each.
//!
//! Words stand between white space and lose the ASCII signs around them, unless two characters or fewer would be left:
//! then they are probably an emoticon and stay as they are. White space, and what is upper case, are as Python has them.

use super::lexicon::{Entry, Lexicon};

/// Longer words cannot be in the lexicon.
const LONGEST: usize = 64;

/// A word of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) entry: Entry,
    /// Whether it is in capitals.
    pub(super) capitals: bool,
}

/// Replaces emoji by what they stand for; the answer is empty if there are none. One that follows something else than a
/// space is set off by one, what follows it is not.
pub(super) fn spell_emoji(lexicon: &Lexicon, text: &str, out: &mut String) {
    out.clear();
    if text.is_ascii() {
        return;
    }
    let (mut copied, mut after_space) = (0, true);
    for (at, character) in text.char_indices() {
        let words = if character.is_ascii() { None } else { lexicon.emoji(character) };
        if let Some(words) = words {
            out.push_str(&text[copied..at]);
            copied = at + character.len_utf8();
            if !after_space {
                out.push(' ');
            }
            out.push_str(words);
            after_space = false;
        } else {
            after_space = character == ' ';
        }
    }
    if copied > 0 {
        out.push_str(&text[copied..]);
    }
}

/// Puts down the words of a text.
pub(super) fn cut(lexicon: &Lexicon, text: &str, words: &mut Vec<Word>) {
    words.clear();
    let take = |token: &str| words.push(word(lexicon, strip(token)));
    if text.is_ascii() {
        text.split(|character: char| SPACES[character as usize & 127]).filter(|token| !token.is_empty()).for_each(take);
    } else {
        text.split(is_space).filter(|token| !token.is_empty()).for_each(take);
    }
}

/// White space among ASCII characters.
const SPACES: [bool; 128] = {
    let mut spaces = [false; 128];
    let mut at = 0;
    while at < 128 {
        spaces[at] = matches!(at as u8, b'\t'..=b'\r' | 0x1C..=0x1F | b' ');
        at += 1;
    }
    spaces
};

fn is_space(character: char) -> bool {
    matches!(character, '\u{1C}'..='\u{1F}') || character.is_whitespace()
}

/// A token without the signs around it, if enough is left.
fn strip(token: &str) -> &str {
    let stripped = token.trim_matches(|character: char| character.is_ascii_punctuation());
    let short = stripped.len() <= 2 || (stripped.len() <= 8 && stripped.chars().count() <= 2);
    if short { token } else { stripped }
}

fn word(lexicon: &Lexicon, token: &str) -> Word {
    if !token.is_ascii() {
        let lower = token.to_lowercase();
        return Word { entry: find(lexicon, lower.as_bytes()), capitals: is_capitals(token) };
    }
    let (mut any_upper, mut any_lower) = (false, false);
    let mut buffer = [0; LONGEST];
    for (at, byte) in token.bytes().enumerate() {
        any_upper |= byte.is_ascii_uppercase();
        any_lower |= byte.is_ascii_lowercase();
        if let Some(place) = buffer.get_mut(at) {
            *place = byte.to_ascii_lowercase();
        }
    }
    let capitals = any_upper && !any_lower;
    match buffer.get(..token.len()) {
        Some(lower) => Word { entry: find(lexicon, lower), capitals },
        None => Word { entry: find(lexicon, token.to_ascii_lowercase().as_bytes()), capitals },
    }
}

/// What is known of a word in lower case. Whatever has "n't" in it negates.
fn find(lexicon: &Lexicon, lower: &[u8]) -> Entry {
    let mut entry = lexicon.find(lower);
    if lower.contains(&b'\'') && lower.windows(3).any(|part| part == b"n't") {
        entry.negates = true;
    }
    entry
}

/// Whether there are upper-case letters, and neither lower-case nor title-case ones.
fn is_capitals(token: &str) -> bool {
    token.chars().any(char::is_uppercase) && !token.chars().any(|letter| letter.is_lowercase() || is_title(letter))
}

/// Whether a letter is two in one, the first of them a capital.
fn is_title(letter: char) -> bool {
    matches!(
        letter,
        'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{1F88}'..='\u{1F8F}' | '\u{1F98}'..='\u{1F9F}' | '\u{1FA8}'..='\u{1FAF}' | 'ᾼ' | 'ῌ' | 'ῼ'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_the_signs_around_them() {
        for (token, expected) in [
            ("(good!)", "good"),
            (":)", ":)"),
            ("\"ok\"", "\"ok\""),
            ("don't!!", "don't"),
            ("...", "..."),
            ("«é»", "«é»"),
            (".éa.", ".éa."),
            (".日本語.", "日本語"),
        ] {
            assert_eq!(strip(token), expected);
        }
    }

    #[test]
    fn capitals_need_a_capital_and_no_small_letter() {
        for (token, capitals) in [("A1", true), ("1", false), ("Ab", false), ("ÀÈ", true), ("ǅA", false), ("ⅧX", true)]
        {
            assert_eq!(is_capitals(token), capitals, "{token}");
        }
    }

    #[test]
    fn emoji_are_spelled_and_set_off() {
        let lexicon = Lexicon::new();
        let mut out = String::new();
        spell_emoji(&lexicon, "a😁😁b ❤c", &mut out);
        assert_eq!(out, "a beaming face with smiling eyes beaming face with smiling eyesb red heartc");
        spell_emoji(&lexicon, "é", &mut out);
        assert_eq!(out, "");
    }
}
