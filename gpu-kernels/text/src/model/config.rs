//! What a model is, by `config.json` and by what sentence-transformers puts beside it.
//!
//! ```text
//!   config.json                  the encoder's shape
//!   sentence_bert_config.json    max_seq_length; without it, as many tokens as there are positions
//!   modules.json                 transformer, pooling, perhaps normalise; without it, mean pooling and no normalising
//!   1_Pooling/config.json        how rows are pooled: the mean, or the first token's
//! ```

use serde::Deserialize;
use serde_json::{Map, Value};
use tandem_kernels::encoder::{EncoderShape, Pooling};

use crate::folder::{Folder, LoadError};
use crate::wordpiece::FRAME;

const CONFIG: &str = "config.json";
const SENTENCES: &str = "sentence_bert_config.json";
const MODULES: &str = "modules.json";

/// What is known of a model without its weights.
pub(super) struct Config {
    pub(super) shape: EncoderShape,
    /// Rows of the table of token types.
    pub(super) token_types: usize,
    /// Tokens of the longest text, the first and the last one included.
    pub(super) longest: usize,
    /// Whether texts are made small before anything else.
    pub(super) lowercase: bool,
}

#[derive(Deserialize)]
struct Bert {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn gelu() -> String {
    "gelu".into()
}

fn epsilon() -> f32 {
    1e-12
}

fn two() -> usize {
    2
}

#[derive(Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Config {
    /// Reads all of it.
    pub(super) fn read(folder: &Folder) -> Result<Self, LoadError> {
        let bert: Bert = folder.json(CONFIG)?;
        bert.check(folder)?;
        let (pooling, normalise) = modules(folder, bert.hidden_size)?;
        let positions = bert.max_position_embeddings;
        let sentences: Option<Sentences> = folder.optional_json(SENTENCES)?;
        let lowercase = sentences.as_ref().is_some_and(|sentences| sentences.do_lower_case);
        let longest = sentences.and_then(|sentences| sentences.max_seq_length).unwrap_or(positions);
        if longest <= FRAME || longest > positions {
            let expected = format!("{} to the {positions} positions of {CONFIG}", FRAME + 1);
            return Err(folder.value(SENTENCES, "max_seq_length", longest, expected));
        }
        let shape = EncoderShape {
            layers: bert.num_hidden_layers,
            hidden: bert.hidden_size,
            heads: bert.num_attention_heads,
            feed_forward: bert.intermediate_size,
            vocabulary: bert.vocab_size,
            positions,
            epsilon: bert.layer_norm_eps,
            pooling,
            normalise,
        };
        Ok(Self { shape, token_types: bert.type_vocab_size, longest, lowercase })
    }
}

impl Bert {
    fn check(&self, folder: &Folder) -> Result<(), LoadError> {
        let wrong = |key: &str, got: &str, expected: &str| Err(folder.value(CONFIG, key, got, expected));
        let architecture = self.architectures.first().map(String::as_str);
        match (self.model_type.as_deref(), architecture) {
            (Some("bert"), _) => {}
            (Some(other), _) => return wrong("model_type", other, "bert"),
            (None, Some(architecture)) if architecture.starts_with("Bert") => {}
            (None, other) => return wrong("architectures", other.unwrap_or("missing"), "BertModel"),
        }
        if self.hidden_act != gelu() {
            return wrong("hidden_act", &self.hidden_act, "gelu");
        }
        if let Some(other) = self.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return wrong("position_embedding_type", other, "absolute");
        }
        if self.is_decoder {
            return wrong("is_decoder", "true", "false");
        }
        Ok(())
    }
}

/// The pooling, and whether vectors are normalised.
fn modules(folder: &Folder, hidden: usize) -> Result<(Pooling, bool), LoadError> {
    let Some(modules) = folder.optional_json::<Vec<Module>>(MODULES)? else { return Ok((Pooling::Mean, false)) };
    let (mut pooling, mut normalise) = (None, false);
    for (at, module) in modules.iter().enumerate() {
        let kind = module.kind.rsplit('.').next().unwrap_or_default();
        match (at, kind) {
            (0, "Transformer") => {}
            (1, "Pooling") => pooling = Some(read_pooling(folder, module, hidden)?),
            (2, "Normalize") => normalise = true,
            _ => {
                let expected = "Transformer, Pooling and perhaps Normalize, in this order";
                return Err(folder.value(MODULES, format!("type of module {at}"), &module.kind, expected));
            }
        }
    }
    match pooling {
        Some(pooling) => Ok((pooling, normalise)),
        None => Err(folder.value(MODULES, "the list of modules", modules.len(), "Transformer and Pooling at least")),
    }
}

fn read_pooling(folder: &Folder, module: &Module, hidden: usize) -> Result<Pooling, LoadError> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if module.path.is_empty() || !module.path.chars().all(plain) {
        let expected = "the name of a folder: letters, digits, - and _";
        return Err(folder.value(MODULES, "path of module 1", &module.path, expected));
    }
    let file = format!("{}/config.json", module.path);
    let keys: Map<String, Value> = folder.json(&file)?;
    if let Some(width) = ["word_embedding_dimension", "embedding_dimension"].iter().find_map(|key| keys.get(*key))
        && width.as_u64() != Some(hidden as u64)
    {
        return Err(folder.value(&file, "word_embedding_dimension", width, format!("{hidden}, the hidden_size")));
    }
    // Older files have a switch for each way, newer ones a name.
    let switched = keys.iter().filter(|(key, on)| key.starts_with("pooling_mode_") && **on == Value::Bool(true));
    let named = keys.get("pooling_mode").and_then(Value::as_str);
    let modes: Vec<&str> = switched.map(|(key, _)| key.as_str()).chain(named).collect();
    match modes[..] {
        ["pooling_mode_mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token" | "cls"] => Ok(Pooling::First),
        _ => Err(folder.value(&file, "pooling_mode", modes.join(" and "), "mean or cls, one of them")),
    }
}
