//! The log of one job: a file with the number of dropped lines, then records, each of lines that one worker sent together.
//!
//! ```text
//!   dropped: u64 │ length: u32, LogBatch │ length: u32, LogBatch │ … │ torn: cut off when the file is opened
//! ```
//! Owned by the store's thread. Readers read up to the end that it tells them, which only grows.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use prost::Message as _;
use tandem_proto::WorkerId;
use tandem_proto::v1::{LogBatch, LogLine};
use tokio::sync::watch;
use tracing::{debug, warn};

/// Where the first record begins.
pub(crate) const START: u64 = size_of::<u64>() as u64;
/// What comes before each record.
const LENGTH_BYTES: usize = size_of::<u32>();
/// How much is read at once, unless a record is larger.
const PAGE_BYTES: u64 = 256 << 10;
/// What a record takes beside its lines: its length, and the worker with its tag.
const RECORD_BYTES: usize = LENGTH_BYTES + 9;

/// What of a job's log is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where the last whole record ends.
    pub(crate) end: u64,
    /// Lines that are not there: they were over the quota, or the disk had no room.
    pub(crate) dropped: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Self { end: START, dropped: 0 }
    }
}

/// See the module's header. The file is there from the first line on.
#[derive(Debug)]
pub(super) struct JobLog {
    path: PathBuf,
    extent: watch::Sender<Extent>,
    /// The number of each worker's last line that was kept or dropped.
    last: HashMap<WorkerId, u64>,
}

impl JobLog {
    /// The log in the file at `path`, or an empty one if there is none.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let (extent, last) = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => recover(&file, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, extent: watch::Sender::new(extent), last })
    }

    /// Its extent, now and as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Adds those of a worker's `lines` that are new, as far as there is room.
    pub(super) fn append(&mut self, worker: WorkerId, mut lines: Vec<LogLine>, quota_bytes: u64) {
        let last = self.last.entry(worker).or_default();
        lines.retain(|line| line.sequence > *last);
        let Some(newest) = lines.last() else { return };
        *last = newest.sequence;
        let extent = *self.extent.borrow();
        let fresh = lines.len();
        lines.truncate(fitting(&lines, quota_bytes.saturating_sub(extent.end - START)));
        let kept = lines.len();
        let outcome = if kept == 0 { Ok(0) } else { self.write(extent.end, &LogBatch { worker: worker.0, lines }) };
        let (bytes, dropped) = match &outcome {
            Ok(bytes) => (*bytes, fresh - kept),
            Err(_) => (0, fresh),
        };
        let longer = Extent { end: extent.end + bytes, dropped: extent.dropped + dropped as u64 };
        if dropped > 0 {
            let cause = outcome.map_or_else(|error| error.to_string(), |_| "its quota is used up".to_owned());
            self.drop_lines(longer.dropped, extent.dropped == 0, &cause);
        }
        self.extent.send_replace(longer);
    }

    /// Puts a record to `end`; what a failure leaves is cut off.
    fn write(&self, end: u64, batch: &LogBatch) -> io::Result<u64> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.path)?;
        let mut record = vec![0; LENGTH_BYTES];
        batch.encode(&mut record).map_err(io::Error::other)?;
        let length = u32::try_from(record.len() - LENGTH_BYTES).map_err(io::Error::other)?;
        record[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        if let Err(error) = file.write_all_at(&record, end) {
            // Nobody reads what is beyond the end.
            let _ = file.set_len(end);
            return Err(error);
        }
        Ok(record.len() as u64)
    }

    /// Notes how many lines were dropped so far. Told once per log; a full disk would be told all the time.
    fn drop_lines(&self, dropped: u64, first: bool, cause: &str) {
        let log = self.path.display();
        if first {
            warn!(%log, cause, "lines of a job are dropped");
        }
        let noted = OpenOptions::new().write(true).open(&self.path);
        if let Err(error) = noted.and_then(|file| file.write_all_at(&dropped.to_le_bytes(), 0)) {
            debug!(%log, %error, "the number of dropped lines is lost with this process");
        }
    }
}

/// How many of the first `lines` fit into a record of so many bytes.
fn fitting(lines: &[LogLine], room: u64) -> usize {
    let mut bytes = RECORD_BYTES;
    let fits = |line: &&LogLine| {
        let fields = line.encoded_len();
        bytes += 1 + prost::length_delimiter_len(fields) + fields;
        bytes as u64 <= room
    };
    lines.iter().take_while(fits).count()
}

/// What is in a file that an earlier process has left.
fn recover(file: &File, path: &Path) -> io::Result<(Extent, HashMap<WorkerId, u64>)> {
    let bytes = file.metadata()?.len();
    let mut extent = Extent::default();
    let mut last = HashMap::new();
    if bytes >= START {
        let mut dropped = [0; START as usize];
        file.read_exact_at(&mut dropped, 0)?;
        extent.dropped = u64::from_le_bytes(dropped);
    }
    loop {
        let (batches, next) = page(file, extent.end, bytes)?;
        if batches.is_empty() {
            break;
        }
        for LogBatch { worker, lines } in batches {
            let newest = lines.last().map_or(0, |line| line.sequence);
            last.insert(WorkerId(worker), newest);
        }
        extent.end = next;
    }
    if extent.end < bytes {
        warn!(log = %path.display(), bytes = bytes - extent.end, "what was not whole at the end of a log is cut off");
        file.set_len(extent.end)?;
    }
    Ok((extent, last))
}

/// The next whole records between `place` and `end`, and where they end. Without any when there is none.
pub(super) fn page(file: &File, place: u64, end: u64) -> io::Result<(Vec<LogBatch>, u64)> {
    let left = end.saturating_sub(place);
    let mut bytes = read_at(file, place, left.min(PAGE_BYTES))?;
    if let Some((length, _)) = bytes.split_first_chunk() {
        let first = u64::from(u32::from_le_bytes(*length)) + LENGTH_BYTES as u64;
        if first > PAGE_BYTES && first <= left {
            bytes = read_at(file, place, first)?;
        }
    }
    let mut rest = bytes.as_slice();
    let mut batches = Vec::new();
    while let Some((batch, after)) = first_record(rest) {
        batches.push(batch);
        rest = after;
    }
    Ok((batches, place + (bytes.len() - rest.len()) as u64))
}

fn read_at(file: &File, place: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, place)?;
    Ok(buffer)
}

/// The record that `bytes` begin with and what comes after it, if it is whole.
fn first_record(bytes: &[u8]) -> Option<(LogBatch, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, after) = rest.split_at_checked(length)?;
    let batch = LogBatch::decode(record).ok()?;
    // None is written without lines; where a crash left zeros there is no record.
    (!batch.lines.is_empty()).then_some((batch, after))
}
