//! Finds the line ends at which files are cut, and counts lines.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use memchr::memchr_iter;
use object_store::ObjectStore;

use super::csv::cut_after;
use super::input::{blocks, fetch};
use crate::error::TaskError;
use crate::storage::FileEntry;

/// What is looked at first to find a line end near a cut.
const FIRST_LOOK_BYTES: u64 = 64 << 10;

/// `piece` of `file` with both ends moved to after the first line feed from there on. Neighbouring pieces stay neighbours.
pub(crate) async fn at_line_ends(
    store: &Arc<dyn ObjectStore>,
    file: &FileEntry,
    piece: Range<u64>,
) -> Result<Range<u64>, TaskError> {
    Ok(find_cut(store, file, piece.start).await?..find_cut(store, file, piece.end).await?)
}

/// The place after the first line feed at or after `wanted`; the file's end if there is none.
async fn find_cut(store: &Arc<dyn ObjectStore>, file: &FileEntry, wanted: u64) -> Result<u64, TaskError> {
    if wanted == 0 || wanted == file.size {
        return Ok(wanted);
    }
    let look = wanted..file.size.min(wanted + FIRST_LOOK_BYTES);
    let rest = blocks(store.clone(), file, look.end..file.size);
    let mut blocks = stream::once(fetch(store.clone(), Arc::new(file.clone()), look)).chain(rest).boxed();
    let mut at = wanted;
    while let Some(block) = blocks.try_next().await? {
        if let Some(cut) = cut_after(at, &block) {
            return Ok(cut);
        }
        at += block.len() as u64;
    }
    Ok(file.size)
}

/// Line feeds in `range` of `file`.
pub(crate) async fn count_line_feeds(
    store: Arc<dyn ObjectStore>,
    file: &FileEntry,
    range: Range<u64>,
) -> Result<u64, TaskError> {
    let count = |block: Bytes| memchr_iter(b'\n', &block).count() as u64;
    blocks(store, file, range).try_fold(0, |sum, block| async move { Ok(sum + count(block)) }).await
}
