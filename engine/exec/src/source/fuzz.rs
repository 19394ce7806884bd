//! What must hold of the readers of text files whatever they hold.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::csv::{CsvDecoder, CsvLayout, CsvStart, Dialect, column_names, layout_of, read_csv_head};
use super::infer::schema_of;
use super::json::{JsonDecoder, JsonStart, is_json_array, read_json_head};
use super::rows::{BadRow, Decoded, Decoder, Shape};
use super::schema::parse_schema;
use super::spec::OnBadRow;

const MODES: [OnBadRow; 3] = [OnBadRow::Reject, OnBadRow::Null, OnBadRow::Fail];

/// Reads a CSV file whose types are told from its own rows. The same rows come out however its bytes come; the first two
/// bytes say how.
///
/// # Panics
/// When they do not.
pub fn csv(bytes: &[u8]) {
    let Some((&[piece, options], text)) = bytes.split_first_chunk() else { return };
    let dialect = Dialect { delimiter: b',', quote: (options & 1 == 0).then_some(b'"') };
    let header = options & 2 == 0;
    drop(read_csv_head(text, false, dialect, header));
    let Ok(head) = read_csv_head(text, true, dialect, header) else { return };
    let names = column_names(&head.first, header);
    let layout = layout_of(&names, names.iter().map(String::as_str)).expect("every column has its own name");
    let columns: Vec<_> = names.into_iter().zip(head.kinds).collect();
    let start = CsvStart { line: 1, at_file_start: true, skip_header: header };
    let open = |layout: &CsvLayout, shape: &Shape| CsvDecoder::new(dialect, layout, shape, start).map(Box::new);
    for on_bad_row in MODES {
        let shape = shape(schema_of(&columns), on_bad_row);
        let read = |piece| read(open(&layout, &shape).expect("text files hold these types"), text, piece);
        assert_eq!(read(1 + usize::from(piece)), read(text.len()));
    }
}

/// The same for JSON, lines or one array.
///
/// # Panics
/// When other rows come out.
pub fn json(bytes: &[u8]) {
    let Some((&piece, text)) = bytes.split_first() else { return };
    let is_array = is_json_array(text);
    drop(read_json_head(text, false, is_array));
    let head = read_json_head(text, true, is_array);
    let start = JsonStart { line: 1, at_file_start: true, is_array };
    for on_bad_row in MODES {
        let shape = shape(schema_of(&head.columns), on_bad_row);
        let open = || JsonDecoder::new(&shape, start).map(Box::new).expect("text files hold these types");
        assert_eq!(read(open(), text, 1 + usize::from(piece)), read(open(), text, text.len()));
    }
}

/// Parses `bytes` as the schema text of a source.
pub fn schema(bytes: &[u8]) {
    drop(parse_schema(&String::from_utf8_lossy(bytes)));
}

fn shape(schema: Schema, on_bad_row: OnBadRow) -> Shape {
    let projection = (0..schema.fields().len()).collect();
    Shape { table: Arc::new(schema), projection, on_bad_row, batch_rows: 16 }
}

/// All rows and all bad rows of `text`, given in pieces.
fn read(mut decoder: Box<dyn Decoder>, text: &[u8], piece: usize) -> (Option<RecordBatch>, Vec<BadRow>) {
    let mut pieces = text.chunks(piece.max(1));
    let (mut batches, mut bad_rows) = (Vec::new(), Vec::new());
    loop {
        match decoder.decode().expect("a batch fits its own schema") {
            Decoded::Batch(batch, bad) => {
                batches.push(batch);
                bad_rows.extend(bad);
            }
            Decoded::NeedInput => match pieces.next() {
                Some(piece) => decoder.push(piece),
                None => decoder.end(),
            },
            Decoded::End => break,
        }
    }
    let rows = batches.first().map(|first| concat_batches(&first.schema(), &batches).expect("one schema"));
    (rows, bad_rows)
}
