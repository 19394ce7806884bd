//! `cosine_similarity(a, b)`: how alike two vectors are, from -1 to 1, for search in tables of vectors:
//!
//! ```sql
//! SELECT id, cosine_similarity(d.embedding, q.embedding) AS score FROM docs AS d CROSS JOIN query AS q ORDER BY score DESC LIMIT 10
//! ```
//!
//! Σ aᵢbᵢ / (‖a‖ ‖b‖), summed in `f64` in the order of the values, so that the answer does not depend on the batch. It is null if a
//! vector is, or one of its values, or if one has no direction because all values are 0.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, LargeListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

const NAME: &str = "cosine_similarity";

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(CosineSimilarity { signature }))
});

/// The function, for planners and for plans that were planned elsewhere.
pub(super) fn cosine_similarity() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CosineSimilarity {
    signature: Signature,
}

impl ScalarUDFImpl for CosineSimilarity {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != 2 {
            return plan_err!("{NAME} compares two vectors, not {}", types.len());
        }
        types.iter().map(vector_type).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [a, b] = args.args.as_slice() else { return exec_err!("{NAME} compares two vectors") };
        let is_scalar = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
        if is_scalar(a) && is_scalar(b) {
            let (a, b) = (Vectors::new(&a.to_array(1)?)?, Vectors::new(&b.to_array(1)?)?);
            return Ok(ColumnarValue::Scalar(similarity(&a, 0, &b, 0)?.into()));
        }
        // One that is the same for all rows is not repeated for each.
        let vectors = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(_) => {
                Ok::<_, datafusion::error::DataFusionError>((Vectors::new(&value.to_array(1)?)?, 0))
            }
            ColumnarValue::Array(array) => Ok((Vectors::new(array)?, 1)),
        };
        let ((a, a_step), (b, b_step)) = (vectors(a)?, vectors(b)?);
        let scores: Float64Array =
            (0..rows).map(|row| similarity(&a, row * a_step, &b, row * b_step)).collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(scores)))
    }
}

/// The type that a vector is read as: of a fixed length if it has one, else a list.
fn vector_type(given: &DataType) -> Result<DataType> {
    let item = |field: &Field| {
        let numeric = field.data_type().is_numeric() || field.data_type().is_null();
        if !numeric {
            return plan_err!("{NAME} compares vectors of numbers, not of {}", field.data_type());
        }
        Ok(Arc::new(Field::new("item", DataType::Float32, true)))
    };
    match given {
        DataType::FixedSizeList(field, length) => Ok(DataType::FixedSizeList(item(field)?, *length)),
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) => {
            Ok(DataType::LargeList(item(field)?))
        }
        DataType::Null => Ok(DataType::LargeList(Arc::new(Field::new("item", DataType::Float32, true)))),
        other => plan_err!("{NAME} compares vectors, such as columns of lists, not {other}"),
    }
}

/// A column of vectors.
enum Vectors {
    Fixed(FixedSizeListArray, Float32Array),
    Lists(LargeListArray, Float32Array),
}

impl Vectors {
    fn new(column: &ArrayRef) -> Result<Self> {
        let column = cast(column, &vector_type(column.data_type())?)?;
        Ok(match column.as_fixed_size_list_opt() {
            Some(lists) => Self::Fixed(lists.clone(), lists.values().as_primitive::<Float32Type>().clone()),
            None => {
                let lists = column.as_list::<i64>();
                Self::Lists(lists.clone(), lists.values().as_primitive::<Float32Type>().clone())
            }
        })
    }

    /// The values of one vector; none if it or one of them is null.
    fn get(&self, row: usize) -> Option<&[f32]> {
        let (is_null, start, end, values) = match self {
            Self::Fixed(lists, values) => {
                let start = lists.value_offset(row) as usize;
                (lists.is_null(row), start, start + lists.value_length() as usize, values)
            }
            Self::Lists(lists, values) => {
                let offsets = lists.value_offsets();
                (lists.is_null(row), offsets[row] as usize, offsets[row + 1] as usize, values)
            }
        };
        let broken = is_null || values.nulls().is_some_and(|nulls| nulls.slice(start, end - start).null_count() > 0);
        (!broken).then(|| &values.values()[start..end])
    }
}

fn similarity(a: &Vectors, row_a: usize, b: &Vectors, row_b: usize) -> Result<Option<f64>> {
    let (Some(a), Some(b)) = (a.get(row_a), b.get(row_b)) else { return Ok(None) };
    if a.len() != b.len() {
        return exec_err!("{NAME} compares vectors of one length, not of {} and {}", a.len(), b.len());
    }
    let (mut dot, mut norm_a, mut norm_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        norm_a += a * a;
        norm_b += b * b;
    }
    let norms = norm_a.sqrt() * norm_b.sqrt();
    Ok((norms > 0.0).then(|| dot / norms))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn ask(sql: &str) -> Result<Vec<Option<f64>>> {
        let context = SessionContext::new();
        context.register_udf(ScalarUDF::clone(&cosine_similarity()));
        let batches = context.sql(sql).await?.collect().await?;
        let column = |batch: &arrow::record_batch::RecordBatch| {
            batch.column(0).as_primitive::<arrow::datatypes::Float64Type>().iter().collect::<Vec<_>>()
        };
        Ok(batches.iter().flat_map(column).collect())
    }

    #[tokio::test]
    async fn vectors_of_all_kinds_are_compared() {
        for (a, b, expected) in [
            ("[1.0, 0.0]", "[1.0, 0.0]", Some(1.0)),
            ("[3, 4]", "[-3, -4]", Some(-1.0)),
            ("[1.0, 0.0]", "[0.0, 2.0]", Some(0.0)),
            ("arrow_cast([3.0, 4.0], 'FixedSizeList(2, Float32)')", "[4, 3]", Some(0.96)),
            ("[0.0, 0.0]", "[1.0, 1.0]", None),
            ("[1.0, NULL]", "[1.0, 1.0]", None),
            ("NULL", "[1.0, 1.0]", None),
        ] {
            let found = ask(&format!("SELECT cosine_similarity({a}, {b})")).await.unwrap();
            let close = match (found[0], expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
                (found, expected) => found == expected,
            };
            assert!(close, "{a} {b}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_column_is_compared_with_one_vector() {
        let table = "(VALUES ([1.0, 0.0]), ([0.0, 1.0]), (NULL)) AS t(v)";
        let found = ask(&format!("SELECT cosine_similarity(v, [1.0, 0.0]) FROM {table}")).await.unwrap();
        assert_eq!(found, [Some(1.0), Some(0.0), None]);
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_named() {
        for (arguments, word) in [
            ("[1.0], [1.0, 2.0]", "1 and 2"),
            ("'a', [1.0]", "Utf8"),
            ("['a'], [1.0]", "vectors of numbers"),
            ("[1.0]", "two vectors"),
        ] {
            let error = ask(&format!("SELECT cosine_similarity({arguments})")).await.unwrap_err().to_string();
            assert!(error.contains(word), "{arguments}: {error}");
        }
    }
}
