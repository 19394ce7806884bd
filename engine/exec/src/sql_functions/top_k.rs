//! `top_k(value, score, k)`: the `k` rows of a group with the highest scores, for exact search in tables of vectors:
//!
//! ```sql
//! SELECT language, top_k(id, cosine_similarity(embedding, [0.1, 0.9]), 10) AS best FROM docs GROUP BY language
//! ```
//!
//! ```text
//!   rows of a partition ─► at most k of each group ─exchange─► at most k of each group ─► list of {value, score}
//! ```
//!
//! The highest score is first; rows of one score are in the order of their values, null last. A row whose score is null or no
//! number does not count, so a group without scores has an empty list. The order is total: the answer does not depend on how
//! rows are spread.

use std::collections::BinaryHeap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, Scalar, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp::gt_eq;
use arrow::compute::{SortOptions, and, cast, filter, is_not_null};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

const NAME: &str = "top_k";

static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(TopK { signature }))
});

/// The function, for planners and for plans that were planned elsewhere.
pub(super) fn top_k() -> Arc<AggregateUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TopK {
    signature: Signature,
}

impl AggregateUDFImpl for TopK {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, score, _] => Ok(DataType::List(item(fields(value, score)))),
            _ => plan_err!("{NAME} has a value, a score and a number of rows"),
        }
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        ScalarValue::new_default(data_type)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, score, rows] = types else {
            return plan_err!("{NAME} has a value, a score and a number of rows, not {} arguments", types.len());
        };
        if !(rows.is_integer() || rows.is_null()) {
            return plan_err!("{NAME} keeps a whole number of rows, not {rows}");
        }
        let (value, score) = (plain(value), plain(score));
        let ordered = score.is_primitive() || score.is_string() || score == DataType::Boolean;
        if !ordered && !score.is_null() {
            return plan_err!("{NAME} orders rows by a score, such as a number, not by {score}");
        }
        if !RowConverter::supports_fields(&[SortField::new(value.clone())]) {
            return plan_err!("{NAME} cannot order rows of one score by values of {value}");
        }
        // No score at all is a score of null.
        let score = if score.is_null() { DataType::Float64 } else { score };
        Ok(vec![value, score, DataType::Int64])
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        // Nothing is simpler; but here a wrong number of rows is found before anything runs.
        Some(Box::new(|function: AggregateFunction, _: &SimplifyContext| {
            check(function.params.args.get(2).and_then(literal), function.params.distinct)?;
            Ok(Expr::AggregateFunction(function))
        }))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let rows = args.exprs.get(2).and_then(|rows| rows.downcast_ref::<Literal>());
        let limit = check(rows.map(Literal::value), args.is_distinct)?;
        match args.expr_fields {
            [value, score, _] => Ok(Box::new(Best::new(limit, value.data_type(), score.data_type())?)),
            _ => plan_err!("{NAME} has a value, a score and a number of rows"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "best");
        Ok(vec![Arc::new(args.return_field.as_ref().clone().with_name(name))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A dictionary's values as they are.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    }
}

/// Of a row that is kept.
fn fields(value: &DataType, score: &DataType) -> Fields {
    [("value", value), ("score", score)].into_iter().map(|(name, of)| Field::new(name, of.clone(), true)).collect()
}

fn item(fields: Fields) -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields), true))
}

fn literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// How many rows are kept.
fn check(rows: Option<&ScalarValue>, is_distinct: bool) -> Result<usize> {
    if is_distinct {
        return plan_err!("{NAME} does not take DISTINCT");
    }
    match rows {
        Some(ScalarValue::Int64(Some(rows @ 1..))) => Ok(usize::try_from(*rows).unwrap_or(usize::MAX)),
        Some(rows) => plan_err!("{NAME} keeps at least one row, not {rows}"),
        None => plan_err!("{NAME} keeps as many rows of each group: the third argument must be a number, such as 10"),
    }
}

