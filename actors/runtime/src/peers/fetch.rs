//! Reads an object of another worker into the arena here: a large one in parts, over several connections at once. A part that breaks
//! off goes on where it was.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tandem_actor_protocol::{JobId, Location, ObjectId};
use tandem_arena::ExtentFile;
use tandem_proto::v1::ReadObjectRequest;
use tandem_proto::v1::peer_service_client::PeerServiceClient;
use tokio::task::JoinSet;
use tonic::Code;
use tracing::debug;

use super::channels::{Channels, LANES};

/// From this size on an object is read in parts.
const LARGE_BYTES: u64 = 8 << 20;
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

/// Why a part could not be read.
enum Failure {
    /// It may be tried again.
    Broken(String),
    /// It cannot be had there.
    Final(String),
}

impl Fetch {
    /// Reads all of it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) async fn run(self) -> Result<(), String> {
        let whole = self.into.length;
        let mut parts: JoinSet<Result<(), String>> = split(whole)
            .into_iter()
            .enumerate()
            .map(|(lane, range)| {
                let fetch = self.clone();
                async move { fetch.part(lane, range).await }
            })
            .collect();
        while let Some(ended) = parts.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    async fn part(&self, lane: usize, mut range: Range<u64>) -> Result<(), String> {
        let mut delay = FIRST_DELAY;
        for tries in 0.. {
            match self.stream(lane, &mut range).await {
                Ok(()) => return Ok(()),
                Err(Failure::Broken(reason)) if tries < RETRIES => {
                    debug!(object = %self.object, reason, "reading an object goes on after a while");
                }
                Err(Failure::Broken(reason) | Failure::Final(reason)) => return Err(reason),
            }
            tokio::time::sleep(delay).await;
            delay *= 2;
        }
        Ok(())
    }

    /// Reads what is left of `range`, and moves its start by what has come.
    async fn stream(&self, lane: usize, range: &mut Range<u64>) -> Result<(), Failure> {
        if range.is_empty() {
            return Ok(());
        }
        let channel = self.channels.lane(lane).await.map_err(|error| Failure::Broken(error.to_string()))?;
        let request = ReadObjectRequest {
            job: self.job.0,
            object: self.object.0.to_be_bytes().to_vec(),
            offset: range.start,
            length: range.end - range.start,
        };
        let mut chunks = PeerServiceClient::new(channel).read_object(request).await.map_err(failure)?.into_inner();
        while let Some(chunk) = chunks.message().await.map_err(failure)? {
            let length = chunk.data.len() as u64;
            if length > range.end - range.start {
                return Err(Failure::Final("more bytes came than the object has".to_owned()));
            }
            let written = self.file.write_at(&chunk.data, self.into.offset + range.start);
            written.map_err(|error| Failure::Final(format!("no room for it: {error}")))?;
            range.start += length;
        }
        if range.is_empty() { Ok(()) } else { Err(Failure::Final("fewer bytes came than the object has".to_owned())) }
    }
}

fn failure(status: tonic::Status) -> Failure {
    let reason = status.message().to_owned();
    match status.code() {
        Code::NotFound | Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied | Code::DataLoss => {
            Failure::Final(reason)
        }
        _ => Failure::Broken(reason),
    }
}

/// The parts of an object.
fn split(bytes: u64) -> Vec<Range<u64>> {
    let parts = if bytes < LARGE_BYTES { 1 } else { LANES as u64 };
    let part = bytes.div_ceil(parts);
    (0..parts).map(|lane| (lane * part).min(bytes)..((lane + 1) * part).min(bytes)).collect()
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
            assert_eq!(parts.len(), if bytes < LARGE_BYTES { 1 } else { LANES });
        }
    }
}
