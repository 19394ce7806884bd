//! Sentence encoders of this process, for SQL.
//!
//! ```text
//!   session of a job ──holds──▶ encoder ◀──holds── session of another job        the last one to end frees it
//! ```
//! Invariant: an encoder is loaded once, however many tasks and jobs use it, and its memory is that of the pool of the task that
//! came first: where it does not fit, tasks fail for want of memory.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use arrow::array::{ArrayRef, FixedSizeListArray, StringArray};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tandem_text::model::{Model, ModelPrecision};

use crate::error::TaskError;

/// The largest file of a folder, and the one that another model differs in.
const WEIGHTS: &str = "model.safetensors";
/// A task has one processor.
const THREADS: usize = 1;
/// Texts without rows, such as what is searched for, whose vectors are kept.
const KEPT: usize = 64;

static LOADED: LazyLock<Mutex<HashMap<Name, Weak<TextEncoder>>>> = LazyLock::new(Mutex::default);

/// What is loaded: a folder as it is now, in one precision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    folder: PathBuf,
    precision: String,
    weights: Option<(u64, SystemTime)>,
}

/// The encoders that one session has asked for.
pub(super) struct Encoders {
    pool: Arc<dyn MemoryPool>,
    held: Mutex<HashMap<(PathBuf, String), Arc<TextEncoder>>>,
}

impl fmt::Debug for Encoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoders").finish_non_exhaustive()
    }
}

impl Encoders {
    /// None yet; they will take memory of `pool`.
    pub(super) fn new(pool: Arc<dyn MemoryPool>) -> Self {
        Self { pool, held: Mutex::default() }
    }

    /// The model in `folder`. Others wait while it is loaded: they need the same one.
    pub(super) fn get(&self, folder: &Path, precision: ModelPrecision) -> Result<Arc<TextEncoder>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (folder.to_owned(), precision.to_string());
        if let Some(encoder) = held.get(&key) {
            return Ok(Arc::clone(encoder));
        }
        let encoder = self.of_process(folder, precision)?;
        held.insert(key, Arc::clone(&encoder));
        Ok(encoder)
    }

    fn of_process(&self, folder: &Path, precision: ModelPrecision) -> Result<Arc<TextEncoder>> {
        let file = folder.join(WEIGHTS).metadata().ok();
        let weights = file.and_then(|file| Some((file.len(), file.modified().ok()?)));
        let name = Name { folder: folder.to_owned(), precision: precision.to_string(), weights };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = loaded.get(&name).and_then(Weak::upgrade) {
            return Ok(encoder);
        }
        loaded.retain(|_, encoder| encoder.strong_count() > 0);
        let memory = MemoryConsumer::new(format!("model {}", folder.display())).register(&self.pool);
        memory.try_grow(weights.map_or(0, |(bytes, _)| usize::try_from(bytes).unwrap_or(usize::MAX)))?;
        let model = Model::load(folder, precision).map_err(|error| wrong(&error))?;
        let encoder = Arc::new(TextEncoder { model, kept: Mutex::default(), _memory: memory });
        loaded.insert(name, Arc::downgrade(&encoder));
        Ok(encoder)
    }
}

/// A model, and the memory that it takes.
pub(super) struct TextEncoder {
    model: Model,
    /// Vectors of texts that are the same for all rows.
    kept: Mutex<HashMap<String, ScalarValue>>,
    _memory: MemoryReservation,
}

impl TextEncoder {
    /// Values of a vector.
    pub(super) fn dimension(&self) -> usize {
        self.model.dimension()
    }

    /// The vectors of a column of texts, encoded together.
    pub(super) fn column(&self, texts: &StringArray) -> Result<ArrayRef> {
        Ok(Arc::new(self.vectors(texts)?))
    }

    /// The vector of one text for all rows of all batches, encoded once.
    pub(super) fn constant(&self, text: Option<&str>) -> Result<ScalarValue> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.unwrap_or_default();
        if let Some(vector) = kept.get(text) {
            return Ok(vector.clone());
        }
        let vector = ScalarValue::FixedSizeList(Arc::new(self.vectors(&StringArray::from(vec![text]))?));
        if kept.len() == KEPT {
            kept.clear();
        }
        kept.insert(text.to_owned(), vector.clone());
        Ok(vector)
    }

    fn vectors(&self, texts: &StringArray) -> Result<FixedSizeListArray> {
        let embeddings = self.model.embed_column(texts, THREADS).map_err(|error| wrong(&error))?;
        Ok(embeddings.to_column())
    }
}

/// What is wrong with a model is so on any worker.
fn wrong(error: &dyn std::error::Error) -> datafusion::error::DataFusionError {
    TaskError::Fatal(format!("{}: {error}", super::embed::NAME)).into()
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};
    use tandem_text::model::ModelPrecision::Auto;

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gpu-kernels/text/tests/vectors/tiny_model")
    }

    #[test]
    fn sessions_share_an_encoder_and_the_last_one_frees_it() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let sessions = [Encoders::new(Arc::clone(&pool)), Encoders::new(Arc::clone(&pool))];
        let [first, second] = sessions.each_ref().map(|session| session.get(&folder(), Auto).unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        let bytes = folder().join(WEIGHTS).metadata().unwrap().len();
        assert_eq!(pool.reserved() as u64, bytes);
        drop((first, second));
        let [one, other] = sessions;
        drop(one);
        assert_eq!(pool.reserved() as u64, bytes);
        drop(other);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn a_model_that_does_not_fit_into_memory_is_not_loaded() {
        let encoders = Encoders::new(Arc::new(GreedyMemoryPool::new(1000)));
        let error = encoders.get(&folder(), Auto).err();
        let error = TaskError::from(error.expect("no room"));
        assert!(matches!(&error, TaskError::Resources(message) if message.contains("tiny_model")), "{error:?}");
    }

    #[test]
    fn a_text_that_is_the_same_for_all_rows_is_encoded_once() {
        let encoders = Encoders::new(Arc::new(UnboundedMemoryPool::default()));
        let encoder = encoders.get(&folder(), Auto).unwrap();
        for number in 0..KEPT * 2 {
            let text = format!("the market {number}");
            let vector = encoder.constant(Some(&text)).unwrap();
            assert_eq!(vector, encoder.constant(Some(&text)).unwrap());
            let column = encoder.column(&StringArray::from(vec![text])).unwrap();
            assert_eq!(vector, ScalarValue::try_from_array(&column, 0).unwrap());
        }
        assert!(encoder.kept.lock().unwrap().len() <= KEPT);
        assert!(encoder.constant(None).unwrap().is_null());
        assert!(encoder.column(&StringArray::from(vec![None::<&str>])).unwrap().is_null(0));
    }
}
