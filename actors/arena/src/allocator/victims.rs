//! Which objects to write elsewhere so that there is room: neighbours that nobody has used for the longest time.
//! Objects are looked at from the one that was not used for the longest time on. Each that may go makes one range with what is
//! free beside it and with neighbours that may go as well; the first range that is large enough has the ones to choose. So no
//! more objects are looked at than have to go, unless pinned ones are everywhere.

use std::collections::BTreeMap;
use std::ops::Range;

use super::extent::{Extent, Span};
use super::{Allocator, KNOWN, padded};
use crate::id::{ExtentId, ObjectId};

/// Ranges of extents that are free or may be.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<(ExtentId, u64), u64>);

/// A look for neighbours whose room together is enough.
#[derive(Debug)]
enum Search {
    /// For so many bytes.
    Open(u64),
    Found(Vec<ObjectId>),
    /// There are some, but they have more bytes than may go.
    Vain,
}

impl Allocator {
    /// Objects that `may_go`, of `most` bytes together, whose room and the free spans between them are enough for a lease of `useful`
    /// bytes, or else of `bytes`. When there are no such neighbours, those that were not used for the longest time. None: nothing may go.
    pub fn victims(&self, bytes: u64, useful: u64, most: u64, may_go: impl Fn(ObjectId) -> bool) -> Vec<ObjectId> {
        let [mut wide, mut narrow] = [useful.max(bytes), bytes].map(Search::new);
        let (mut oldest, mut oldest_bytes) = (Vec::new(), 0);
        let mut ranges = Ranges::default();
        for (object, location) in self.objects.oldest_first() {
            let object_bytes = padded(location.length).expect("it was checked when it was published");
            if object_bytes > most || !may_go(object) {
                continue;
            }
            let extent = self.extents.get(&location.extent).expect(KNOWN);
            let range = ranges.join(location.extent, extent.with_free_neighbours(location.offset));
            for search in [&mut wide, &mut narrow] {
                search.look(extent, &range, most);
            }
            match (&mut wide, &mut narrow) {
                (Search::Found(objects), _) | (Search::Vain, Search::Found(objects)) => return std::mem::take(objects),
                _ => {}
            }
            if oldest_bytes < bytes && object_bytes <= most - oldest_bytes {
                oldest_bytes += object_bytes;
                oldest.push(object);
            }
        }
        if let Search::Found(objects) = narrow { objects } else { oldest }
    }
}

impl Search {
    fn new(bytes: u64) -> Self {
        padded(bytes).map_or(Self::Vain, Self::Open)
    }

    /// Looks at a range that has become larger.
    fn look(&mut self, extent: &Extent, range: &Range<u64>, most: u64) {
        if let Self::Open(needed) = *self
            && range.end - range.start >= needed
        {
            let (bytes, objects) = fewest(extent, range, needed);
            *self = if bytes <= most { Self::Found(objects) } else { Self::Vain };
        }
    }
}

impl Ranges {
    /// Adds a range, and says what it is with those that it touches.
    fn join(&mut self, extent: ExtentId, mut range: Range<u64>) -> Range<u64> {
        let before = self.0.range((extent, 0)..=(extent, range.end)).rev();
        let touching = before.take_while(|(_, end)| **end >= range.start);
        for start in touching.map(|((_, start), _)| *start).collect::<Vec<_>>() {
            let end = self.0.remove(&(extent, start)).expect("it was just there");
            range = range.start.min(start)..range.end.max(end);
        }
        self.0.insert((extent, range.start), range.end);
        range
    }
}

/// The neighbours in a range that have the fewest bytes and with what is free between them at least `needed`, which the whole
/// range has.
fn fewest(extent: &Extent, range: &Range<u64>, needed: u64) -> (u64, Vec<ObjectId>) {
    let pieces: Vec<Piece> = extent.spans_within(range).map(|(_, bytes, span)| Piece::new(bytes, span)).collect();
    let (mut first, mut bytes, mut in_objects) = (0, 0, 0);
    let mut fewest = None;
    for (last, piece) in pieces.iter().enumerate() {
        bytes += piece.bytes;
        in_objects += piece.in_object();
        // As few as are enough, but not none.
        while bytes - pieces[first].bytes >= needed && in_objects > pieces[first].in_object() {
            bytes -= pieces[first].bytes;
            in_objects -= pieces[first].in_object();
            first += 1;
        }
        if bytes >= needed && in_objects > 0 && fewest.as_ref().is_none_or(|(least, _)| in_objects < *least) {
            fewest = Some((in_objects, first..=last));
        }
    }
    let (bytes, chosen) = fewest.expect("the whole range is enough");
    (bytes, pieces[chosen].iter().filter_map(|piece| piece.object).collect())
}

/// A free span, or an object that may go.
#[derive(Debug)]
struct Piece {
    bytes: u64,
    object: Option<ObjectId>,
}

impl Piece {
    fn new(bytes: u64, span: Span) -> Self {
        Self { bytes, object: if let Span::Object(object) = span { Some(object) } else { None } }
    }

    fn in_object(&self) -> u64 {
        if self.object.is_some() { self.bytes } else { 0 }
    }
}
