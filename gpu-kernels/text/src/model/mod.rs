//! A sentence encoder that a user brings, in the layout of Hugging Face and sentence-transformers: configuration, tokenizer,
//! weights, all in one folder, and nothing from anywhere else.

mod config;
mod device;
mod tensors;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Mutex;

use tandem_kernels::Cpu;
pub use tandem_kernels::encoder::Precision;
use tandem_kernels::encoder::cuda::DeviceEncoder;
use tandem_kernels::encoder::{EmbeddingWeights, Encoder, EncoderShape, LayerWeights, LinearWeights, NormWeights};

use crate::LoadError;
use crate::folder::{Files, Folder};
use crate::wordpiece::WordPiece;
use config::Config;
use tensors::Tensors;

/// A model that is ready to embed texts.
pub struct Model {
    pub(crate) tokenizer: WordPiece,
    pub(crate) shape: EncoderShape,
    pub(crate) engine: Engine,
    /// Tokens of the longest text.
    pub(crate) longest: usize,
    files: Files,
}

/// What computes.
pub(crate) enum Engine {
    Cpu(Encoder),
    /// One pass at a time.
    Device(Mutex<DeviceEncoder>),
}

/// What a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ModelPrecision {
    /// bfloat16 where the processor has it, else `f32`.
    #[default]
    Auto,
    /// This one, or not at all.
    Only(Precision),
}

/// A name that is no precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("precision is {0}, expected auto, f32, bf16 or int8")]
pub struct UnknownPrecision(String);

impl FromStr for ModelPrecision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::Only(Precision::F32)),
            "bf16" => Ok(Self::Only(Precision::Bf16)),
            "int8" => Ok(Self::Only(Precision::Int8)),
            other => Err(UnknownPrecision(other.to_owned())),
        }
    }
}

impl fmt::Display for ModelPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(precision) => precision.fmt(f),
        }
    }
}

impl Model {
    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// Names the file, and the key, token or tensor in it, that is missing or wrong.
    pub fn load(folder: &Path, precision: ModelPrecision) -> Result<Self, LoadError> {
        let folder = Folder::open(folder)?;
        let (config, tokenizer, mut tensors) = read_all_but_weights(&folder)?;
        let precision = match precision {
            ModelPrecision::Auto => Precision::best(),
            ModelPrecision::Only(precision) => precision,
        };
        let encoder = read_encoder(&folder, &mut tensors, &config, precision)?;
        let (engine, files) = (Engine::Cpu(encoder), folder.into_files());
        Ok(Self { tokenizer, shape: config.shape, engine, longest: config.longest, files })
    }

    /// Looks at all of the model in `folder` but the weights themselves.
    ///
    /// # Errors
    /// As [`Model::load`], as far as it looks.
    pub fn check(folder: &Path) -> Result<(), LoadError> {
        read_all_but_weights(&Folder::open(folder)?).map(drop)
    }

    /// Values of a vector of the model in `folder`, of which nothing but the configuration is read.
    ///
    /// # Errors
    /// As [`Model::load`], as far as it looks.
    pub fn dimension_in(folder: &Path) -> Result<usize, LoadError> {
        Ok(Config::read(&Folder::open(folder)?)?.shape.hidden)
    }

    /// Whether the files that it was read from are still what they were before, by all that the file system knows of them.
    /// A model that is not current as soon as it is loaded may be made of the files of two.
    pub fn is_current(&self) -> bool {
        self.files.are_current()
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.shape.hidden
    }

    /// Whether it computes on a device.
    pub fn is_on_device(&self) -> bool {
        matches!(self.engine, Engine::Device(_))
    }

