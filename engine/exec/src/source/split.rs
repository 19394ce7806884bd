//! Divides files between partitions: by size first, then, where a file is cut, at exact record boundaries.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use super::csv::{Dialect, RangeScan, RecordRange, cut_after, record_ranges};
use super::input::{blocks, fetch};
use super::plan::{Partitions, ScanFile, ScanPlan, Segment};
use crate::error::{PlanError, TaskError};
use crate::storage::{FileEntry, Storage};

/// A partition with less than this is not worth a task.
const MIN_PARTITION_BYTES: u64 = 2 << 20;
/// A cut this close to a file's end is moved there.
const MIN_PIECE_BYTES: u64 = 64 << 10;
/// What is looked at once to find a line end near a cut.
const CUT_BLOCK_BYTES: u64 = 64 << 10;

/// A range of a file that a partition is to read, cut by size alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    file: usize,
    bytes: Range<u64>,
}

/// What each of at most `partitions` partitions of `plan` reads. At least one, which may read nothing.
pub(crate) async fn divide(plan: &ScanPlan, storage: &Storage, partitions: usize) -> Result<Partitions, PlanError> {
    let pieces = divide_by_size(&plan.files, partitions);
    let mut divided: Partitions = vec![Vec::new(); pieces.len()];
    for (index, file) in plan.files.iter().enumerate() {
        let mine: Vec<(usize, Range<u64>)> = pieces
            .iter()
            .enumerate()
            .flat_map(|(partition, pieces)| pieces.iter().map(move |piece| (partition, piece)))
            .filter(|(_, piece)| piece.file == index)
            .map(|(partition, piece)| (partition, piece.bytes.clone()))
            .collect();
        let ranges = match mine.as_slice() {
            [(_, bytes)] => vec![Some(RecordRange { start: bytes.start, end: bytes.end, line: 1 })],
            _ => {
                let wanted: Vec<u64> = mine.iter().map(|(_, bytes)| bytes.start).collect();
                index_file(file.entry.open_store(storage)?, &file.entry, &wanted, plan.format.quotes()).await?
            }
        };
        for ((partition, _), range) in mine.iter().zip(ranges) {
            let segment =
                range.map(|range| Segment { file: index as u32, start: range.start, end: range.end, line: range.line });
            divided[*partition].extend(segment);
        }
    }
    divided.retain(|segments| !segments.is_empty());
    if divided.is_empty() {
        divided.push(Vec::new());
    }
    Ok(divided)
}

/// Lays all files end to end and cuts the whole into equal parts. A file that cannot be split goes to the partition that
/// its middle is in.
fn divide_by_size(files: &[ScanFile], partitions: usize) -> Vec<Vec<Piece>> {
    let total: u64 = files.iter().map(|file| file.entry.size).sum();
    let partitions = (partitions as u64).min(total / MIN_PARTITION_BYTES).max(1);
    let share = total.div_ceil(partitions).max(1);
    let mut divided = vec![Vec::new(); partitions as usize];
    let mut offset = 0;
    for (index, file) in files.iter().enumerate() {
        let size = file.entry.size;
        let mut start = 0;
        while file.can_be_split() && start < size {
            let partition = (offset + start) / share;
            let mut end = ((partition + 1) * share - offset).min(size);
            if size - end < MIN_PIECE_BYTES {
                end = size;
            }
            divided[partition as usize].push(Piece { file: index, bytes: start..end });
            start = end;
        }
        if !file.can_be_split() {
            divided[((offset + size / 2) / share) as usize].push(Piece { file: index, bytes: 0..size });
        }
        offset += size;
    }
    divided
}

