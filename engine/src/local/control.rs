//! What other commands ask the supervisor of `cluster up`, over a Unix socket in its folder: one line of JSON each way.
//! Only the folder's user can reach the socket.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::folder::{FolderError, StateFolder};

/// What the supervisor can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlRequest {
    /// Have this many workers.
    Scale { workers: u32 },
    /// Process ids, please.
    Processes,
    /// End the cluster. Answered when everything but the supervisor is gone.
    Down,
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlAnswer {
    Done,
    Processes(BTreeMap<String, u32>),
    Failed { message: String },
}

/// One question and the place for its answer.
pub(crate) type Asked = (ControlRequest, oneshot::Sender<ControlAnswer>);

/// Asks the supervisor of `folder` and waits for its answer.
pub(crate) async fn ask(folder: &StateFolder, request: &ControlRequest) -> Result<ControlAnswer, FolderError> {
    let path = folder.control_socket();
    exchange(&path, request).await.map_err(|source| FolderError::Io { path, source })
}

async fn exchange(path: &Path, request: &ControlRequest) -> io::Result<ControlAnswer> {
    let (_folder, short) = short_path(path)?;
    let mut stream = BufReader::new(UnixStream::connect(short).await?);
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.get_mut().write_all(line.as_bytes()).await?;
    line.clear();
    stream.read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

/// Opens the socket and passes on what is asked, until the receiver is dropped.
pub(crate) fn serve_control(folder: &StateFolder) -> Result<mpsc::Receiver<Asked>, FolderError> {
    let path = folder.control_socket();
    let opened = short_path(&path).and_then(|(_folder, short)| UnixListener::bind(short));
    let listener = opened.map_err(|source| FolderError::Io { path, source })?;
    let (asked, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, asked.clone()) => {}
            () = asked.closed() => {}
        }
    });
    Ok(receiver)
}

async fn accept(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, asked).await {
                        tracing::warn!(%error, "a question on the control socket was not answered");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the control socket accepts nobody");
                return;
            }
        }
    }
}

async fn converse(stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let request: ControlRequest = serde_json::from_str(&line)?;
    let (answer, answered) = oneshot::channel();
    let gone = || io::Error::other("the cluster is being stopped");
    asked.send((request, answer)).await.map_err(|_| gone())?;
    let mut line = serde_json::to_string(&answered.await.map_err(|_| gone())?)?;
    line.push('\n');
    stream.get_mut().write_all(line.as_bytes()).await
}

/// A socket's path may not exceed 107 bytes; through an open folder it never does. Keep the file while using the path.
fn short_path(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, short))
}
