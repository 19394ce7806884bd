//! Walks over the batches of one or more outputs in reading order.
//! Batches are looked up one by one as the reader comes to them, so that what was not read yet may be spilled or dropped.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::error::StoreError;
use crate::key::OutputKey;
use crate::output::{Located, SlotId, TaskOutput};
use crate::spill_file::{FileRange, SpillFile};

/// How much a reader takes at once.
pub(crate) const STEP_BYTES: u64 = tandem_ipc::PIECE_BYTES as u64;

/// Where a reader is.
#[derive(Debug)]
pub(crate) struct Cursor {
    outputs: VecDeque<Arc<TaskOutput>>,
    partitions: Range<usize>,
    /// What is left of the first of `outputs`, once it was begun.
    plan: Option<std::vec::IntoIter<SlotId>>,
    /// The next batch, when it was looked at but not taken.
    peeked: Option<Next>,
}

/// The next batch and the output it belongs to.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) output: Arc<TaskOutput>,
    pub(crate) located: Located,
}

impl Next {
    /// Bytes it takes where it lies.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.located {
            Located::Memory(_, bytes) => *bytes,
            Located::File(_, range) => range.len,
        }
    }
}

impl Cursor {
    /// Starts before the first batch.
    pub(crate) fn new(outputs: Vec<Arc<TaskOutput>>, partitions: Range<usize>) -> Self {
        Self { outputs: outputs.into(), partitions, plan: None, peeked: None }
    }

    /// The next batch, if `wanted`; else it stays the next.
    pub(crate) fn next_if(&mut self, wanted: impl FnOnce(&Next) -> bool) -> Result<Option<Next>, StoreError> {
        let next = match self.peeked.take() {
            Some(next) => Some(next),
            None => self.locate_next()?,
        };
        match next {
            Some(next) if wanted(&next) => Ok(Some(next)),
            next => {
                self.peeked = next;
                Ok(None)
            }
        }
    }

    fn locate_next(&mut self) -> Result<Option<Next>, StoreError> {
        while let Some(output) = self.outputs.front() {
            let plan = match &mut self.plan {
                Some(plan) => plan,
                None => self.plan.insert(output.plan(self.partitions.clone())?.into_iter()),
            };
            if let Some(id) = plan.next() {
                return Ok(Some(Next { output: Arc::clone(output), located: output.locate(id)? }));
            }
            self.plan = None;
            self.outputs.pop_front();
        }
        Ok(None)
    }
}

/// Reads ranges of spill files with as few reads as their places allow. Blocks.
#[derive(Debug, Default)]
pub(crate) struct RangeReader {
    /// The file that was read last, kept open for the next range but not kept from being dropped.
    opened: Option<(Weak<SpillFile>, Arc<File>)>,
}

impl RangeReader {
    /// Appends the bytes of `range` to `out`.
    pub(crate) fn read(
        &mut self,
        key: OutputKey,
        spill: &Arc<SpillFile>,
        range: FileRange,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let damaged = |error: std::io::Error| StoreError::Damaged { key, reason: format!("spill file: {error}") };
        let file = self.open(spill).map_err(damaged)?;
        let start = out.len();
        out.resize(start + range.len as usize, 0);
        file.read_exact_at(&mut out[start..], range.offset).map_err(damaged)
    }

    /// Reads `ranges` of one file, which may lie apart, into one buffer cut into them.
    pub(crate) fn read_all(
        &mut self,
        key: OutputKey,
        spill: &Arc<SpillFile>,
        ranges: &[FileRange],
    ) -> Result<VecDeque<Bytes>, StoreError> {
        let mut data = Vec::with_capacity(ranges.iter().map(|range| range.len as usize).sum());
        let mut rest = ranges;
        while let Some((first, others)) = rest.split_first() {
            let mut whole = *first;
            let adjoining = others.iter().take_while(|next| {
                let adjoins = next.offset == whole.offset + whole.len;
                whole.len += if adjoins { next.len } else { 0 };
                adjoins
            });
            let adjoining = adjoining.count();
            self.read(key, spill, whole, &mut data)?;
            rest = &others[adjoining..];
        }
        let mut data = Bytes::from(data);
        Ok(ranges.iter().map(|range| data.split_to(range.len as usize)).collect())
    }

    fn open(&mut self, spill: &Arc<SpillFile>) -> std::io::Result<Arc<File>> {
        if let Some((opened, file)) = &self.opened
            && opened.as_ptr() == Arc::as_ptr(spill)
        {
            return Ok(Arc::clone(file));
        }
        let file = spill.open()?;
        self.opened = Some((Arc::downgrade(spill), Arc::clone(&file)));
        Ok(file)
    }
}
