//! Partition columns as folders: which folder each row of a batch belongs to.
//!
//! A folder is `column=value`. In both, every byte but letters, digits, `-`, `_`, `.` and what is not ASCII is
//! percent-encoded, so that no value can name another folder. Null is [`NULL_FOLDER`]; a text of that very name is encoded.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::encode::file_schema;
use super::spec::SinkSpec;
use crate::error::{PlanError, TaskError};

/// What Hive, Spark and DuckDB take for null.
pub(crate) const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// Longest name that common filesystems take.
const NAME_LIMIT_BYTES: usize = 255;

/// The rows of one batch that belong to one folder.
#[derive(Debug)]
pub(super) struct Piece {
    /// Identifies the folder: equal for equal values.
    pub(super) key: Arc<[u8]>,
    /// The columns that go to the file.
    pub(super) batch: RecordBatch,
    /// A row of the original batch that has the values; for [`HiveSplitter::folder`].
    pub(super) sample: usize,
}

/// Splits batches by the values of partition columns.
pub(super) struct HiveSplitter {
    names: Vec<String>,
    columns: Vec<usize>,
    kept: Vec<usize>,
    converter: RowConverter,
    file_schema: SchemaRef,
}

impl HiveSplitter {
    /// A splitter of batches of `schema` by `spec.partition_by`, which may be empty.
    pub(super) fn new(spec: &SinkSpec, schema: &Schema) -> Result<Self, TaskError> {
        let fatal = |error: String| TaskError::Fatal(format!("sink `{}`: {error}", spec.name));
        let columns = partition_columns(spec, schema).map_err(|error| TaskError::Fatal(error.to_string()))?;
        let kept = (0..schema.fields().len()).filter(|index| !columns.contains(index)).collect();
        let sort_fields = columns.iter().map(|&at| SortField::new(schema.field(at).data_type().clone())).collect();
        Ok(Self {
            names: spec.partition_by.clone(),
            file_schema: file_schema(schema, &columns),
            kept,
            converter: RowConverter::new(sort_fields).map_err(|error| fatal(error.to_string()))?,
            columns,
        })
    }

    /// The schema of the files.
    pub(super) fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The pieces of `batch`, in the order in which their first rows come.
    pub(super) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<Piece>, TaskError> {
        let fatal = |error: arrow::error::ArrowError| TaskError::Fatal(format!("rows cannot be partitioned: {error}"));
        let kept: Vec<ArrayRef> = self.kept.iter().map(|&index| batch.column(index).clone()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let kept = RecordBatch::try_new_with_options(self.file_schema.clone(), kept, &options).map_err(fatal)?;
        if self.columns.is_empty() {
            return Ok(vec![Piece { key: Arc::new([]), batch: kept, sample: 0 }]);
        }
        let groups = self.group(batch).map_err(fatal)?;
        if let [(key, _)] = groups.as_slice() {
            return Ok(vec![Piece { key: key.clone(), batch: kept, sample: 0 }]);
        }
        let piece = |(key, rows): (Arc<[u8]>, Vec<u32>)| {
            let sample = rows.first().map_or(0, |&row| row as usize);
            let batch = take_record_batch(&kept, &UInt32Array::from(rows)).map_err(fatal)?;
            Ok(Piece { key, batch, sample })
        };
        groups.into_iter().map(piece).collect()
    }

    /// Row numbers by partition values, in the order in which their first rows come.
    fn group(&mut self, batch: &RecordBatch) -> Result<Vec<(Arc<[u8]>, Vec<u32>)>, arrow::error::ArrowError> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&index| batch.column(index).clone()).collect();
        let rows = self.converter.convert_columns(&columns)?;
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut groups: Vec<(Arc<[u8]>, Vec<u32>)> = Vec::new();
        for number in 0..batch.num_rows() {
            let row = rows.row(number);
            let next = groups.len();
            let place = *places.entry(row.data()).or_insert(next);
            if place == next {
                groups.push((row.data().into(), Vec::new()));
            }
            groups[place].1.push(number as u32);
        }
        Ok(groups)
    }

    /// The folder of `row` of `batch`, ending in `/`; empty without partition columns.
    pub(super) fn folder(&self, batch: &RecordBatch, row: usize) -> Result<String, TaskError> {
        let mut folder = String::new();
        for (name, &column) in self.names.iter().zip(&self.columns) {
            let part = format!("{}={}", encode(name), value_text(batch.column(column), row)?);
            if part.len() > NAME_LIMIT_BYTES {
                let shown: String = part.chars().take(60).collect();
                return Err(TaskError::Fatal(format!(
                    "a value of partition column `{name}` is too long for a folder name ({} bytes, at most {NAME_LIMIT_BYTES}): {shown}…",
                    part.len()
                )));
            }
            folder.push_str(&part);
            folder.push('/');
        }
        Ok(folder)
    }
}