    /// Tokens of the longest text that is not cut, the first and the last one included.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// What the products compute in.
    pub fn precision(&self) -> Precision {
        match &self.engine {
            Engine::Cpu(encoder) => encoder.precision(),
            Engine::Device(_) => Precision::Bf16,
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// The encoder, unless it is on a device.
    pub fn encoder(&self) -> Option<&Encoder> {
        match &self.engine {
            Engine::Cpu(encoder) => Some(encoder),
            Engine::Device(_) => None,
        }
    }
}

/// The configuration, the tokenizer that fits it, and the weights file, of which the header was read.
fn read_all_but_weights(folder: &Folder) -> Result<(Config, WordPiece, Tensors), LoadError> {
    let config = Config::read(folder)?;
    let tokenizer = WordPiece::read(folder)?;
    if tokenizer.vocabulary_size() != config.shape.vocabulary {
        let expected = format!("{}, as many as the tokenizer has", tokenizer.vocabulary_size());
        return Err(folder.value("config.json", "vocab_size", config.shape.vocabulary, expected));
    }
    if config.lowercase && !tokenizer.lowercase() {
        let expected = "false, or a tokenizer that makes letters small itself";
        return Err(folder.value("sentence_bert_config.json", "do_lower_case", true, expected));
    }
    Ok((config, tokenizer, Tensors::open(folder)?))
}

fn read_encoder(
    folder: &Folder,
    tensors: &mut Tensors,
    config: &Config,
    precision: Precision,
) -> Result<Encoder, LoadError> {
    let shape = config.shape;
    let refused = |source| LoadError::Encoder { path: folder.path().to_owned(), source };
    let Embedding { words, positions, token_type, norm } = Embedding::read(tensors, config)?;
    let weights = EmbeddingWeights { words, positions: &positions, token_type: &token_type, norm: norm.weights() };
    let mut encoder = Encoder::new(Cpu::best(), precision, shape, weights).map_err(refused)?;
    for number in 0..shape.layers {
        let layer = Layer::read(tensors, number, &shape)?;
        encoder.push_layer(&layer.weights()).map_err(refused)?;
    }
    Ok(encoder)
}

/// The tensors before the layers.
struct Embedding {
    words: Vec<f32>,
    positions: Vec<f32>,
    /// The row of type 0, which all tokens have.
    token_type: Vec<f32>,
    norm: Norm,
}

impl Embedding {
    fn read(tensors: &mut Tensors, config: &Config) -> Result<Self, LoadError> {
        let EncoderShape { hidden, vocabulary, positions, .. } = config.shape;
        let words = tensors.read("embeddings.word_embeddings.weight", &[vocabulary, hidden])?;
        let positions = tensors.read("embeddings.position_embeddings.weight", &[positions, hidden])?;
        let mut token_type = tensors.read("embeddings.token_type_embeddings.weight", &[config.token_types, hidden])?;
        token_type.truncate(hidden);
        Ok(Self { words, positions, token_type, norm: Norm::read(tensors, "embeddings.LayerNorm", hidden)? })
    }
}

/// The tensors of a norm.
struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Norm {
    fn read(tensors: &mut Tensors, name: &str, width: usize) -> Result<Self, LoadError> {
        let scale = tensors.read(&format!("{name}.weight"), &[width])?;
        Ok(Self { scale, shift: tensors.read(&format!("{name}.bias"), &[width])? })
    }

    fn weights(&self) -> NormWeights<'_> {
        NormWeights { scale: &self.scale, shift: &self.shift }
    }
}

/// The tensors of a linear map.
struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    fn read(tensors: &mut Tensors, name: &str, from: usize, to: usize) -> Result<Self, LoadError> {
        let weight = tensors.read(&format!("{name}.weight"), &[to, from])?;
        Ok(Self { weight, bias: tensors.read(&format!("{name}.bias"), &[to])? })
    }

    fn weights(&self) -> LinearWeights<'_> {
        LinearWeights { weight: &self.weight, bias: &self.bias }
    }
}

/// The tensors of a layer.
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

impl Layer {
    fn read(tensors: &mut Tensors, number: usize, shape: &EncoderShape) -> Result<Self, LoadError> {
        let name = format!("encoder.layer.{number}");
        let EncoderShape { hidden, feed_forward, .. } = *shape;
        let mut linear = |part: &str, from, to| Linear::read(tensors, &format!("{name}.{part}"), from, to);
        Ok(Self {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            up: linear("intermediate.dense", hidden, feed_forward)?,
            down: linear("output.dense", feed_forward, hidden)?,
            attention_norm: Norm::read(tensors, &format!("{name}.attention.output.LayerNorm"), hidden)?,
            output_norm: Norm::read(tensors, &format!("{name}.output.LayerNorm"), hidden)?,
        })
    }

    fn weights(&self) -> LayerWeights<'_> {
        LayerWeights {
            query: self.query.weights(),
            key: self.key.weights(),
            value: self.value.weights(),
            attention_output: self.attention_output.weights(),
            attention_norm: self.attention_norm.weights(),
            up: self.up.weights(),
            down: self.down.weights(),
            output_norm: self.output_norm.weights(),
        }
    }
}
