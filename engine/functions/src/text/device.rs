//! The GPU of this process: a worker shows a process the GPUs that its calls were given, and no others.
//! Invariant: once work on it has failed, nothing is tried or kept there any more, and one line of the job's log says why.
//!
//!   Works: models by folder ── work fails ──► Failed

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tandem_text::device::{Device, DeviceConfig, DeviceError, Remedy, open};
use tandem_text::embed::EmbedError;
use tandem_text::model::Model;

/// Which devices a process may use, by their numbers.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

static GPU: LazyLock<Option<Gpu<Device, Model>>> = LazyLock::new(|| {
    let given = std::env::var(VISIBLE).is_ok_and(|devices| !devices.is_empty());
    if !given {
        return None;
    }
    let opened = open(&DeviceConfig::default());
    // For the log of the job.
    match &opened {
        Ok((_, probe)) => eprintln!("{probe}"),
        Err(error) => eprintln!("cpu: {error}"),
    }
    opened.ok().and_then(|(device, _)| device).map(Gpu::new)
});

/// The first of the GPUs that this process was given, if it was given any and they can be opened.
pub(super) fn gpu() -> Option<&'static Gpu<Device, Model>> {
    GPU.as_ref()
}

/// A device, and the models on it.
pub(super) struct Gpu<D, M> {
    device: D,
    state: Mutex<State<M>>,
}

enum State<M> {
    /// Folders that were asked for; none for a model that the device does not take.
    Works(HashMap<PathBuf, Option<Arc<M>>>),
    Failed,
}

impl<D, M> Gpu<D, M> {
    fn new(device: D) -> Self {
        Self { device, state: Mutex::new(State::Works(HashMap::new())) }
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model in `folder`, which `load` brings to the device the first time: others wait meanwhile, as they need the same
    /// one. None if the device does not take it, or has failed.
    pub(super) fn model<E>(
        &self,
        folder: &Path,
        load: impl FnOnce(&D) -> Result<Option<M>, E>,
    ) -> Result<Option<Arc<M>>, E> {
        let mut state = self.state();
        let State::Works(models) = &mut *state else { return Ok(None) };
        if let Some(model) = models.get(folder) {
            return Ok(model.clone());
        }
        let model = load(&self.device)?.map(Arc::new);
        models.insert(folder.to_owned(), model.clone());
        Ok(model)
    }

    /// What came of work on the device. None if the device is at fault and not the input: it is given up then, and the CPU
    /// has to do the work.
    pub(super) fn outcome<T>(&self, outcome: Result<T, EmbedError>) -> Option<Result<T, EmbedError>> {
        match outcome {
            Err(EmbedError::Device(error)) if error.remedy() != Remedy::FixInput => {
                self.give_up(&error);
                None
            }
            outcome => Some(outcome),
        }
    }

    fn give_up(&self, error: &DeviceError) {
        let before = std::mem::replace(&mut *self.state(), State::Failed);
        // Calls that were under way fail as well, and say nothing more.
        if matches!(before, State::Works(_)) {
            eprintln!("cpu: {error}; the GPU is given up");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The model `name` of a device without a number, and how many times models were loaded.
    fn load(gpu: &Gpu<(), String>, name: &str, loads: &mut u32) -> Option<Arc<String>> {
        let load = |(): &()| {
            *loads += 1;
            Ok::<_, Infallible>((name != "large").then(|| name.to_owned()))
        };
        gpu.model(Path::new(name), load).expect("loading does not fail")
    }

    #[test]
    fn a_model_is_brought_once_and_one_that_is_not_taken_is_not_tried_again() {
        let gpu = Gpu::new(());
        let mut loads = 0;
        for _ in 0..3 {
            assert_eq!(load(&gpu, "small", &mut loads).expect("a model").as_str(), "small");
            assert_eq!(load(&gpu, "large", &mut loads), None);
        }
        assert_eq!(loads, 2);
        let failed = gpu.model(Path::new("bad"), |()| Err("no such folder"));
        assert_eq!(failed, Err("no such folder"));
    }

    #[test]
    fn a_device_that_fails_gets_no_more_work_and_keeps_nothing() {
        let gpu = Gpu::new(());
        let mut loads = 0;
        let model = Arc::downgrade(&load(&gpu, "small", &mut loads).expect("a model"));
        assert_eq!(gpu.outcome(Ok(3)), Some(Ok(3)));
        let out_of_memory = DeviceError::OutOfMemory { asked_bytes: 2, free_bytes: 1 };
        for failure in [DeviceError::Faulted { cause: "an address".to_owned() }, out_of_memory] {
            assert_eq!(gpu.outcome::<()>(Err(failure.into())), None);
            assert_eq!(load(&gpu, "small", &mut loads), None);
            assert_eq!(load(&gpu, "other", &mut loads), None);
        }
        assert!(model.upgrade().is_none() && loads == 1);
    }

    #[test]
    fn input_that_is_no_good_is_no_fault_of_the_device() {
        let gpu = Gpu::new(());
        let bad = open(&DeviceConfig { memory_fraction: 0.0, ..DeviceConfig::default() })
            .expect_err("no share of the memory");
        let DeviceError::Input(cause) = bad.clone() else { panic!("{bad}") };
        for error in [EmbedError::Input(cause), EmbedError::Device(bad)] {
            assert_eq!(gpu.outcome::<()>(Err(error.clone())), Some(Err(error)));
        }
        assert!(load(&gpu, "small", &mut 0).is_some());
    }
}
