//! The rows of a statement on their way into objects, a few at a time.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use tandem_ipc::compact;
use tokio::sync::mpsc;

use super::Refused;
use crate::actors::tables;

/// The rows of one object take about so much.
const OBJECT_BYTES: usize = 32 << 20;

/// See the module's header.
pub(super) struct Objects {
    to: mpsc::Sender<Vec<Bytes>>,
    /// That of the first rows.
    schema: Option<SchemaRef>,
    /// Rows of the next object.
    open: Vec<RecordBatch>,
    open_bytes: usize,
}

impl Objects {
    pub(super) fn new(to: mpsc::Sender<Vec<Bytes>>) -> Self {
        Self { to, schema: None, open: Vec::new(), open_bytes: 0 }
    }

    /// Takes the next rows.
    pub(super) async fn push(&mut self, batch: RecordBatch) -> Result<(), Refused> {
        // Parts of larger batches would bring these along.
        let batch = compact(batch).map_err(|error| error.to_string())?;
        let schema = SchemaRef::clone(self.schema.get_or_insert_with(|| batch.schema()));
        self.open_bytes += batch.get_array_memory_size();
        self.open.push(batch);
        if self.open_bytes >= OBJECT_BYTES { self.send(&schema).await } else { Ok(()) }
    }

    /// Sends the rest. Of no rows at all it sends an object with the columns in `schema`.
    pub(super) async fn finish(mut self, schema: &SchemaRef) -> Result<(), Refused> {
        match self.schema.take() {
            None => self.send(schema).await,
            Some(_) if self.open.is_empty() => Ok(()),
            Some(schema) => self.send(&schema).await,
        }
    }

    async fn send(&mut self, schema: &SchemaRef) -> Result<(), Refused> {
        let object = tables::encode(schema, &self.open).map_err(|error| error.to_string())?;
        self.open.clear();
        self.open_bytes = 0;
        self.to.send(object).await.map_err(|_| "nobody wants the rows any more".to_owned())
    }
}
