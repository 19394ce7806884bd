//! The pieces of a vocabulary as a tree of bytes, for finding the longest that a word begins with in one walk.
//!
//! ```text
//!   root ─t─► ─h─► ─e─► "the"          an edge is an entry of one hash table: node and byte ─► node behind, piece that
//!          └──#─► ─#─► ─s─► "##s"      ends there; walks inside of a word start behind the continuation prefix
//! ```
//!
//! Source: longest match first, as Wu et al., "Google's Neural Machine Translation System" (2016), cut words; the walk is
//! the usual one over a trie (Fredkin, 1960).

/// A tree of pieces.
pub(super) struct Trie {
    /// A power of two of edges, at most half of them used.
    edges: Vec<Edge>,
    /// 64 less the logarithm of their number.
    shift: u32,
    /// Where walks start inside of a word; none if no piece has the prefix.
    inside: Option<u32>,
}

#[derive(Clone, Copy)]
struct Edge {
    /// The node times 256 plus the byte, or [`NOTHING`].
    key: u32,
    behind: u32,
    /// The piece's id, or [`NOTHING`].
    piece: u32,
}

const NOTHING: u32 = u32::MAX;
/// Nodes that keys have room for.
const MOST_NODES: usize = (NOTHING >> 8) as usize;
const ROOT: u32 = 0;

impl Trie {
    /// A tree of these pieces; of two that are equal, the later counts. None if they have more than 16 million bytes.
    pub(super) fn new<'a>(pieces: impl Iterator<Item = (&'a str, u32)> + Clone, prefix: &str) -> Option<Self> {
        let most = pieces.clone().map(|(piece, _)| piece.len()).sum::<usize>();
        if most >= MOST_NODES {
            return None;
        }
        let slots = (2 * most + 2).next_power_of_two();
        let empty = Edge { key: NOTHING, behind: NOTHING, piece: NOTHING };
        let mut trie = Self { edges: vec![empty; slots], shift: 64 - slots.trailing_zeros(), inside: None };
        let mut nodes = 1;
        for (piece, id) in pieces {
            trie.insert(piece.as_bytes(), id, &mut nodes);
        }
        trie.inside = prefix.bytes().try_fold(ROOT, |node, byte| trie.edge(node, byte).map(|edge| edge.behind));
        Some(trie)
    }

    fn insert(&mut self, piece: &[u8], id: u32, nodes: &mut u32) {
        let mut node = ROOT;
        for (at, byte) in piece.iter().enumerate() {
            let slot = self.slot(node, *byte);
            let edge = &mut self.edges[slot];
            if edge.key == NOTHING {
                *edge = Edge { key: node << 8 | u32::from(*byte), behind: *nodes, piece: NOTHING };
                *nodes += 1;
            }
            if at + 1 == piece.len() {
                edge.piece = id;
            }
            node = edge.behind;
        }
    }

    /// The slot of an edge, or the free one where it would be.
    #[inline]
    fn slot(&self, node: u32, byte: u8) -> usize {
        let key = node << 8 | u32::from(byte);
        let mask = self.edges.len() - 1;
        let mut slot = (u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize;
        while self.edges[slot & mask].key != key && self.edges[slot & mask].key != NOTHING {
            slot += 1;
        }
        slot & mask
    }

    #[inline]
    fn edge(&self, node: u32, byte: u8) -> Option<Edge> {
        Some(self.edges[self.slot(node, byte)]).filter(|edge| edge.key != NOTHING)
    }

    /// The longest piece that `word` begins with, and its length.
    #[inline]
    fn longest(&self, start: u32, word: &[u8]) -> Option<(u32, usize)> {
        let (mut node, mut best) = (start, None);
        for (at, byte) in word.iter().enumerate() {
            let Some(edge) = self.edge(node, *byte) else { break };
            if edge.piece != NOTHING {
                best = Some((edge.piece, at + 1));
            }
            node = edge.behind;
        }
        best
    }

    /// Appends the pieces of a word: the longest that it begins with, then of the rest. Appends nothing and answers false
    /// if some rest begins with no piece.
    #[inline]
    pub(super) fn cut(&self, word: &[u8], ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        let (mut start, mut rest) = (Some(ROOT), word);
        while !rest.is_empty() {
            let Some((piece, length)) = start.and_then(|start| self.longest(start, rest)) else {
                ids.truncate(before);
                return false;
            };
            ids.push(piece);
            (start, rest) = (self.inside, &rest[length..]);
        }
        true
    }
}
