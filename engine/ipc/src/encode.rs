//! Encodes batches into the messages of an IPC stream.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow_ipc::{CompressionType, MetadataVersion};

use crate::compact::compact;

/// The last bytes of a stream. A stream without them was cut.
pub const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Larger batches become several messages, so that readers never need much memory for one.
const MESSAGE_BYTES: usize = 8 << 20;
/// Readers put every buffer into memory of its own, so more alignment would only be padding.
const ALIGNMENT: usize = 8;

/// What becomes of the bodies of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyCompression {
    /// They stay as they are.
    None,
    /// Every buffer is an LZ4 frame, where that is smaller.
    Lz4,
}

/// Encodes batches of one schema.
pub struct Encoder {
    schema_message: Vec<u8>,
    dictionaries: usize,
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    context: IpcWriteContext,
}

impl Encoder {
    /// An encoder for batches with columns of the types in `schema`.
    pub fn new(schema: &Schema, compression: BodyCompression) -> Self {
        let codec = match compression {
            BodyCompression::None => None,
            BodyCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
        };
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(codec))
            .expect("alignment, version and compression go together");
        let generator = IpcDataGenerator::default();
        let mut tracker = DictionaryTracker::new(false);
        let schema = generator.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
        let mut schema_message = Vec::new();
        write_message(&mut schema_message, schema, &options).expect("writing to memory does not fail");
        let mut context = IpcWriteContext::default();
        context.set_reserve_scratch(true);
        Self { schema_message, dictionaries: tracker.dict_id().len(), options, generator, context }
    }

    /// The message that a stream begins with.
    pub fn schema_message(&self) -> &[u8] {
        &self.schema_message
    }

    /// Appends the messages of `batch` to `out`.
    pub fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.encode_compact(&compact(batch.clone())?, out)
    }

    /// [`Self::encode`] for a batch that holds little more than its rows need.
    pub fn encode_compact(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let messages = batch.get_array_memory_size().div_ceil(MESSAGE_BYTES).max(1);
        let rows = batch.num_rows().div_ceil(messages).max(1);
        if rows >= batch.num_rows() {
            return self.encode_one(batch, out);
        }
        for start in (0..batch.num_rows()).step_by(rows) {
            let slice = batch.slice(start, rows.min(batch.num_rows() - start));
            self.encode_one(&compact(slice)?, out)?;
        }
        Ok(())
    }

    fn encode_one(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        // A fresh tracker sends all dictionaries again; ids count up as in the schema message.
        let mut tracker = DictionaryTracker::new(false);
        for _ in 0..self.dictionaries {
            tracker.next_dict_id();
        }
        let (dictionaries, batch) = self.generator.encode(batch, &mut tracker, &self.options, &mut self.context)?;
        for message in dictionaries.into_iter().chain([batch]) {
            self.write(message, out)?;
        }
        Ok(())
    }

    fn write(&self, message: EncodedData, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        out.reserve(message.ipc_message.len() + message.arrow_data.len() + 2 * ALIGNMENT);
        write_message(out, message, &self.options).map(drop)
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("dictionaries", &self.dictionaries).finish_non_exhaustive()
    }
}
