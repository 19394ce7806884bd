//! The thread that starts processes. They may ask the system to end them when their parent is gone, and for the system that is
//! the thread that started them; so it is one that lives as long as the runtime.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use std::os::unix::process::CommandExt;
use tokio::sync::oneshot;

use crate::watch::Leaders;

/// A file that was just written may still be open for writing in a process that is being started elsewhere.
const BUSY_RETRIES: u32 = 20;
const BUSY_DELAY: Duration = Duration::from_millis(10);

/// See the module's header. Dropped, it starts no more, and what it has started and asked for that is ended.
#[derive(Debug)]
pub(crate) struct Spawner {
    /// None once it is being dropped.
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Spawned>>,
}

/// A process that nobody watches yet. Dropped, it is killed and reaped.
#[derive(Debug)]
pub(crate) struct Spawned {
    child: Option<Child>,
    leaders: Leaders,
}

impl Spawner {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(leaders: Leaders) -> io::Result<Self> {
        let (requests, inbox) = channel();
        let thread = Builder::new().name("tandem-spawner".to_owned()).spawn(move || serve(&inbox, &leaders))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Starts `command` in a group of its own.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Spawned> {
        let stopped = || io::Error::other("no processes are started any more");
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(stopped)?;
        requests.send(Request { command, reply }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It starts at most one more.
            let _ = thread.join();
        }
    }
}

impl Spawned {
    /// The process.
    pub(crate) fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    /// Hands it over to who watches it from now on.
    pub(crate) fn take(mut self) -> Option<Child> {
        self.child.take()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            self.leaders.remove(child.id() as i32);
        }
    }
}

fn serve(inbox: &Receiver<Request>, leaders: &Leaders) {
    while let Ok(Request { mut command, reply }) = inbox.recv() {
        command.process_group(0);
        let spawned = spawn(&mut command, leaders);
        // The ends of pipes and of the link that the child has.
        drop(command);
        // Nobody may want it any more.
        let _ = reply.send(spawned.map(|child| Spawned { child: Some(child), leaders: leaders.clone() }));
    }
}

fn spawn(command: &mut Command, leaders: &Leaders) -> io::Result<Child> {
    let mut retries = BUSY_RETRIES;
    loop {
        match leaders.spawn(command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && retries > 0 => {
                retries -= 1;
                sleep(BUSY_DELAY);
            }
            spawned => return spawned,
        }
    }
}