/// The exact ranges of `file` that begin at about `wanted`, ascending, the first of which is 0.
async fn index_file(
    store: Arc<dyn ObjectStore>,
    file: &FileEntry,
    wanted: &[u64],
    quotes: Option<Dialect>,
) -> Result<Vec<Option<RecordRange>>, PlanError> {
    let unreadable = |error: TaskError| PlanError::Storage(error.to_string());
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    let cuts: Vec<u64> = stream::iter(wanted.to_vec())
        .map(|wanted| find_cut(store.clone(), file, wanted))
        .buffered(parallelism)
        .try_collect()
        .await
        .map_err(unreadable)?;
    let ends = cuts.iter().skip(1).copied().chain([file.size]);
    let ranges: Vec<Range<u64>> = cuts.iter().zip(ends).map(|(&start, end)| start..end).collect();
    let scans: Vec<RangeScan> = stream::iter(ranges)
        .map(|range| {
            let scan = scan_range(store.clone(), file.clone(), range, quotes);
            let task = SpawnedTask::spawn(scan);
            async move { task.await.unwrap_or_else(|error| Err(TaskError::Retry(error.to_string()))) }
        })
        .buffered(parallelism)
        .try_collect()
        .await
        .map_err(unreadable)?;
    Ok(record_ranges(&scans))
}

/// The place after the first line feed at or after `wanted`; the file's end if there is none.
async fn find_cut(store: Arc<dyn ObjectStore>, file: &FileEntry, wanted: u64) -> Result<u64, TaskError> {
    if wanted == 0 {
        return Ok(0);
    }
    let shared = Arc::new(file.clone());
    let mut at = wanted;
    while at < file.size {
        let end = file.size.min(at + CUT_BLOCK_BYTES);
        let bytes = fetch(store.clone(), shared.clone(), at..end).await?;
        if let Some(cut) = cut_after(at, &bytes) {
            return Ok(cut);
        }
        at = end;
    }
    Ok(file.size)
}

async fn scan_range(
    store: Arc<dyn ObjectStore>,
    file: FileEntry,
    range: Range<u64>,
    quotes: Option<Dialect>,
) -> Result<RangeScan, TaskError> {
    let mut scan = RangeScan::new(quotes, range.start);
    let mut blocks = blocks(store, &file, range);
    while let Some(block) = blocks.try_next().await? {
        scan.push(&block);
    }
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::spec::Compression;

    fn file(size: u64, compression: Compression) -> ScanFile {
        let entry = FileEntry { root: "file:///".into(), path: "f".into(), size, etag: None, modified_ms: 0 };
        ScanFile { entry, compression, layout: 0, is_array: false }
    }

    #[test]
    fn every_byte_is_read_once_and_shares_are_even() {
        const MIB: u64 = 1 << 20;
        for sizes in [vec![100 * MIB], vec![MIB; 40], vec![1, 50 * MIB + 3, 7, 20 * MIB], vec![0, 0], vec![]] {
            for partitions in [1, 2, 3, 7, 16] {
                let files: Vec<ScanFile> = sizes.iter().map(|&size| file(size, Compression::None)).collect();
                let divided = divide_by_size(&files, partitions);
                assert!(!divided.is_empty() && divided.len() <= partitions);
                let mut next = vec![0; files.len()];
                for piece in divided.iter().flatten() {
                    assert_eq!(piece.bytes.start, next[piece.file]);
                    next[piece.file] = piece.bytes.end;
                }
                assert_eq!(next, sizes);
                let share =
                    |pieces: &Vec<Piece>| pieces.iter().map(|piece| piece.bytes.end - piece.bytes.start).sum::<u64>();
                let most = divided.iter().map(share).max().unwrap();
                let total: u64 = sizes.iter().sum();
                assert!(most <= total.div_ceil(divided.len() as u64) + 2 * MIN_PIECE_BYTES);
            }
        }
    }

    #[test]
    fn compressed_files_stay_whole() {
        let files: Vec<ScanFile> = (0..6).map(|_| file(10 << 20, Compression::Gzip)).collect();
        let divided = divide_by_size(&files, 4);
        assert_eq!(divided.iter().flatten().count(), 6);
        assert!(divided.iter().flatten().all(|piece| piece.bytes == (0..10 << 20)));
        assert!(divided.iter().all(|pieces| pieces.len() <= 2));
    }
}
