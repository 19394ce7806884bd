//! A range of a file as a stream of bytes: fetched ahead, checked against the planned file, decompressed.
//! Owned by the reader of one partition, which runs on a CPU thread and never waits for a disk or network itself.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use datafusion::common::runtime::SpawnedTask;
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::rows::Decoder;
use super::spec::Compression;
use crate::error::TaskError;
use crate::storage::{FileEntry, read_failure};

/// What is fetched at once from a local file.
const LOCAL_BLOCK_BYTES: u64 = 1 << 20;
/// What is fetched at once over a network, where each request has its latency.
const REMOTE_BLOCK_BYTES: u64 = 4 << 20;
/// Blocks that are fetched ahead of the reader.
const LOCAL_READ_AHEAD: usize = 2;
const REMOTE_READ_AHEAD: usize = 4;
/// Compressed bytes that are given to a gzip decoder at once. Deflate expands at most about a thousandfold, so this
/// bounds what one step gives, whatever the file holds.
const GZIP_STEP_BYTES: usize = 4 << 10;
/// What one step of a zstd decoder gives at most.
const ZSTD_STEP_BYTES: usize = 256 << 10;

/// The raw bytes of `range` of `file`, in order. A file that is not the planned one is an error.
pub(crate) fn blocks(
    store: Arc<dyn ObjectStore>,
    file: &FileEntry,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, TaskError>> {
    let is_local = file.root.starts_with("file:");
    let (size, ahead) =
        if is_local { (LOCAL_BLOCK_BYTES, LOCAL_READ_AHEAD) } else { (REMOTE_BLOCK_BYTES, REMOTE_READ_AHEAD) };
    let file = Arc::new(file.clone());
    let starts = (range.start..range.end).step_by(size as usize);
    stream::iter(starts)
        .map(move |start| {
            let block = start..range.end.min(start + size);
            let fetch = fetch(store.clone(), file.clone(), block);
            // Spawned, so that it makes progress while the reader computes; aborted when the reader is dropped.
            let task = SpawnedTask::spawn(fetch);
            async move { task.await.unwrap_or_else(|error| Err(TaskError::Retry(format!("reading was cut off: {error}")))) }
        })
        .buffered(ahead)
        .boxed()
}

/// The bytes of `range` of `file`, in one request.
pub(crate) async fn fetch(
    store: Arc<dyn ObjectStore>,
    file: Arc<FileEntry>,
    range: Range<u64>,
) -> Result<Bytes, TaskError> {
    let length = range.end - range.start;
    let options = GetOptions::new().with_range(Some(range));
    let result = match store.get_opts(&file.object_path(), options).await {
        Ok(result) => result,
        Err(error) => {
            // A file that shrank fails by its range; say that it changed, which is the cause.
            if let Ok(meta) = store.head(&file.object_path()).await {
                file.verify_unchanged(&meta)?;
            }
            return Err(read_failure(&error, &file));
        }
    };
    file.verify_unchanged(&result.meta)?;
    let bytes = result.bytes().await.map_err(|error| read_failure(&error, &file))?;
    if bytes.len() as u64 != length {
        return Err(TaskError::Retry(format!("read {} of {length} bytes: {file}", bytes.len())));
    }
    Ok(bytes)
}

/// What the first `bytes` bytes of `file` hold, and whether that is all of it.
pub(crate) async fn read_head(
    store: Arc<dyn ObjectStore>,
    file: FileEntry,
    compression: Compression,
    bytes: u64,
) -> Result<(Vec<u8>, bool), TaskError> {
    let end = file.size.min(bytes);
    let mut input = Input::open(store, &file, 0..end, compression)?;
    let mut head = Vec::new();
    while let Some(piece) = input.next().await? {
        head.extend_from_slice(&piece);
        // A little compressed input may hold much.
        if head.len() as u64 >= bytes.saturating_mul(2) {
            return Ok((head, false));
        }
    }
    Ok((head, end == file.size))
}

/// The content of a file or range, decompressed, in pieces of bounded size.
pub(crate) struct Input {
    blocks: BoxStream<'static, Result<Bytes, TaskError>>,
    inflater: Inflater,
    block: Bytes,
    fetched: u64,
    name: String,
    /// The range ends before the file does, so that compressed content may end anywhere.
    is_prefix: bool,
}

enum Inflater {
    Plain,
    Gzip { decoder: Box<MultiGzDecoder<Vec<u8>>>, started: bool },
    Zstd { decoder: ZstdDecoder<'static>, output: Vec<u8>, in_frame: bool },
}

impl Input {
    /// The content of `range` of `file`. A compressed file can only be read from its start.
    pub(crate) fn open(
        store: Arc<dyn ObjectStore>,
        file: &FileEntry,
        range: Range<u64>,
        compression: Compression,
    ) -> Result<Self, TaskError> {
        let inflater = match compression {
            Compression::None => Inflater::Plain,
            Compression::Gzip => Inflater::Gzip { decoder: Box::new(MultiGzDecoder::new(Vec::new())), started: false },
            Compression::Zstd => {
                let decoder = ZstdDecoder::new().map_err(|error| TaskError::Resources(format!("zstd: {error}")))?;
                Inflater::Zstd { decoder, output: vec![0; ZSTD_STEP_BYTES], in_frame: false }
            }
        };
        let is_prefix = range.end < file.size;
        Ok(Self {
            blocks: blocks(store, file, range),
            inflater,
            block: Bytes::new(),
            fetched: 0,
            name: file.to_string(),
            is_prefix,
        })
    }

    /// File bytes fetched since the last call.
    pub(crate) fn take_fetched(&mut self) -> u64 {
        std::mem::take(&mut self.fetched)
    }

    /// The next piece; none at the end. May be empty.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TaskError> {
        if self.block.is_empty() {
            match self.blocks.next().await {
                Some(block) => {
                    self.block = block?;
                    self.fetched += self.block.len() as u64;
                }
                None => return self.finish(),
            }
        }
        let damaged = |error: io::Error| TaskError::Fatal(format!("damaged compressed file: {}: {error}", self.name));
        self.inflater.step(&mut self.block).map(Some).map_err(damaged)
    }

    /// Gives `decoder` the next piece, or as much as it has of an unfinished record if that is more, so that what it looks
    /// at again is in proportion to what it reads.
    pub(crate) async fn feed(&mut self, decoder: &mut dyn Decoder) -> Result<(), TaskError> {
        let enough = decoder.unfinished();
        let mut given = 0;
        loop {
            let Some(piece) = self.next().await? else {
                decoder.end();
                return Ok(());
            };
            given += piece.len();
            decoder.push(&piece);
            if given >= enough {
                return Ok(());
            }
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, TaskError> {
        let cut = match &mut self.inflater {
            Inflater::Plain => false,
            Inflater::Gzip { decoder, started } => *started && decoder.try_finish().is_err(),
            Inflater::Zstd { in_frame, .. } => *in_frame,
        };
        if cut && !self.is_prefix {
            return Err(TaskError::Fatal(format!("damaged compressed file: {}: it ends too early", self.name)));
        }
        let rest = match std::mem::replace(&mut self.inflater, Inflater::Plain) {
            Inflater::Gzip { mut decoder, .. } => std::mem::take(decoder.get_mut()),
            Inflater::Plain | Inflater::Zstd { .. } => Vec::new(),
        };
        Ok((!rest.is_empty()).then(|| Bytes::from(rest)))
    }
}

impl Inflater {
    /// Takes some of `input` and gives what it holds.
    fn step(&mut self, input: &mut Bytes) -> io::Result<Bytes> {
        match self {
            Self::Plain => Ok(std::mem::take(input)),
            Self::Gzip { decoder, started } => {
                *started = true;
                let taken = decoder.write(&input[..input.len().min(GZIP_STEP_BYTES)])?;
                if taken == 0 {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that are not gzip"));
                }
                input.advance(taken);
                Ok(Bytes::from(std::mem::take(decoder.get_mut())))
            }
            Self::Zstd { decoder, output, in_frame } => {
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around(output.as_mut_slice());
                // Zero says that a frame is complete; another may follow.
                *in_frame = decoder.run(&mut source, &mut target)? != 0;
                let (taken, given) = (source.pos(), target.pos());
                let piece = Bytes::copy_from_slice(&output[..given]);
                input.advance(taken);
                Ok(piece)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use arrow::error::ArrowError;

    use super::*;
    use crate::source::rows::Decoded;
    use crate::storage::Storage;

    async fn entry(folder: &Path, name: &str, content: &[u8]) -> (Arc<dyn ObjectStore>, FileEntry) {
        std::fs::write(folder.join(name), content).unwrap();
        let storage = Storage::new(BTreeMap::new());
        let location = storage.resolve(name, folder).unwrap();
        let file = storage.list(&location).await.unwrap().remove(0);
        (file.open_store(&storage).unwrap(), file)
    }

    async fn read(content: &[u8], compression: Compression) -> Result<(Vec<u8>, usize), TaskError> {
        let folder = tempfile::tempdir().unwrap();
        let (store, file) = entry(folder.path(), "data", content).await;
        let mut input = Input::open(store, &file, 0..file.size, compression)?;
        let (mut all, mut largest) = (Vec::new(), 0);
        while let Some(piece) = input.next().await? {
            largest = largest.max(piece.len());
            all.extend_from_slice(&piece);
        }
        assert_eq!(input.take_fetched(), file.size);
        Ok((all, largest))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn content_comes_back_whole() {
        let content: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).take(5_000_000).collect();
        assert_eq!(read(&content, Compression::None).await.unwrap().0, content);
        let parts = [gzip(&content[..1_000_000]), gzip(&content[1_000_000..])].concat();
        assert_eq!(read(&parts, Compression::Gzip).await.unwrap().0, content);
        let frames =
            [zstd::encode_all(&content[..7], 1).unwrap(), zstd::encode_all(&content[7..], 1).unwrap()].concat();
        assert_eq!(read(&frames, Compression::Zstd).await.unwrap().0, content);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            assert!(read(b"", compression).await.unwrap().0.is_empty());
        }
    }

    #[tokio::test]
    async fn a_bomb_is_handed_out_in_bounded_pieces() {
        let zeros = vec![0; 64 << 20];
        let (content, largest) = read(&gzip(&zeros), Compression::Gzip).await.unwrap();
        assert!(content.len() == zeros.len() && largest <= 8 << 20, "{largest}");
        let (content, largest) = read(&zstd::encode_all(&zeros[..], 19).unwrap(), Compression::Zstd).await.unwrap();
        assert!(content.len() == zeros.len() && largest <= ZSTD_STEP_BYTES, "{largest}");
    }

    /// A decoder to which everything is one record.
    #[derive(Default)]
    struct OneRecord {
        bytes: usize,
        ended: bool,
    }

    impl Decoder for OneRecord {
        fn push(&mut self, bytes: &[u8]) {
            self.bytes += bytes.len();
        }

        fn end(&mut self) {
            self.ended = true;
        }

        fn unfinished(&self) -> usize {
            self.bytes
        }

        fn decode(&mut self) -> Result<Decoded, ArrowError> {
            Ok(Decoded::NeedInput)
        }
    }

    #[tokio::test]
    async fn a_long_record_is_not_looked_at_again_for_each_piece() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..500_000_u64).flat_map(|n| (n * n * n).to_le_bytes()).collect();
        let (store, file) = entry(folder.path(), "data", &gzip(&content)).await;
        let mut input = Input::open(store, &file, 0..file.size, Compression::Gzip).unwrap();
        let (mut decoder, mut looked_at) = (OneRecord::default(), 0);
        while !decoder.ended {
            input.feed(&mut decoder).await.unwrap();
            looked_at += decoder.bytes;
        }
        assert_eq!(decoder.bytes, content.len());
        assert!(looked_at <= 4 * content.len(), "{looked_at}");
    }

    #[tokio::test]
    async fn cut_and_damaged_files_are_named() {
        let content = vec![7; 100_000];
        let frames =
            [(gzip(&content), Compression::Gzip), (zstd::encode_all(&content[..], 1).unwrap(), Compression::Zstd)];
        for (packed, compression) in frames {
            for bad in [packed[..packed.len() - 3].to_vec(), b"not compressed at all, just text".to_vec()] {
                let error = read(&bad, compression).await.unwrap_err().to_string();
                assert!(error.contains("damaged compressed file: /"), "{compression:?}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (store, file) = entry(folder.path(), "data", b"0123456789").await;
        for content in [&b"01234"[..], b"abcdefghij", b"0123456789abc"] {
            std::fs::remove_file(folder.path().join("data")).unwrap();
            std::fs::write(folder.path().join("data"), content).unwrap();
            let mut input = Input::open(store.clone(), &file, 0..file.size, Compression::None).unwrap();
            let error = input.next().await.unwrap_err();
            assert!(matches!(&error, TaskError::Fatal(message) if message.contains("input changed")), "{error}");
        }
        std::fs::remove_file(folder.path().join("data")).unwrap();
        let error = Input::open(store, &file, 0..file.size, Compression::None).unwrap().next().await.unwrap_err();
        assert!(matches!(&error, TaskError::Fatal(message) if message.contains("input is gone")), "{error}");
    }
}
