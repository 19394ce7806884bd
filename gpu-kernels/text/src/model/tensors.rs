//! The tensors of a weights file, read one by one, so that no more than one is in memory besides what is made of them.
//! Invariant: nothing is allocated for a tensor before the header says that it has the shape the model asks for, and that
//! header describes the file to the byte.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::folder::{Folder, LoadError};

const WEIGHTS: &str = "model.safetensors";
/// Bytes in front of the header: its length.
const LENGTH: u64 = 8;
/// Bytes of the longest header; those of real models have some ten thousand.
const LONGEST_HEADER: u64 = 100 << 20;
/// Bytes read at once; whole numbers of any type.
const CHUNK: usize = 1 << 20;

/// An open weights file.
pub(super) struct Tensors {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the first tensor begins.
    data: u64,
    /// What names begin with.
    prefix: &'static str,
}

impl Tensors {
    /// Opens the file and reads its header.
    pub(super) fn open(folder: &Folder) -> Result<Self, LoadError> {
        let path = folder.file(WEIGHTS);
        let (file, header, data) = open(&path)?;
        let prefix = if header.info("bert.embeddings.word_embeddings.weight").is_some() { "bert." } else { "" };
        Ok(Self { path, file, header, data, prefix })
    }

    /// The values of a tensor.
    pub(super) fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = format!("{}{name}", self.prefix);
        let path = || self.path.clone();
        let Some(info) = self.header.info(&tensor) else {
            return Err(LoadError::MissingTensor { path: path(), tensor });
        };
        if info.shape != shape {
            return Err(LoadError::TensorShape {
                path: path(),
                tensor,
                got: info.shape.clone(),
                expected: shape.into(),
            });
        }
        let (width, convert): (usize, fn(&[u8]) -> f32) = match info.dtype {
            Dtype::F32 => (4, |bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))),
            Dtype::F16 => (2, |bytes| from_f16(u16::from_le_bytes(bytes.try_into().expect("two bytes")))),
            Dtype::BF16 => (2, |bytes| f32::from_bits(u32::from(bytes[1]) << 24 | u32::from(bytes[0]) << 16)),
            got => return Err(LoadError::TensorType { path: path(), tensor, got }),
        };
        let (start, end) = info.data_offsets;
        let mut values = Vec::with_capacity((end - start) / width);
        let failed = |source| LoadError::Read { path: path(), source };
        self.file.seek(SeekFrom::Start(self.data + start as u64)).map_err(failed)?;
        let mut bytes = vec![0; CHUNK.min(end - start)];
        let mut left = end - start;
        while left > 0 {
            let chunk = &mut bytes[..CHUNK.min(left)];
            self.file.read_exact(chunk).map_err(failed)?;
            values.extend(chunk.chunks_exact(width).map(convert));
            left -= chunk.len();
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(entry) => Err(LoadError::NotFinite { path: path(), tensor, entry, value: values[entry] }),
            None => Ok(values),
        }
    }
}

fn open(path: &Path) -> Result<(File, Metadata, u64), LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let wrong = |got, expected| LoadError::FileLength { path: path.to_owned(), got, expected };
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes < LENGTH {
        return Err(wrong(bytes, LENGTH));
    }
    let mut length = [0; LENGTH as usize];
    file.read_exact(&mut length).map_err(failed)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(failed(Error::new(ErrorKind::InvalidData, "no safetensors file: the header is too long")));
    }
    if LENGTH + length > bytes {
        return Err(wrong(bytes, LENGTH + length));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(failed)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|source| LoadError::Json { path: path.to_owned(), source })?;
    let data = LENGTH + length;
    match data + header.data_len() as u64 {
        expected if expected == bytes => Ok((file, header, data)),
        expected => Err(wrong(bytes, expected)),
    }
}

/// The number that half a float stands for.
fn from_f16(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), (bits >> 10) & 0x1F, u32::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => fraction as f32 * 2f32.powi(-24),
        0x1F if fraction == 0 => f32::INFINITY,
        0x1F => f32::NAN,
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_they_stand_for() {
        let cases = [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7BFF, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x83FF, -6.097_555e-5),
            (0x7C00, f32::INFINITY),
            (0xFC00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(from_f16(bits), value, "{bits:x}");
        }
        assert!(from_f16(0x7E00).is_nan());
        assert!(from_f16(0x8000).is_sign_negative());
    }
}
