//! The thread that the desk has for itself, with the links of its executors. What one of them says goes through the node and out to another
//! one without waking a thread in between.

use std::io;
use std::thread::Builder;

use tokio::runtime::{Builder as RuntimeBuilder, Handle};
use tokio::sync::oneshot;

/// Dropped, what runs on it ends at once.
#[derive(Debug)]
pub(crate) struct DeskThread {
    handle: Handle,
    _running: oneshot::Sender<()>,
}

impl DeskThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads, or no more open files.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        Builder::new().name("tandem-desk".to_owned()).spawn(move || {
            // An error says that the other end was dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _running: running })
    }

    /// Where tasks are started to run there.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
