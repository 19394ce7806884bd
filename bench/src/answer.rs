//! What two programs answered, compared: small answers row by row, large ones by checksums that no order changes.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use futures::StreamExt;

/// The rows as sorted texts, floats cut to nine significant digits.
pub(crate) fn rows_of(batches: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(texts).collect::<anyhow::Result<Vec<_>>>()?;
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].as_str()).collect::<Vec<_>>().join("|")),
        );
    }
    rows.sort();
    Ok(rows)
}

fn texts(column: &ArrayRef) -> anyhow::Result<Vec<String>> {
    let column = plain(column)?;
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(&column, &options)?;
    let float = column.data_type().is_floating();
    (0..column.len())
        .map(|row| {
            let text = formatter.value(row).to_string();
            Ok(if float && !text.is_empty() { format!("{:.9e}", text.parse::<f64>()?) } else { text })
        })
        .collect()
}

/// The same values in the one type that all programs can be brought to.
fn plain(column: &ArrayRef) -> anyhow::Result<ArrayRef> {
    let to = match column.data_type() {
        kind if kind.is_integer() => DataType::Int64,
        DataType::Decimal128(_, scale) | DataType::Decimal64(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => DataType::Utf8,
        _ => return Ok(Arc::clone(column)),
    };
    Ok(cast(column, &to)?)
}

/// The number of rows of a table and checksums of their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    /// Of whole rows.
    sum: u64,
    /// Of the values of each column.
    columns: BTreeMap<String, u64>,
}

impl Digest {
    pub(crate) async fn of(table: DataFrame) -> anyhow::Result<Self> {
        let mut digest = Self { rows: 0, sum: 0, columns: BTreeMap::new() };
        let mut batches = table.execute_stream().await?;
        while let Some(batch) = batches.next().await {
            digest.add(&batch?)?;
        }
        Ok(digest)
    }

    fn add(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let columns = batch.columns().iter().map(plain).collect::<anyhow::Result<Vec<_>>>()?;
        self.rows += batch.num_rows() as u64;
        self.sum = self.sum.wrapping_add(checksum(&columns)?);
        for (field, column) in batch.schema().fields().iter().zip(&columns) {
            let sum = self.columns.entry(field.name().clone()).or_default();
            *sum = sum.wrapping_add(checksum(std::slice::from_ref(column))?);
        }
        Ok(())
    }

    /// Refuses another answer, saying which columns differ.
    pub(crate) fn must_equal(&self, other: &Self, what: &str) -> anyhow::Result<()> {
        ensure!(self.rows == other.rows, "{what}: {} rows, not {}", self.rows, other.rows);
        let differ: Vec<&String> =
            self.columns.keys().filter(|name| self.columns.get(*name) != other.columns.get(*name)).collect();
        ensure!(differ.is_empty(), "{what}: other values in {differ:?}");
        ensure!(self == other, "{what}: the same values, but not in the same rows");
        Ok(())
    }
}

fn checksum(columns: &[ArrayRef]) -> anyhow::Result<u64> {
    let rows = columns.first().context("a table without columns")?.len();
    let mut hashes = vec![0; rows];
    let state = RandomState::default();
    create_hashes(columns, &state, &mut hashes)?;
    // The hash of a row is a weighted sum over its columns: summed as it is, it would not tell which values share a row.
    Ok(hashes.into_iter().map(|hash| state.hash_one(hash)).fold(0, u64::wrapping_add))
}

/// Columns `names` of Parquet files in `path`, which may be parted by a date.
pub(crate) async fn parquet(path: &Path, names: &[&str], parted_by: Option<&str>) -> anyhow::Result<DataFrame> {
    let parts = parted_by.map(|name| (name.to_owned(), DataType::Date32));
    let options = ParquetReadOptions::default().table_partition_cols(parts.into_iter().collect());
    let path = path.to_str().context("a path that is not UTF-8")?;
    Ok(SessionContext::new().read_parquet(path, options).await?.select_columns(names)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, Int64Array, StringArray, StringViewArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn digest(ids: ArrayRef, names: ArrayRef) -> Digest {
        let fields =
            vec![Field::new("id", ids.data_type().clone(), true), Field::new("name", names.data_type().clone(), true)];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids, names]).unwrap();
        let mut digest = Digest { rows: 0, sum: 0, columns: BTreeMap::new() };
        digest.add(&batch).unwrap();
        digest
    }

    #[test]
    fn neither_order_nor_type_changes_a_digest_but_a_swapped_value_does() {
        let one = digest(Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"])));
        let turned = digest(Arc::new(Int64Array::from(vec![2, 1])), Arc::new(StringViewArray::from(vec!["b", "a"])));
        let swapped = digest(Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["b", "a"])));
        one.must_equal(&turned, "table").unwrap();
        let error = one.must_equal(&swapped, "table").unwrap_err();
        assert_eq!(error.to_string(), "table: the same values, but not in the same rows");
    }

    #[test]
    fn a_difference_names_its_column() {
        let one = digest(Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"])));
        let other = digest(Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["b"])));
        assert_eq!(one.must_equal(&other, "t").unwrap_err().to_string(), r#"t: other values in ["name"]"#);
    }
}
