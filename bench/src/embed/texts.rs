//! Texts like the first paragraphs of news articles, in words of a model's vocabulary.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};

use crate::draw::Draw;

/// Pieces of the middle text, with the first and the last one; quartiles are about 61, 111 and 207.
const MIDDLE: f64 = 111.0;
const SPREAD: f64 = 0.92;
const SHORTEST: f64 = 11.0;
const LONGEST: f64 = 446.0;

/// `count` texts of words in `vocabulary`, which has one piece a line; common words come more often, and some must be cut into
/// pieces.
pub(super) fn generate(vocabulary: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let plain = |piece: &&str| piece.len() > 1 && piece.bytes().all(|byte| byte.is_ascii_lowercase());
    let words: Vec<&str> = vocabulary.lines().filter(plain).collect();
    let tails: Vec<&str> = vocabulary.lines().filter_map(|piece| piece.strip_prefix("##")).filter(plain).collect();
    ensure!(!words.is_empty() && !tails.is_empty(), "the vocabulary has no words");
    let mut draw = Draw::new(42);
    Ok((0..count).map(|_| text(&mut draw, &words, &tails)).collect())
}

fn text(draw: &mut Draw, words: &[&str], tails: &[&str]) -> String {
    let pieces = (MIDDLE * (SPREAD * draw.normal()).exp()).clamp(SHORTEST, LONGEST) as usize;
    let (mut text, mut used, mut of_sentence) = (String::new(), 2, 0);
    while used < pieces {
        if !text.is_empty() {
            text.push(' ');
        }
        let start = text.len();
        text.push_str(words[(words.len() as f64).powf(draw.unit()) as usize - 1]);
        used += 1;
        if draw.unit() < 0.05 {
            text.push_str(tails[draw.below(tails.len())]);
            used += 1;
        }
        if of_sentence == 0 {
            text[start..=start].make_ascii_uppercase();
        }
        of_sentence += 1;
        if of_sentence > 6 && draw.unit() < 0.1 {
            text.push('.');
            (used, of_sentence) = (used + 1, 0);
        } else if draw.unit() < 0.06 {
            text.push(',');
            used += 1;
        }
    }
    text
}

/// Keeps texts where every contestant reads them: one JSON string a line.
pub(super) fn write(path: &Path, texts: &[String]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for text in texts {
        writeln!(file, "{}", serde_json::to_string(text)?)?;
    }
    Ok(file.flush()?)
}

/// What [`write`] kept.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let file = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    file.lines().map(|line| serde_json::from_str(line).with_context(|| format!("`{line}` is no text"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[PAD]\n.\nba\nbo\ncon\n##den\n##x\n##er\n";

    #[test]
    fn texts_are_sentences_of_known_words() {
        let texts = generate(VOCABULARY, 100).unwrap();
        assert_eq!(texts, generate(VOCABULARY, 100).unwrap());
        for text in &texts {
            assert!(text.starts_with(|first: char| first.is_ascii_uppercase()), "{text}");
            let known = |word: &str| {
                let word = word.trim_end_matches(['.', ',']).to_ascii_lowercase();
                ["ba", "bo", "con"].iter().any(|start| matches!(word.strip_prefix(start), Some("" | "den" | "er")))
            };
            assert!(text.split(' ').all(known), "{text}");
        }
        assert!(generate("[PAD]\n", 1).is_err());
    }

    #[test]
    fn texts_are_read_as_they_were_written() {
        let folder = std::env::temp_dir().join(format!("bench-texts-{}", std::process::id()));
        let texts = ["one\n\"two\"".to_owned(), String::new()];
        write(&folder, &texts).unwrap();
        let read = read(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(read, texts);
    }
}
