//! Uploading and downloading packages. Files are read and written on threads for that.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tandem_jobs::planned::PlannedProgram;
use tandem_package::{Needs, PackageHash, check_names};
use tandem_proto::v1::package_service_server::PackageService;
use tandem_proto::{CHUNK_BYTES, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

use super::message::{ClusterHandle, Seen};
use super::planning::with_help;
use crate::packages::{PackageError, PackageStore, Present, Upload};

/// Pieces that wait for their reader.
const PIECES: usize = 8;

/// What clients have brought.
#[derive(Debug, Clone)]
pub(crate) struct PackageStores {
    pub(crate) packages: Arc<PackageStore>,
    pub(crate) attached: Arc<PackageStore>,
}

impl PackageStores {
    fn of(&self, attached: bool) -> &Arc<PackageStore> {
        if attached { &self.attached } else { &self.packages }
    }

    /// What a program needs must be here before its job is accepted.
    ///
    /// # Errors
    /// What is missing, or cannot be.
    pub(super) fn check(&self, program: &PlannedProgram) -> Result<(), PackageError> {
        check_names(program.files.iter().map(|file| file.name.as_str())).map_err(PackageError::Attached)?;
        let package = Some(&program.package).filter(|package| !package.is_empty());
        let packages = package.into_iter().map(|package| (&self.packages, package));
        let files = program.files.iter().map(|file| (&self.attached, &file.hash));
        packages.chain(files).try_for_each(|(store, name)| {
            let hash = name.parse().map_err(|error| PackageError::Name(name.clone(), error))?;
            match store.stat(hash)? {
                Present::Whole(_) => Ok(()),
                Present::Part(_) => Err(PackageError::Absent(hash)),
            }
        })
    }
}

/// Serves clients and workers.
pub(crate) struct PackageRpc {
    pub(crate) stores: PackageStores,
    pub(crate) handle: ClusterHandle,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<v1::Chunk, Status>> + Send>>;

impl PackageRpc {
    /// Runs what may wait for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        attached: bool,
        work: impl FnOnce(&PackageStore) -> Result<T, PackageError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.stores.of(attached).clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| Status::internal(error.to_string()))?.map_err(Status::from)
    }

    /// Makes room, now that there is one more of a kind.
    async fn collect(&self, attached: bool) -> Result<(), Status> {
        let needed = self.handle.look(needed_packages).await?;
        self.on_disk(attached, move |store| {
            store.collect(&needed);
            Ok(())
        })
        .await
    }
}

/// The packages and attached files of jobs that may still run.
pub(crate) fn needed_packages(seen: &Seen<'_>) -> HashSet<PackageHash> {
    seen.jobs.packages().filter_map(|hash| hash.parse().ok()).collect()
}

#[tonic::async_trait]
impl PackageService for PackageRpc {
    type DownloadStream = Chunks;

    async fn stat(
        &self,
        request: Request<v1::StatPackageRequest>,
    ) -> Result<Response<v1::StatPackageResponse>, Status> {
        let v1::StatPackageRequest { package, bytes, needs, attached } = request.into_inner();
        let hash = hash_of(&package)?;
        let present = self
            .on_disk(attached, move |store| {
                store.check(hash, bytes, needs.map(Needs::from).as_ref())?;
                store.stat(hash)
            })
            .await?;
        let (bytes, complete) = match present {
            Present::Whole(bytes) => (bytes, true),
            Present::Part(bytes) => (bytes, false),
        };
        Ok(Response::new(v1::StatPackageResponse { bytes, complete }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadPackageRequest>>,
    ) -> Result<Response<v1::StatPackageResponse>, Status> {
        let mut pieces = request.into_inner();
        let malformed = |what| Status::from(PackageError::Malformed(what));
        let first = pieces.message().await?.ok_or_else(|| malformed("an upload of nothing"))?;
        let (hash, bytes, attached) = (hash_of(&first.package)?, first.bytes, first.attached);
        let mut upload = self.on_disk(attached, move |store| store.upload(hash, bytes, first.offset)).await?;
        let mut next = Some((first.offset, first.data));
        while let Some((offset, data)) = next {
            let write = move |mut upload: Upload| upload.write(offset, &data).map(|()| upload);
            upload = self.on_disk(attached, move |_| write(upload)).await?;
            next = pieces.message().await?.map(|piece| (piece.offset, piece.data));
        }
        if !upload.is_complete() {
            return Err(malformed("the upload ended early; what came is kept"));
        }
        let bytes = self.on_disk(attached, move |store| store.finish(upload)).await?;
        info!(package = %hash, bytes, attached, "a package was uploaded");
        self.collect(attached).await?;
        Ok(Response::new(v1::StatPackageResponse { bytes, complete: true }))
    }

    async fn download(&self, request: Request<v1::DownloadPackageRequest>) -> Result<Response<Chunks>, Status> {
        let v1::DownloadPackageRequest { package, offset, attached } = request.into_inner();
        let hash = hash_of(&package)?;
        let file = self.on_disk(attached, move |store| store.read(hash)).await?;
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || send_from(file, offset, &sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }
}

/// Sends a file piece by piece, until its end or until nobody listens.
fn send_from(mut file: File, offset: u64, sender: &mpsc::Sender<Result<v1::Chunk, Status>>) {
    let mut read_piece = |offset| {
        let mut data = vec![0; CHUNK_BYTES];
        file.seek(SeekFrom::Start(offset))?;
        let read = file.read(&mut data)?;
        data.truncate(read);
        Ok::<_, std::io::Error>(data)
    };
    let mut next = offset;
    loop {
        let piece =
            read_piece(next).map_err(|error| Status::unavailable(format!("the package cannot be read: {error}")));
        let read = piece.as_ref().map_or(0, Vec::len);
        let failed = piece.is_err();
        if read == 0 && !failed {
            return;
        }
        let sent = sender.blocking_send(piece.map(|data| v1::Chunk { data: data.into() }));
        if sent.is_err() || failed {
            return;
        }
        next += read as u64;
    }
}

fn hash_of(text: &str) -> Result<PackageHash, Status> {
    text.parse().map_err(|error| PackageError::Name(text.to_owned(), error).into())
}

impl From<PackageError> for Status {
    fn from(error: PackageError) -> Self {
        let message = with_help(error.to_string(), error.help().map(ToOwned::to_owned));
        match error {
            PackageError::Name(..)
            | PackageError::Unfit { .. }
            | PackageError::TooLarge { .. }
            | PackageError::Attached(_)
            | PackageError::Mismatch { .. }
            | PackageError::Malformed(_) => Self::invalid_argument(message),
            PackageError::Gap { .. } => Self::out_of_range(message),
            PackageError::Busy(_) => Self::aborted(message),
            PackageError::Absent(_) => Self::not_found(message),
            PackageError::Full(_) => Self::resource_exhausted(message),
            PackageError::Io { .. } => Self::failed_precondition(message),
        }
    }
}
