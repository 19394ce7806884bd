//! Sentence encoders of this process, for SQL.
//!
//! ```text
//!   session of a job ──holds──▶ encoder ◀──holds── session of another job        and for a minute after the last of them: the process
//! ```
//! Invariant: an encoder is loaded once, however many tasks and jobs use it, and its memory is that of the pool of the task that
//! came first: where it does not fit, tasks fail for want of memory. A job that starts gets the model that is in the folder then;
//! those that run keep the one they have.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, FixedSizeListArray, StringArray};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tandem_text::model::{Model, ModelPrecision};

use super::kept::Kept;
use crate::error::TaskError;

/// The largest file of a folder.
const WEIGHTS: &str = "model.safetensors";
/// A task has one processor.
const THREADS: usize = 1;
/// Texts without rows, such as what is searched for, whose vectors are kept.
const KEPT: usize = 64;

/// How many models stay that no job uses, and for how long.
const IDLE_MODELS: usize = 4;
const IDLE: Duration = Duration::from_secs(60);
/// How often a model is read whose folder changes meanwhile.
const READS: usize = 3;

static LOADED: Mutex<Kept<Name, TextEncoder>> = Mutex::new(Kept::new(IDLE_MODELS, IDLE));

/// What is loaded: a folder, in one precision.
type Name = (PathBuf, ModelPrecision);

/// Frees models that no job has used for a while. To be called now and then where jobs run.
pub fn free_idle_models() {
    free_idle(Instant::now());
}

fn free_idle(now: Instant) {
    let mut loaded = match LOADED.try_lock() {
        Ok(loaded) => loaded,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Whoever has it now loads a model, and has tidied up before.
        Err(TryLockError::WouldBlock) => return,
    };
    let idle = loaded.tidy(now);
    drop(loaded);
    drop(idle);
}

/// The encoders that one session has asked for.
pub(super) struct Encoders {
    pool: Arc<dyn MemoryPool>,
    held: Mutex<HashMap<Name, Arc<TextEncoder>>>,
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

    /// The model in `folder`, the same one for as long as the session lasts. Others wait while it is loaded: they need the same
    /// one.
    pub(super) fn get(&self, folder: &Path, precision: ModelPrecision) -> Result<Arc<TextEncoder>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (folder.to_owned(), precision);
        if let Some(encoder) = held.get(&name) {
            return Ok(Arc::clone(encoder));
        }
        let encoder = self.of_process(&name)?;
        held.insert(name, Arc::clone(&encoder));
        Ok(encoder)
    }

    fn of_process(&self, name: &Name) -> Result<Arc<TextEncoder>> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = loaded.get(name).filter(|encoder| encoder.model.is_current()) {
            return Ok(encoder);
        }
        let now = Instant::now();
        drop(loaded.tidy(now));
        let memory = self.reserve(&name.0).or_else(|_| {
            drop(loaded.take_idle(now));
            self.reserve(&name.0)
        })?;
        let encoder = Arc::new(TextEncoder { model: load(name)?, kept: Mutex::default(), _memory: memory });
        loaded.insert(name.clone(), Arc::clone(&encoder));
        Ok(encoder)
    }

    /// Memory for the model in `folder`.
    fn reserve(&self, folder: &Path) -> Result<MemoryReservation> {
        let memory = MemoryConsumer::new(format!("model {}", folder.display())).register(&self.pool);
        // What is wrong with a folder without weights is told when it is loaded.
        let bytes = folder.join(WEIGHTS).metadata().map_or(0, |file| file.len());
        memory.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        Ok(memory)
    }
}

/// Reads a model, once more if its folder has changed meanwhile: it would be made of two.
fn load((folder, precision): &Name) -> Result<Model> {
    for _ in 0..READS {
        let model = Model::load(folder, *precision).map_err(|error| wrong(&error))?;
        if model.is_current() {
            return Ok(model);
        }
    }
    let what = format!("{}: {}: files change while they are read", super::embed::NAME, folder.display());
    Err(TaskError::Retry(what).into())
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
    use tempfile::TempDir;

    use super::*;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model");

    /// A model of its own for a test, and the bytes of its weights.
    fn model() -> (TempDir, usize) {
        let copy = TempDir::new().unwrap();
        for folder in ["", "1_Pooling"] {
            std::fs::create_dir_all(copy.path().join(folder)).unwrap();
            for file in Path::new(MODEL).join(folder).read_dir().unwrap().map(Result::unwrap) {
                if file.path().is_file() {
                    std::fs::copy(file.path(), copy.path().join(folder).join(file.file_name())).unwrap();
                }
            }
        }
        let bytes = copy.path().join(WEIGHTS).metadata().unwrap().len();
        (copy, bytes as usize)
    }

    #[test]
    fn sessions_share_an_encoder_that_stays_for_a_while_after_the_last_one() {
        let (folder, bytes) = model();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let session = || Encoders::new(Arc::clone(&pool));
        let sessions = [session(), session()];
        let [first, second] = sessions.each_ref().map(|session| session.get(folder.path(), Auto).unwrap());
        assert!(Arc::ptr_eq(&first, &second) && pool.reserved() == bytes);
        let loaded = Arc::as_ptr(&first);
        drop((sessions, first, second));
        let now = Instant::now();
        free_idle(now);
        let next = session();
        assert_eq!(Arc::as_ptr(&next.get(folder.path(), Auto).unwrap()), loaded, "it is not loaded again");
        free_idle(now + 2 * IDLE);
        assert_eq!(pool.reserved(), bytes, "it is used");
        drop(next);
        free_idle(now + 3 * IDLE);
        free_idle(now + 4 * IDLE);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn a_session_that_starts_after_the_folder_has_changed_has_another_model() {
        let (folder, _) = model();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let sessions = [Encoders::new(Arc::clone(&pool)), Encoders::new(Arc::clone(&pool))];
        let before = sessions[0].get(folder.path(), Auto).unwrap();
        std::fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 3}"#).unwrap();
        let after = sessions[1].get(folder.path(), Auto).unwrap();
        assert!(Arc::ptr_eq(&before, &sessions[0].get(folder.path(), Auto).unwrap()), "a session keeps its own");
        let text = Some("the market and the news");
        assert_ne!(before.constant(text).unwrap(), after.constant(text).unwrap(), "only the first words count now");
    }

    #[test]
    fn a_model_that_does_not_fit_into_memory_is_not_loaded() {
        let (folder, _) = model();
        let encoders = Encoders::new(Arc::new(GreedyMemoryPool::new(1000)));
        let error = TaskError::from(encoders.get(folder.path(), Auto).err().expect("no room"));
        let name = folder.path().display().to_string();
        assert!(matches!(&error, TaskError::Resources(message) if message.contains(&name)), "{error:?}");
    }

    #[test]
    fn models_that_nobody_uses_make_room_for_another() {
        let ((one, bytes), (other, _)) = (model(), model());
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(bytes + bytes / 2));
        let sessions = [Encoders::new(Arc::clone(&pool)), Encoders::new(Arc::clone(&pool))];
        sessions[0].get(one.path(), Auto).unwrap();
        assert!(sessions[1].get(other.path(), Auto).is_err(), "it is used");
        let [first, second] = sessions;
        drop(first);
        second.get(other.path(), Auto).unwrap();
        assert_eq!(pool.reserved(), bytes);
    }

    #[test]
    fn a_text_that_is_the_same_for_all_rows_is_encoded_once() {
        let encoders = Encoders::new(Arc::new(UnboundedMemoryPool::default()));
        let encoder = encoders.get(Path::new(MODEL), Auto).unwrap();
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