/// The places of `spec.partition_by` in `schema`.
pub(super) fn partition_columns(spec: &SinkSpec, schema: &Schema) -> Result<Vec<usize>, PlanError> {
    let mut columns = Vec::with_capacity(spec.partition_by.len());
    for name in &spec.partition_by {
        let Ok(index) = schema.index_of(name) else {
            let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let known = format!("the columns are {}", known.join(", "));
            return Err(spec.invalid(&format!("partition_by column `{name}` does not exist"), &known));
        };
        let data_type = schema.field(index).data_type();
        if data_type.is_nested() && !matches!(data_type, DataType::Dictionary(..)) {
            let what = format!("partition_by column `{name}` of type {data_type} cannot be a folder name");
            return Err(spec.invalid(&what, "use a column of dates, numbers, booleans or short texts"));
        }
        if columns.contains(&index) {
            return Err(spec.invalid(&format!("partition_by names column `{name}` twice"), "name each column once"));
        }
        columns.push(index);
    }
    if !columns.is_empty() && columns.len() == schema.fields().len() {
        return Err(spec.invalid("partition_by names every column, so files would have none", "leave one column out"));
    }
    Ok(columns)
}

fn value_text(column: &ArrayRef, row: usize) -> Result<String, TaskError> {
    if column.is_null(row) {
        return Ok(NULL_FOLDER.to_owned());
    }
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column, &options);
    let text = formatter.and_then(|formatter| formatter.value(row).try_to_string());
    let text = text.map_err(|error| TaskError::Fatal(format!("a partition value cannot be written: {error}")))?;
    if text == NULL_FOLDER {
        return Ok(text.replacen('_', "%5F", 1));
    }
    Ok(encode(&text))
}

/// Percent-encodes what is special in a path, a URL or a glob.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => encoded.push(character),
            // Control characters beyond ASCII would make names that no shell can show.
            other if !other.is_ascii() && !other.is_control() => encoded.push(other),
            other => {
                let mut bytes = [0; 4];
                for byte in other.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(encoded, "%{byte:02X}");
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int64Array, StringArray};

    use super::*;
    use crate::sink::SinkFormat;

    fn splitter(by: &[&str], batch: &RecordBatch) -> HiveSplitter {
        let mut spec = SinkSpec::new("s", "/x", SinkFormat::Parquet);
        spec.partition_by = by.iter().map(|name| (*name).to_owned()).collect();
        HiveSplitter::new(&spec, &batch.schema()).unwrap()
    }

    fn batch(values: Vec<Option<&str>>) -> RecordBatch {
        let rows = Int64Array::from_iter_values(0..values.len() as i64);
        let days = Date32Array::from_iter_values(values.iter().map(|_| 20_000));
        let values = StringArray::from(values);
        let columns: [(&str, ArrayRef); 3] = [("v", Arc::new(values)), ("d", Arc::new(days)), ("n", Arc::new(rows))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn folders(batch: &RecordBatch) -> Vec<String> {
        let mut splitter = splitter(&["v"], batch);
        let pieces = splitter.split(batch).unwrap();
        pieces.iter().map(|piece| splitter.folder(batch, piece.sample).unwrap()).collect()
    }

    #[test]
    fn hostile_values_stay_below_their_folder() {
        let values = ["../../etc", "/", ".", "..", "a/b", "a\\b", "\0", "%2F", "=", "*?[", " ", "", "é", "\u{85}"];
        let expected = [
            "v=..%2F..%2Fetc/",
            "v=%2F/",
            "v=./",
            "v=../",
            "v=a%2Fb/",
            "v=a%5Cb/",
            "v=%00/",
            "v=%252F/",
            "v=%3D/",
            "v=%2A%3F%5B/",
            "v=%20/",
            "v=/",
            "v=é/",
            "v=%C2%85/",
        ];
        assert_eq!(folders(&batch(values.into_iter().map(Some).collect())), expected);
    }

    #[test]
    fn null_and_its_name_are_two_folders() {
        let batch = batch(vec![None, Some(NULL_FOLDER), None]);
        assert_eq!(folders(&batch), [format!("v={NULL_FOLDER}/"), "v=%5F_HIVE_DEFAULT_PARTITION__/".to_owned()]);
    }

    #[test]
    fn rows_keep_their_order_in_each_piece() {
        let batch = batch(vec![Some("a"), Some("b"), Some("a"), Some("b"), Some("a")]);
        let mut splitter = splitter(&["v", "d"], &batch);
        let pieces = splitter.split(&batch).unwrap();
        assert_eq!(splitter.folder(&batch, pieces[1].sample).unwrap(), "v=b/d=2024-10-04/");
        let rows: Vec<_> = pieces.iter().map(|piece| piece.batch.column(0).as_ref().clone_rows()).collect();
        assert_eq!(rows, [vec![0, 2, 4], vec![1, 3]]);
    }

    trait CloneRows {
        fn clone_rows(&self) -> Vec<i64>;
    }

    impl CloneRows for dyn Array {
        fn clone_rows(&self) -> Vec<i64> {
            self.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_named() {
        let long = "x".repeat(300);
        let batch = batch(vec![Some(&long)]);
        let error = splitter(&["v"], &batch).folder(&batch, 0).unwrap_err().to_string();
        assert!(error.contains("column `v` is too long"), "{error}");
    }

    #[test]
    fn unusable_partition_columns_are_named() {
        let schema = batch(vec![None]).schema();
        let message = |by: &[&str]| {
            let mut spec = SinkSpec::new("s", "/x", SinkFormat::Parquet);
            spec.partition_by = by.iter().map(|name| (*name).to_owned()).collect();
            partition_columns(&spec, &schema).unwrap_err().to_string()
        };
        assert_eq!(message(&["day"]), "sink `s`: partition_by column `day` does not exist");
        assert!(message(&["v", "v"]).contains("twice"));
        assert!(message(&["v", "d", "n"]).contains("every column"));
    }
}
