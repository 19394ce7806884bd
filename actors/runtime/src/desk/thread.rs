//! The thread that the desk has for itself, with the links of its executors. What one of them says goes through the node and out to another
//! one without waking a thread in between.

use std::io;
use std::thread::Builder;

use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::oneshot;

/// Dropped, what runs on it ends at once.
#[derive(Debug)]
pub(crate) struct DeskThread {
    _running: oneshot::Sender<()>,
}

impl DeskThread {
    /// Starts the thread with `desk` on it, which may start more there.
    ///
    /// # Errors
    /// When there can be no more threads, or no more open files.
    pub(crate) fn start(desk: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build()?;
        drop(runtime.spawn(desk));
        let (running, ended) = oneshot::channel::<()>();
        Builder::new().name("tandem-desk".to_owned()).spawn(move || {
            // An error says that the other end was dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { _running: running })
    }
}
