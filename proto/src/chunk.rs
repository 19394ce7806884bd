//! Cutting a large message into pieces that fit any transport limit.

use prost::bytes::Bytes;

use crate::v1::Chunk;

/// Largest payload of one [`Chunk`].
pub const CHUNK_BYTES: usize = 1 << 20;

/// The pieces of `data`, in order, without copying. Empty data is no piece.
pub fn chunks(data: Bytes) -> impl Iterator<Item = Chunk> + Send {
    let mut rest = data;
    std::iter::from_fn(move || (!rest.is_empty()).then(|| Chunk { data: rest.split_to(rest.len().min(CHUNK_BYTES)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_whole() {
        for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let data = Bytes::from((0..len).map(|i| i as u8).collect::<Vec<_>>());
            let pieces: Vec<_> = chunks(data.clone()).collect();
            assert!(pieces.iter().all(|piece| !piece.data.is_empty() && piece.data.len() <= CHUNK_BYTES));
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.to_vec()).collect();
            assert_eq!(joined, data);
        }
    }
}
