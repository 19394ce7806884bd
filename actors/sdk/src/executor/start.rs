//! How a process becomes a part of a job.

use std::hint;
use std::io;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::thread;

use tandem_actor_protocol::executor::{ToExecutor, Welcome};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::{PROTOCOL, SDK_MARK, decode, link_limits};
use tandem_arena::MappedArena;
use tandem_frames::{BlockingReceiver, inherited};

use super::link;
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::process::Process;
use crate::registry;
use crate::space::Space;
use crate::transport::Transport;

/// Set by a worker for the processes that it starts.
const EXECUTOR: &str = "TANDEM_EXECUTOR";

/// Why a process is no part of a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// It was started by hand.
    #[error(
        "this program runs as a job of a Tandem cluster\nhelp: type `tandem job submit {program} -- ARGUMENTS`, or build \
         it with the feature `client` of `tandem` to run it from here; with `--list` it prints its functions"
    )]
    ByHand {
        /// How it was called.
        program: String,
    },
    /// The system refused.
    #[error("cannot become a part of the job: {0}")]
    Io(#[from] io::Error),
    /// The worker said something else than it should.
    #[error("the worker did not welcome this process: {0}")]
    NotWelcome(String),
}

impl StartError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::ByHand { .. } => 2,
            Self::Io(_) | Self::NotWelcome(_) => 1,
        }
    }
}

/// Becomes the process that a worker has started. From then on what the worker says is heard.
pub(crate) fn start() -> Result<Arc<Process>, StartError> {
    // By this it is known to be a package before it is started anywhere; nothing else here would keep the linker from leaving it out.
    hint::black_box(SDK_MARK);
    let (process, receiver) =
        join(link_to_worker()?, |outbox| Memory::Shared(Space::new(arena(Arc::clone(&outbox)), outbox)))?;
    let listening = Arc::clone(&process);
    thread::Builder::new().name("tandem-link".to_owned()).spawn(move || link::listen(&listening, receiver))?;
    Ok(process)
}

/// Says hello and waits for the answer.
pub(crate) fn join(
    stream: UnixStream,
    memory: impl FnOnce(Arc<Outbox>) -> Memory,
) -> Result<(Arc<Process>, BlockingReceiver), StartError> {
    let mut receiver = BlockingReceiver::new(stream.try_clone()?, link_limits())?;
    let outbox = Outbox::start(stream)?;
    outbox.send(ToNode::Hello(Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: process::id(),
        functions: registry::names(),
    }));
    outbox.flush();
    let welcome = welcome(&mut receiver)?;
    let memory = memory(Arc::clone(&outbox));
    Ok((Process::new(welcome, outbox, memory), receiver))
}

fn link_to_worker() -> Result<UnixStream, StartError> {
    let by_hand = || StartError::ByHand { program: std::env::args().next().unwrap_or_default() };
    std::env::var_os(EXECUTOR).ok_or_else(by_hand)?;
    // No signal is asked for when the parent dies: it would come at the end of the thread that has started this process, which
    // may be one of a pool. The link ends with the worker, and the thread that hears it runs no other code.
    inherited().map_err(|_| by_hand())
}

fn welcome(receiver: &mut BlockingReceiver) -> Result<Welcome, StartError> {
    let frame = receiver.recv().map_err(|error| StartError::NotWelcome(error.to_string()))?;
    let frame = frame.ok_or_else(|| StartError::NotWelcome("it is gone".to_owned()))?;
    match decode(&frame.payload) {
        Ok(ToExecutor::Welcome(welcome)) => Ok(welcome),
        Ok(other) => Err(StartError::NotWelcome(format!("it said {other:?}"))),
        Err(error) => Err(StartError::NotWelcome(error.to_string())),
    }
}

#[expect(unsafe_code, reason = "the arena is sound only as far as the worker's books are")]
fn arena(outbox: Arc<Outbox>) -> Arc<MappedArena> {
    // SAFETY: all that this arena is told comes over the link to the worker that keeps its books, see `link`. Each value is
    // read once for each time that the worker has sent, and so pinned, it; and unpinned when it is dropped.
    unsafe { MappedArena::new(move |object| outbox.unpin(object)) }
}
