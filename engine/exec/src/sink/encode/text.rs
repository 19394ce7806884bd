//! The compression that all text formats share.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::{OutputBuffer, fatal};
use crate::error::TaskError;
use crate::sink::spec::Compression;

/// Fast levels: a sink is rarely worth a slower one.
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(4);
const ZSTD_LEVEL: i32 = 1;
/// What a compressor holds: its window and tables.
const PACKER_BYTES: usize = 1 << 20;

/// Compresses text on its way to the file.
pub(super) enum Packer {
    Plain(OutputBuffer),
    Gzip(GzEncoder<OutputBuffer>),
    Zstd(ZstdEncoder<'static, OutputBuffer>),
}

impl Packer {
    pub(super) fn new(compression: Compression, output: OutputBuffer) -> Result<Self, TaskError> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(GzEncoder::new(output, GZIP_LEVEL)),
            Compression::Zstd => Self::Zstd(ZstdEncoder::new(output, ZSTD_LEVEL).map_err(fatal)?),
            Compression::None => Self::Plain(output),
            Compression::Snappy | Compression::Lz4 => return Err(fatal("text has no such compression")),
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Gzip(_) | Self::Zstd(_) => PACKER_BYTES,
        }
    }

    pub(super) fn finish(self) -> Result<(), TaskError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(packer) => packer.finish().map(drop).map_err(fatal),
            Self::Zstd(packer) => packer.finish().map(drop).map_err(fatal),
        }
    }
}

impl Write for Packer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(data),
            Self::Gzip(packer) => packer.write(data),
            Self::Zstd(packer) => packer.write(data),
        }
    }

    /// Does nothing, so that a flush per batch does not cost compression; [`Packer::finish`] writes everything.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
