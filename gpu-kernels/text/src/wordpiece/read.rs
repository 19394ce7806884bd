//! Reads a tokenizer from `tokenizer.json`, or from `vocab.txt` and `tokenizer_config.json`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::WordPiece;
use super::characters::{Characters, Cleaning};
use super::special::Special;
use super::trie::Trie;
use crate::folder::{Folder, LoadError};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.txt";
const CONFIG: &str = "tokenizer_config.json";

/// Tokens that every tokenizer of BERT has, if the vocabulary does.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// The parts of `tokenizer.json` that are read.
#[derive(Deserialize)]
struct File {
    model: Model,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Typed>,
    post_processor: Option<PostProcessor>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default = "word_piece")]
    kind: String,
    vocab: Value,
    #[serde(default = "unknown")]
    unk_token: Option<String>,
    #[serde(default = "prefix")]
    continuing_subword_prefix: Option<String>,
    #[serde(default = "longest_word")]
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct PostProcessor {
    #[serde(rename = "type")]
    kind: String,
    /// What a template makes of one text.
    #[serde(default)]
    single: Vec<Value>,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes")]
    clean_text: bool,
    #[serde(default = "yes")]
    handle_chinese_chars: bool,
    #[serde(default)]
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    lowercase: bool,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

/// The parts of `tokenizer_config.json` that are read, where there is a `vocab.txt` only.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "yes")]
    do_lower_case: bool,
    #[serde(default = "yes")]
    tokenize_chinese_chars: bool,
    #[serde(default)]
    strip_accents: Option<bool>,
}

fn yes() -> bool {
    true
}

fn word_piece() -> String {
    "WordPiece".into()
}

fn unknown() -> Option<String> {
    Some("[UNK]".into())
}

fn prefix() -> Option<String> {
    Some("##".into())
}

fn longest_word() -> usize {
    100
}

impl WordPiece {
    /// Reads the tokenizer of a model's folder.
    ///
    /// # Errors
    /// Names the file and what in it is missing, or is no tokenizer of BERT.
    pub(crate) fn read(folder: &Folder) -> Result<Self, LoadError> {
        if let Some(file) = folder.optional_json::<File>(TOKENIZER)? {
            return from_file(folder, file);
        }
        let text = folder.text(VOCABULARY)?.ok_or_else(|| folder.missing(TOKENIZER))?;
        let config: Config = folder.optional_json(CONFIG)?.unwrap_or(Config {
            do_lower_case: true,
            tokenize_chinese_chars: true,
            strip_accents: None,
        });
        let mut ids: HashMap<String, u32> = HashMap::new();
        ids.extend(text.lines().zip(0..).map(|(line, id)| (line.trim_end().to_owned(), id)));
        let special = SPECIAL.iter().filter_map(|token| Some(((*token).to_owned(), *ids.get(*token)?))).collect();
        let cleaning = Cleaning {
            clean_text: true,
            handle_chinese_chars: config.tokenize_chinese_chars,
            strip_accents: config.strip_accents.unwrap_or(config.do_lower_case),
            lowercase: config.do_lower_case,
        };
        Vocabulary { file: VOCABULARY, ids, special, unknown: "[UNK]", prefix: "##", longest_word: 100, cleaning }
            .build(folder)
    }
}

fn from_file(folder: &Folder, file: File) -> Result<WordPiece, LoadError> {
    let File { model, normalizer, pre_tokenizer, post_processor, added_tokens } = file;
    let wrong = |key: &str, got: &str, expected: &str| Err(folder.value(TOKENIZER, key, got, expected));
    if model.kind != word_piece() {
        return wrong("model.type", &model.kind, "WordPiece");
    }
    let normalizer = match normalizer {
        Some(normalizer) if normalizer.kind == "BertNormalizer" => normalizer,
        other => return wrong("normalizer.type", other.as_ref().map_or("null", |n| &n.kind), "BertNormalizer"),
    };
    match pre_tokenizer.as_ref().map_or("null", |typed| &typed.kind) {
        "BertPreTokenizer" => {}
        other => return wrong("pre_tokenizer.type", other, "BertPreTokenizer"),
    }
    match post_processor.as_ref().map_or("null", |processor| &processor.kind) {
        "BertProcessing" | "TemplateProcessing" => {}
        other => return wrong("post_processor.type", other, "BertProcessing or TemplateProcessing"),
    }
    let frame: Vec<&str> = post_processor.iter().flat_map(|processor| processor.single.iter().map(part)).collect();
    if !frame.is_empty() && frame != ["[CLS]", "text", "[SEP]"] {
        return wrong("post_processor.single", &frame.join(" "), "[CLS] text [SEP]");
    }
    let path = folder.file(TOKENIZER);
    let ids = serde_json::from_value(model.vocab).map_err(|source| LoadError::Json { path, source })?;
    let plain = |token: &AddedToken| !(token.single_word || token.lstrip || token.rstrip || token.normalized);
    if let Some(token) = added_tokens.iter().find(|token| !plain(token)) {
        let expected = "a token without single_word, lstrip, rstrip and normalized";
        return wrong("added_tokens", &token.content, expected);
    }
    let cleaning = Cleaning {
        clean_text: normalizer.clean_text,
        handle_chinese_chars: normalizer.handle_chinese_chars,
        strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
        lowercase: normalizer.lowercase,
    };
    Vocabulary {
        file: TOKENIZER,
        ids,
        special: added_tokens.into_iter().map(|token| (token.content, token.id)).collect(),
        unknown: &model.unk_token.unwrap_or_default(),
        prefix: &model.continuing_subword_prefix.unwrap_or_default(),
        longest_word: model.max_input_chars_per_word,
        cleaning,
    }
    .build(folder)
}

/// A part of a template: a token, or the text.
fn part(part: &Value) -> &str {
    let text = if part.get("Sequence").is_some() { "text" } else { "unknown" };
    part.pointer("/SpecialToken/id").and_then(Value::as_str).unwrap_or(text)
}

/// What both kinds of files say.
struct Vocabulary<'a> {
    file: &'static str,
    ids: HashMap<String, u32>,
    special: Vec<(String, u32)>,
    unknown: &'a str,
    prefix: &'a str,
    longest_word: usize,
    cleaning: Cleaning,
}

impl Vocabulary<'_> {
    fn build(self, folder: &Folder) -> Result<WordPiece, LoadError> {
        let of_special = |token: &str| self.special.iter().find(|(special, _)| special == token).map(|(_, id)| *id);
        let id = |token: &str| {
            let id = self.ids.get(token).copied().or_else(|| of_special(token));
            id.ok_or_else(|| LoadError::MissingToken { path: folder.file(self.file), token: token.to_owned() })
        };
        let (unknown, class, separator) = (id(self.unknown)?, id("[CLS]")?, id("[SEP]")?);
        let all = self.ids.values().chain(self.special.iter().map(|(_, id)| id));
        let size = all.max().map_or(0, |most| *most as usize + 1);
        let trie =
            Trie::new(self.ids.iter().map(|(piece, id)| (piece.as_str(), *id)), self.prefix).ok_or_else(|| {
                folder.value(self.file, "the vocabulary", format!("{} tokens long", self.ids.len()), "less than 16 MB")
            })?;
        Ok(WordPiece {
            characters: Characters::new(self.cleaning),
            special: Special::new(self.special),
            trie,
            longest_word: self.longest_word,
            unknown,
            class,
            separator,
            size,
        })
    }
}
