//! Divides files between partitions, by size alone: nothing of them is read.

use super::plan::{Partitions, Piece, ScanFile};

/// A partition with less than this is not worth a task.
const MIN_PARTITION_BYTES: u64 = 2 << 20;
/// A cut this close to a file's start or end is moved there. So the header of a file, which is within its head, is in the
/// first piece, whatever empty lines come before it.
const MIN_PIECE_BYTES: u64 = 64 << 10;

/// What each of at most `partitions` partitions of `files` reads. At least one, which may read nothing.
pub(crate) fn divide(files: &[ScanFile], partitions: usize) -> Partitions {
    let mut divided = divide_by_size(files, partitions);
    divided.retain(|pieces| !pieces.is_empty());
    if divided.is_empty() {
        divided.push(Vec::new());
    }
    divided
}

/// Lays all files end to end and cuts the whole into equal parts. A file that cannot be split goes to the partition that
/// its middle is in.
fn divide_by_size(files: &[ScanFile], partitions: usize) -> Partitions {
    let total: u64 = files.iter().map(|file| file.entry.size).sum();
    let partitions = (partitions as u64).min(total / MIN_PARTITION_BYTES).max(1);
    let share = total.div_ceil(partitions).max(1);
    let mut divided = vec![Vec::new(); partitions as usize];
    let mut offset = 0;
    for (index, file) in (0..).zip(files) {
        let size = file.entry.size;
        let mut start = 0;
        while file.can_be_split() && start < size {
            let partition = (offset + start.max(MIN_PIECE_BYTES.min(size - 1))) / share;
            let mut end = ((partition + 1) * share - offset).min(size);
            if size - end < MIN_PIECE_BYTES {
                end = size;
            }
            divided[partition as usize].push(Piece { file: index, start, end });
            start = end;
        }
        if !file.can_be_split() {
            divided[((offset + size / 2) / share) as usize].push(Piece { file: index, start: 0, end: size });
        }
        offset += size;
    }
    divided
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::spec::Compression;
    use crate::storage::FileEntry;

    fn file(size: u64, compression: Compression) -> ScanFile {
        let entry = FileEntry { root: "file:///".into(), path: "f".into(), size, etag: None, modified_ms: 0 };
        ScanFile { entry, compression, layout: 0, is_array: false, folder_values: Vec::new() }
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
                    assert_eq!(piece.start, next[piece.file as usize]);
                    next[piece.file as usize] = piece.end;
                }
                assert_eq!(next, sizes);
                let share = |pieces: &Vec<Piece>| pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>();
                let most = divided.iter().map(share).max().unwrap();
                let total: u64 = sizes.iter().sum();
                assert!(most <= total.div_ceil(divided.len() as u64) + 2 * MIN_PIECE_BYTES);
            }
        }
    }

    #[test]
    fn the_head_of_a_file_is_in_its_first_piece() {
        const MIB: u64 = 1 << 20;
        for before in [4 * MIB - 1, 4 * MIB - MIN_PIECE_BYTES + 1, 4 * MIB - MIN_PIECE_BYTES] {
            let divided = divide(&[file(before, Compression::None), file(8 * MIB - before, Compression::None)], 2);
            let first = divided.iter().flatten().find(|piece| piece.file == 1 && piece.start == 0).unwrap();
            assert!(first.end >= MIN_PIECE_BYTES, "{before}: {first:?}");
        }
    }

    #[test]
    fn compressed_files_stay_whole() {
        let files: Vec<ScanFile> = (0..6).map(|_| file(10 << 20, Compression::Gzip)).collect();
        let divided = divide_by_size(&files, 4);
        assert_eq!(divided.iter().flatten().count(), 6);
        assert!(divided.iter().flatten().all(|piece| piece.start == 0 && piece.end == 10 << 20));
        assert!(divided.iter().all(|pieces| pieces.len() <= 2));
    }
}
