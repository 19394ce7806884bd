//! Which objects to write elsewhere so that there is room: neighbours that nobody has used for the longest time.

use std::collections::VecDeque;

use super::extent::Span;
use super::{Allocator, padded};
use crate::id::ObjectId;

/// A free span, or an object that may go.
#[derive(Debug, Clone, Copy)]
struct Piece {
    bytes: u64,
    object: Option<(ObjectId, u64)>,
}

/// Neighbours whose room together is enough.
#[derive(Debug)]
struct Window {
    /// When the one that was used last was used.
    used: u64,
    bytes: u64,
    objects: Vec<ObjectId>,
}

impl Allocator {
    /// Objects that `may_go`, of `most` bytes together, whose room and the free spans between them are enough for a lease of `useful`
    /// bytes, or else of `bytes`. When there are no such neighbours, those that were not used for the longest time. None: nothing may go.
    pub fn victims(&self, bytes: u64, useful: u64, most: u64, may_go: impl Fn(ObjectId) -> bool) -> Vec<ObjectId> {
        let runs = self.runs(may_go);
        for wanted in [useful.max(bytes), bytes] {
            let Some(needed) = padded(wanted) else { continue };
            let windows = runs.iter().flat_map(|run| windows(run, needed)).filter(|window| window.bytes <= most);
            if let Some(best) = windows.min_by_key(|window| (window.used, window.bytes)) {
                return best.objects;
            }
        }
        let mut oldest: Vec<(u64, u64, ObjectId)> = runs
            .iter()
            .flatten()
            .filter_map(|piece| piece.object.map(|(object, used)| (used, piece.bytes, object)))
            .collect();
        oldest.sort_unstable();
        let mut taken = 0;
        let mut objects = Vec::new();
        for (_, object_bytes, object) in oldest {
            if taken >= bytes {
                break;
            }
            if object_bytes <= most - taken {
                taken += object_bytes;
                objects.push(object);
            }
        }
        objects
    }

    /// Spans in a row that are free or may be.
    fn runs(&self, may_go: impl Fn(ObjectId) -> bool) -> Vec<Vec<Piece>> {
        let mut runs = Vec::new();
        for extent in self.extents.values() {
            let mut run = Vec::new();
            for (_, bytes, span) in extent.spans() {
                match span {
                    Span::Free { .. } => run.push(Piece { bytes, object: None }),
                    Span::Object(object) if may_go(object) => {
                        let used = self.used.get(&object).copied().unwrap_or(0);
                        run.push(Piece { bytes, object: Some((object, used)) });
                    }
                    Span::Object(_) | Span::Leased(_) => runs.push(std::mem::take(&mut run)),
                }
            }
            runs.push(run);
        }
        runs.retain(|run| run.iter().any(|piece| piece.object.is_some()));
        runs
    }
}

/// The smallest ranges of a run that are at least `needed` bytes and have an object.
fn windows(run: &[Piece], needed: u64) -> Vec<Window> {
    let mut found = Vec::new();
    let (mut open, mut bytes) = (VecDeque::new(), 0);
    for piece in run {
        open.push_back(*piece);
        bytes += piece.bytes;
        while open.front().is_some_and(|first: &Piece| bytes - first.bytes >= needed) {
            bytes -= open.pop_front().map_or(0, |first| first.bytes);
        }
        let objects: Vec<(ObjectId, u64)> = open.iter().filter_map(|piece| piece.object).collect();
        let Some(used) = objects.iter().map(|(_, used)| *used).max().filter(|_| bytes >= needed) else { continue };
        let in_objects = open.iter().filter(|piece| piece.object.is_some()).map(|piece| piece.bytes).sum();
        found.push(Window {
            used,
            bytes: in_objects,
            objects: objects.into_iter().map(|(object, _)| object).collect(),
        });
    }
    found
}