/// The best rows of one group so far.
#[derive(Debug)]
struct Best {
    limit: usize,
    /// Value and score.
    fields: Fields,
    /// Turns score and value into bytes that are less for a better row.
    converter: RowConverter,
    /// The worst row is on top.
    kept: BinaryHeap<Box<[u8]>>,
    /// Bytes of all that are kept.
    bytes: usize,
}

impl Best {
    fn new(limit: usize, value: &DataType, score: &DataType) -> Result<Self> {
        let order = |of: &DataType, descending| {
            SortField::new_with_options(of.clone(), SortOptions { descending, nulls_first: false })
        };
        let converter = RowConverter::new(vec![order(score, true), order(value, false)])?;
        Ok(Self { limit, fields: fields(value, score), converter, kept: BinaryHeap::new(), bytes: 0 })
    }

    fn add(&mut self, values: &ArrayRef, scores: &ArrayRef) -> Result<()> {
        let mut counts = counting(scores)?;
        if let Some(worst) = self.worst_score()? {
            // Most rows of a large table end here, before anything is made of their values.
            counts = and(&counts, &gt_eq(scores, &Scalar::new(worst))?)?;
        }
        if counts.true_count() == 0 {
            return Ok(());
        }
        let columns = [filter(scores, &counts)?, filter(values, &counts)?];
        for row in &self.converter.convert_columns(&columns)? {
            self.keep(row.data());
        }
        Ok(())
    }

    /// The score of the worst row, once there are as many as wanted.
    fn worst_score(&self) -> Result<Option<ArrayRef>> {
        match self.kept.peek().filter(|_| self.kept.len() >= self.limit) {
            Some(row) => Ok(self.columns([&**row])?.into_iter().next()),
            None => Ok(None),
        }
    }

    fn keep(&mut self, row: &[u8]) {
        if self.kept.len() < self.limit {
            self.bytes += row.len();
            self.kept.push(row.into());
        } else if let Some(mut worst) = self.kept.peek_mut()
            && row < &**worst
        {
            self.bytes = self.bytes + row.len() - worst.len();
            *worst = row.into();
        }
    }

    /// Scores and values of rows.
    fn columns<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?;
        Ok(columns)
    }

    fn list(&self) -> Result<ListArray> {
        let mut rows: Vec<&[u8]> = self.kept.iter().map(AsRef::as_ref).collect();
        rows.sort_unstable();
        let lengths = OffsetBuffer::from_lengths([rows.len()]);
        let mut columns = self.columns(rows)?;
        columns.reverse();
        // Dictionaries within values were taken apart.
        let columns = columns.iter().zip(&self.fields).map(|(column, field)| cast(column, field.data_type()));
        let rows = StructArray::try_new(self.fields.clone(), columns.collect::<Result<_, _>>()?, None)?;
        Ok(ListArray::try_new(item(self.fields.clone()), lengths, Arc::new(rows), None)?)
    }
}

/// Which rows have a score.
fn counting(scores: &ArrayRef) -> Result<BooleanArray> {
    if !scores.data_type().is_floating() {
        return Ok(is_not_null(scores)?);
    }
    let scores = cast(scores, &DataType::Float64)?;
    let is_number = |score: Option<f64>| Some(score.is_some_and(|score| !score.is_nan()));
    Ok(scores.as_primitive::<Float64Type>().iter().map(is_number).collect())
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [values, scores, ..] => self.add(values, scores),
            _ => Err(exec_datafusion_err!("{NAME} has a value and a score")),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states.first().and_then(|state| state.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| exec_datafusion_err!("{NAME} merges lists"))?;
        for rows in lists.iter().flatten() {
            let columns = rows.as_struct().columns();
            self.add(&columns[0], &columns[1])?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::List(Arc::new(self.list()?)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.converter.size() + self.kept.capacity() * size_of::<Box<[u8]>>() + self.bytes
    }
}
