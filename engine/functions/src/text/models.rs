//! Models that this process has loaded. Each is loaded once, and stays for as long as the process, which is one of one job.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

type Loaded = Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>;

static LOADED: LazyLock<Loaded> = LazyLock::new(Loaded::default);

/// The model `name`, which `load` loads unless it was loaded before. Others wait meanwhile: they need the same one.
pub(super) fn model<T: Send + Sync + 'static, E>(name: &str, load: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    // Names of different kinds of models differ, so one of another type is none.
    if let Some(Ok(model)) = loaded.get(name).map(|model| Arc::clone(model).downcast::<T>()) {
        return Ok(model);
    }
    let model = Arc::new(load()?);
    loaded.insert(name.to_owned(), Arc::clone(&model) as _);
    Ok(model)
}
