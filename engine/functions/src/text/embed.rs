//! `embed`: the vector of each text, by a sentence encoder in a folder of the user's.
//!
//!   column text ─► output: as many floats as the model has, of length 1; null for a text without a token
//!                  output_status: `embedded`, `cut` if the text was longer than the model takes, `unembeddable`
//!
//! The same text has the same vector in any batch and on any worker with the same kind of processor; in `f32` on any worker. A call that was
//! given a GPU uses it, in bfloat16, unless another precision is asked for or the GPU does not work. One that fails is given up: the
//! batch at hand and all later ones of the process are left to the CPU.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use tandem_text::LoadError;
use tandem_text::columns::vector_type;
use tandem_text::device::Device;
use tandem_text::embed::{EmbedError, Embeddings};
use tandem_text::model::{Model, ModelPrecision, Precision};

use super::device::{self, Gpu};
use super::{added, models};
use crate::columns::{self, Kind};
use crate::error::CallError;
use crate::work::Work;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    /// A folder in the layout of Hugging Face.
    model: PathBuf,
    /// The texts.
    column: String,
    /// The column of vectors.
    #[serde(default = "default_output")]
    output: String,
    /// `auto`, `f32`, `bf16` or `int8`.
    #[serde(default)]
    precision: Option<String>,
}

fn default_output() -> String {
    "embedding".to_owned()
}

impl Args {
    fn parse(args: &str) -> Result<Self, CallError> {
        serde_json::from_str(args).map_err(|error| CallError::args(&error))
    }

    fn precision(&self) -> Result<ModelPrecision, CallError> {
        let named = self.precision.as_deref().map(str::parse).transpose();
        Ok(named
            .map_err(|error: tandem_text::model::UnknownPrecision| CallError::Args(error.to_string()))?
            .unwrap_or_default())
    }

    /// The model on the GPU, if that can compute what is asked for.
    fn model_on(&self, gpu: &Gpu<Device, Model>) -> Result<Option<Arc<Model>>, CallError> {
        if !matches!(self.precision()?, ModelPrecision::Auto | ModelPrecision::Only(Precision::Bf16)) {
            return Ok(None);
        }
        gpu.model(&self.model, |device| match Model::load_to(&self.model, device) {
            Ok(model) => Ok(Some(model)),
            // What is wrong with the model itself is told by the CPU.
            Err(error @ (LoadError::Device { .. } | LoadError::Value { .. })) => {
                eprintln!("cpu: {error}");
                Ok(None)
            }
            Err(error) => Err(CallError::model(&error)),
        })
    }

    fn model(&self) -> Result<Arc<Model>, CallError> {
        let precision = self.precision()?;
        let name = format!("embed {precision} {}", self.model.display());
        models::model(&name, || Model::load(&self.model, precision)).map_err(|error| CallError::model(&error))
    }

    fn added(&self, dimension: usize) -> Result<Vec<Field>, CallError> {
        let vector = vector_type(dimension)
            .ok_or_else(|| CallError::Model(format!("vectors of {dimension} values are too long for a column")))?;
        Ok(vec![
            Field::new(&self.output, vector, true),
            Field::new(format!("{}_status", self.output), DataType::Utf8, false),
        ])
    }
}

pub(super) fn plan(args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
    let args = Args::parse(args)?;
    args.precision()?;
    columns::check(input, &[(&args.column, Kind::Text)])?;
    let dimension = Model::dimension_in(&args.model).map_err(|error| CallError::model(&error))?;
    added::schema(input, &args.added(dimension)?)
}

pub(super) fn check(args: &str) -> Result<(), CallError> {
    let args = Args::parse(args)?;
    args.precision()?;
    Model::check(&args.model).map_err(|error| CallError::model(&error))
}

pub(super) fn call(args: &str, batches: &[RecordBatch], work: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
    let args = Args::parse(args)?;
    batches.iter().map(|batch| embed(&args, batch, work)).collect()
}

fn embed(args: &Args, batch: &RecordBatch, work: &mut Work) -> Result<RecordBatch, CallError> {
    let texts = columns::text(batch, &args.column)?;
    let Encoded { embeddings, device, elapsed } = encode(args, &texts)?;
    work.add("rows", &device, batch.num_rows() as u64, elapsed);
    work.add("tokens", &device, embeddings.tokens() as u64, elapsed);
    let added = args.added(embeddings.dimension())?;
    added::columns(batch, &added, vec![Arc::new(embeddings.to_column()), statuses(&embeddings)])
}

/// What texts became, where, and in what time.
struct Encoded {
    embeddings: Embeddings,
    /// With the precision.
    device: String,
    elapsed: Duration,
}

/// On the GPU of this process if it has one that works, else on the CPU.
fn encode(args: &Args, texts: &StringArray) -> Result<Encoded, CallError> {
    if let Some(gpu) = device::gpu()
        && let Some(model) = args.model_on(gpu)?
        && let Some(encoded) = gpu.outcome(encode_by(&model, texts))
    {
        return encoded.map_err(|error| CallError::model(&error));
    }
    encode_by(&*args.model()?, texts).map_err(|error| CallError::model(&error))
}

fn encode_by(model: &Model, texts: &StringArray) -> Result<Encoded, EmbedError> {
    let started = Instant::now();
    // A call has one processor.
    let embeddings = model.embed_column(texts, 1)?;
    let device = if model.is_on_device() { "cuda" } else { "cpu" };
    Ok(Encoded { embeddings, device: format!("{device}, {}", model.precision()), elapsed: started.elapsed() })
}

fn statuses(embeddings: &Embeddings) -> ArrayRef {
    let status = |text| match embeddings.vector(text) {
        None => "unembeddable",
        Some(_) if embeddings.was_cut(text) => "cut",
        Some(_) => "embedded",
    };
    Arc::new(StringArray::from_iter_values((0..embeddings.len()).map(status)))
}
