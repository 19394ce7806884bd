//! Bringing a package, and files that are attached to it, to the coordinator: asked for first, so that what is there is not sent again, and continued where an
//! earlier upload broke off.

use std::io;
use std::path::{Path, PathBuf};

use tandem_package::{AttachedFile, Package, PackageHash};
use tandem_proto::{CHUNK_BYTES, v1};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};
use crate::patience::Patience;

/// Pieces that are read ahead.
const PIECES: usize = 4;

impl Client {
    /// Brings a package to the coordinator, unless it is there. `progress` is told how many of its bytes are there, and is not
    /// called when nothing is to be sent.
    ///
    /// # Errors
    /// What the cluster cannot give the package is told before anything is sent.
    pub async fn bring_package(
        &self,
        path: &Path,
        package: &Package,
        progress: impl Fn(u64),
    ) -> Result<(), ClientError> {
        let (hash, bytes, needs) = (package.hash, package.bytes, Some(package.needs.clone().into()));
        self.bring(&Goods { path, hash, bytes, needs, attached: false }, &progress).await
    }

    /// Brings an attached file to the coordinator, unless it is there, as [`Self::bring_package`].
    ///
    /// # Errors
    /// That the cluster takes no file of its size is told before anything is sent.
    pub async fn bring_attached(&self, file: &AttachedFile, progress: impl Fn(u64)) -> Result<(), ClientError> {
        let AttachedFile { path, hash, bytes, .. } = file;
        self.bring(&Goods { path, hash: *hash, bytes: *bytes, needs: None, attached: true }, &progress).await
    }

    async fn bring(&self, goods: &Goods<'_>, progress: &impl Fn(u64)) -> Result<(), ClientError> {
        let mut patience = Patience::from_now();
        loop {
            match self.try_bring(goods, progress).await {
                Ok(()) => return Ok(()),
                // Someone else sends the same: when it is there, that is as good.
                Err(status) if is_broken_connection(&status) || status.code() == Code::OutOfRange => {
                    if !patience.wait().await {
                        return Err(ClientError::from_status(self.address(), &status));
                    }
                }
                Err(status) => return Err(ClientError::from_status(self.address(), &status)),
            }
        }
    }

    async fn try_bring(&self, goods: &Goods<'_>, progress: &impl Fn(u64)) -> Result<(), Status> {
        let mut client = self.packages();
        let Goods { path, hash, bytes, ref needs, attached } = *goods;
        let hash = hash.to_string();
        let asked = v1::StatPackageRequest { package: hash.clone(), bytes, needs: needs.clone(), attached };
        let present = client.stat(asked).await?.into_inner();
        if present.complete {
            return Ok(());
        }
        // A part that is too long is not of this package.
        let offset = if present.bytes < bytes { present.bytes } else { 0 };
        let (pieces, requests) = mpsc::channel(PIECES);
        let upload = client.upload(ReceiverStream::new(requests));
        let reader = Reader { path: path.to_owned(), hash, bytes, offset, attached };
        let (read, uploaded) = tokio::join!(reader.send_to(pieces, progress), upload);
        // Why the file could not be read says more than that its upload ended early.
        read.map_err(|error| Status::invalid_argument(format!("{}: {error}", path.display())))?;
        uploaded.map(|_| ())
    }
}

/// What is to be brought.
struct Goods<'a> {
    path: &'a Path,
    hash: PackageHash,
    bytes: u64,
    needs: Option<v1::PackageNeeds>,
    attached: bool,
}

/// Reads a file for its upload.
struct Reader {
    path: PathBuf,
    hash: String,
    bytes: u64,
    offset: u64,
    attached: bool,
}

impl Reader {
    /// Sends every piece from the offset on. Ends early when nobody takes them any more.
    async fn send_to(self, pieces: mpsc::Sender<v1::UploadPackageRequest>, progress: &impl Fn(u64)) -> io::Result<()> {
        let mut file = File::open(&self.path).await?;
        file.seek(io::SeekFrom::Start(self.offset)).await?;
        let mut offset = self.offset;
        loop {
            let mut data = Vec::with_capacity(CHUNK_BYTES);
            (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await?;
            let read = data.len() as u64;
            let first = offset == self.offset;
            if read == 0 && !first {
                return Ok(());
            }
            let (package, bytes) = if first { (self.hash.clone(), self.bytes) } else { (String::new(), 0) };
            let attached = first && self.attached;
            let piece = v1::UploadPackageRequest { package, bytes, offset, data, attached };
            if pieces.send(piece).await.is_err() {
                return Ok(());
            }
            offset += read;
            progress(offset);
        }
    }
}
