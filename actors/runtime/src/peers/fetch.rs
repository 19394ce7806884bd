//! Reads an object of another worker into the arena here: a large one in parts, over several connections at once. A part that breaks
//! off goes on where it was, unless the object was made again there meanwhile: then all of it is read anew.

use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tandem_actor_protocol::{JobId, Location, ObjectId};
use tandem_arena::ExtentFile;
use tandem_proto::transport::{ConnectError, Connection};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tracing::debug;

use super::channels::Channels;
use super::stream::{Answer, ReadRequest, in_time, thank};

/// From this size on an object is read in parts.
const LARGE_BYTES: u64 = 8 << 20;
const PARTS: usize = 4;
/// What is read at once: it stays in a core's cache on its way to the arena.
const STEP_BYTES: u64 = 256 << 10;
/// How often a part is tried again, and the first wait, which doubles.
const RETRIES: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// What is read and where to.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) job: JobId,
    pub(super) object: ObjectId,
    pub(super) channels: Arc<Channels>,
    pub(super) file: Arc<ExtentFile>,
    pub(super) into: Location,
}

/// Why an attempt has not read all of its part.
enum Failure {
    /// The stream was an old one, and had ended while nobody used it.
    Stale,
    /// It may be tried again.
    Broken(String),
    /// Another part is of another copy.
    Changed,
    /// It cannot be had there.
    Final(String),
}

/// Why an object was not read.
enum NotRead {
    /// It was made again meanwhile: parts are of different copies.
    Changed,
    /// Why, in words.
    Failed(String),
}

impl Fetch {
    /// Reads all of it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) async fn run(self) -> Result<(), String> {
        for _ in 0..=RETRIES {
            match self.whole().await {
                Ok(()) => return Ok(()),
                Err(NotRead::Changed) => debug!(object = %self.object, "an object was made again while it was read"),
                Err(NotRead::Failed(reason)) => return Err(reason),
            }
        }
        Err("it was made again whenever it was read".to_owned())
    }

    /// Reads all parts, of one copy. Afterwards none is being read any more.
    async fn whole(&self) -> Result<(), NotRead> {
        let copy = Arc::new(OnceLock::new());
        let part = |range| self.clone().part(range, Arc::clone(&copy));
        let mut parts: JoinSet<Result<(), NotRead>> = split(self.into.length).into_iter().map(part).collect();
        while let Some(ended) = parts.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(NotRead::Failed(error.to_string())));
            if ended.is_err() {
                parts.shutdown().await;
                return ended;
            }
        }
        Ok(())
    }

    async fn part(self, mut range: Range<u64>, copy: Arc<OnceLock<ObjectId>>) -> Result<(), NotRead> {
        let (mut tries, mut delay) = (0, FIRST_DELAY);
        while !range.is_empty() {
            match self.attempt(&mut range, &copy).await {
                Ok(()) | Err(Failure::Stale) => continue,
                Err(Failure::Broken(reason)) if tries < RETRIES => {
                    debug!(object = %self.object, reason, "reading an object goes on after a while");
                }
                Err(Failure::Broken(reason) | Failure::Final(reason)) => return Err(NotRead::Failed(reason)),
                Err(Failure::Changed) => return Err(NotRead::Changed),
            }
            tokio::time::sleep(delay).await;
            tries += 1;
            delay *= 2;
        }
        Ok(())
    }

    /// Reads what is left of `range`, and moves its start by what has come.
    async fn attempt(&self, range: &mut Range<u64>, copy: &OnceLock<ObjectId>) -> Result<(), Failure> {
        let (start, wanted) = (range.start, range.end - range.start);
        let mut loan = self.channels.stream().await.map_err(no_stream)?;
        let request = ReadRequest { job: self.job, object: self.object, offset: start, length: wanted };
        let asked = async {
            request.send(loan.stream()).await?;
            Answer::receive(loan.stream()).await
        };
        let answer = in_time(asked).await;
        match answer {
            Ok(Answer::Lent { copy: name, .. }) if *copy.get_or_init(|| name) != name => return Err(Failure::Changed),
            Ok(Answer::Lent { length, .. }) if length == wanted => {}
            Ok(Answer::Lent { length, .. }) => {
                return Err(Failure::Final(format!("{length} bytes came in place of {wanted}")));
            }
            Ok(Answer::Gone(reason)) => {
                loan.give_back();
                return Err(Failure::Final(reason));
            }
            Ok(Answer::Later(reason)) => return Err(Failure::Broken(reason)),
            Err(error) if loan.is_old() && error.kind() != io::ErrorKind::TimedOut => return Err(Failure::Stale),
            Err(error) => return Err(broken(&error)),
        }
        self.receive(loan.stream(), range).await?;
        if thank(loan.stream()).await.is_ok() {
            loan.give_back();
        }
        Ok(())
    }

    /// Writes what comes to where it belongs.
    async fn receive(&self, stream: &mut Connection, range: &mut Range<u64>) -> Result<(), Failure> {
        let step = (range.end - range.start).min(STEP_BYTES) as usize;
        let mut bytes = BytesMut::with_capacity(step);
        while !range.is_empty() {
            let left = (range.end - range.start).min(STEP_BYTES) as usize;
            bytes.clear();
            let came = in_time(stream.read_buf(&mut (&mut bytes).limit(left))).await.map_err(|error| broken(&error))?;
            if came == 0 {
                return Err(Failure::Broken("the connection has ended".to_owned()));
            }
            let written = self.file.write_at(&bytes, self.into.offset + range.start);
            written.map_err(|error| Failure::Final(format!("no room for it: {error}")))?;
            range.start += came as u64;
        }
        Ok(())
    }
}

fn no_stream(error: ConnectError) -> Failure {
    if error.retryable() { Failure::Broken(error.to_string()) } else { Failure::Final(error.to_string()) }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Broken(error.to_string())
}

/// The parts of an object.
fn split(bytes: u64) -> Vec<Range<u64>> {
    let parts = if bytes < LARGE_BYTES { 1 } else { PARTS as u64 };
    let part = bytes.div_ceil(parts);
    (0..parts).map(|at| (at * part).min(bytes)..((at + 1) * part).min(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_and_do_not_overlap() {
        for bytes in [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 3] {
            let parts = split(bytes);
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (0, bytes));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(parts.len(), if bytes < LARGE_BYTES { 1 } else { PARTS });
        }
    }
}
