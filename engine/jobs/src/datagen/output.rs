//! Renders the pieces of one table on several threads and writes them, in order, as one file or object.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use object_store::{ObjectStoreExt, WriteMultipart};
use tandem_exec::storage::{Location, Storage};
use tokio::task::spawn_blocking;

use super::parquet_file::ParquetFile;
use super::table::Table;
use super::{Format, GenerateError, GeneratedFile};

/// Bytes of one part of an upload; S3 takes 10,000 parts, so this bounds an object at 160 GiB.
const PART_BYTES: usize = 16 << 20;
/// Parts on their way at once.
const PARTS_IN_FLIGHT: usize = 4;

/// Writes `table` to `place`, where nothing is seen of it before it is complete, or nothing when it is stopped; tells `progress`
/// its rows and bytes so far.
pub(super) async fn write(
    table: Arc<dyn Table>,
    format: Format,
    storage: &Storage,
    place: &Location,
    threads: usize,
    progress: impl FnMut(u64, u64),
    stop: impl Future<Output = ()>,
) -> Result<GeneratedFile, GenerateError> {
    let failed = |source| GenerateError::Write { path: place.to_string(), source };
    let store = storage.store(place.root())?;
    let upload = store.put_multipart(place.path()).await.map_err(failed)?;
    let mut upload = Upload {
        parts: WriteMultipart::new_with_chunk_size(upload, PART_BYTES),
        file: GeneratedFile { path: place.to_string(), rows: 0, bytes: 0 },
        progress,
    };
    let write = async {
        match format {
            Format::Parquet => write_parquet(&table, threads, &mut upload).await,
            Format::Csv | Format::Jsonl => write_text(&table, format, threads, &mut upload).await,
        }
    };
    let written = tokio::select! {
        written = write => written,
        () = stop => Err(GenerateError::Stopped),
    };
    if let Err(error) = written {
        // The error that stopped the work says more than one about cleaning up after it.
        upload.parts.abort().await.ok();
        return Err(error);
    }
    upload.parts.finish().await.map_err(failed)?;
    Ok(upload.file)
}

/// One file on its way.
struct Upload<P> {
    parts: WriteMultipart,
    file: GeneratedFile,
    progress: P,
}

impl<P: FnMut(u64, u64)> Upload<P> {
    async fn put(&mut self, data: Vec<u8>, rows: u64) -> Result<(), GenerateError> {
        let failed = |source| GenerateError::Write { path: self.file.path.clone(), source };
        self.parts.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(failed)?;
        self.file.rows += rows;
        self.file.bytes += data.len() as u64;
        self.parts.put(Bytes::from(data));
        (self.progress)(self.file.rows, self.file.bytes);
        Ok(())
    }
}

async fn write_text<P: FnMut(u64, u64)>(
    table: &Arc<dyn Table>,
    format: Format,
    threads: usize,
    upload: &mut Upload<P>,
) -> Result<(), GenerateError> {
    if format == Format::Csv {
        upload.put(table.csv_header().into_bytes(), 0).await?;
    }
    let render = move |table: &dyn Table, piece: u64| {
        let mut text = Vec::new();
        let rows = table.text(piece, format, &mut text)?;
        Ok((text, rows))
    };
    let mut pieces = rendered(table, threads, Arc::new(render));
    while let Some(piece) = pieces.next().await {
        let (text, rows) = piece?;
        upload.put(text, rows).await?;
    }
    Ok(())
}

async fn write_parquet<P: FnMut(u64, u64)>(
    table: &Arc<dyn Table>,
    threads: usize,
    upload: &mut Upload<P>,
) -> Result<(), GenerateError> {
    let mut file = ParquetFile::new(table.schema())?;
    let encoder = file.encoder();
    let render = move |table: &dyn Table, piece: u64| encoder.encode(piece as usize, &table.batches(piece)?);
    let mut pieces = rendered(table, threads, Arc::new(render));
    while let Some(piece) = pieces.next().await {
        let (data, rows) = file.append(piece?)?;
        upload.put(data, rows).await?;
    }
    upload.put(file.finish()?, 0).await
}

type Render<T> = Arc<dyn Fn(&dyn Table, u64) -> Result<T, GenerateError> + Send + Sync>;

/// The pieces of `table` in order, `threads` of them rendered at once.
fn rendered<T: Send + 'static>(
    table: &Arc<dyn Table>,
    threads: usize,
    render: Render<T>,
) -> impl Stream<Item = Result<T, GenerateError>> + Unpin {
    let table = Arc::clone(table);
    let pieces = stream::iter(0..table.pieces()).map(move |piece| {
        let (table, render) = (Arc::clone(&table), Arc::clone(&render));
        async move { spawn_blocking(move || render(table.as_ref(), piece)).await? }
    });
    Box::pin(pieces.buffered(threads.max(1)))
}
