//! The operator.
//!
//! ```text
//!   rows ordered by group ─► numbered within their group ─► those with a number up to `limit`, and the number as last column
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, UInt64Array};
use arrow::compute::{FilterBuilder, partition};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

use crate::plan::{Plan, only};

/// The first rows of each group of its input.
#[derive(Debug)]
pub(crate) struct FirstRowsExec {
    input: Plan,
    /// Rows with equal values of these are a group; they follow each other. Not empty.
    group_by: Vec<Arc<dyn PhysicalExpr>>,
    /// The order of the input's rows, by which rows are numbered.
    order: LexOrdering,
    /// Rows of each group; at least 1.
    limit: u64,
    /// The column with the number of the row in its group.
    number: String,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FirstRowsExec {
    /// The first `limit` rows of each group of `input`, which is in `order`, with their numbers in a column `number`.
    pub(crate) fn try_new(
        input: Plan,
        group_by: Vec<Arc<dyn PhysicalExpr>>,
        order: LexOrdering,
        limit: u64,
        number: &str,
    ) -> Result<Self> {
        if group_by.is_empty() || limit == 0 {
            return internal_err!("the first {limit} rows of each group by {} expressions", group_by.len());
        }
        let schema = with_number(&input.schema(), number);
        let mut equivalences =
            EquivalenceProperties::new(Arc::clone(&schema)).extend(input.equivalence_properties().clone())?;
        if let Some(by_number) = by_number(&group_by, &order, &schema) {
            equivalences.add_ordering(by_number);
        }
        let partitioning = input.properties().partitioning.clone();
        let properties =
            PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Ok(Self { input, group_by, order, limit, number: number.to_owned(), properties, metrics })
    }

    pub(crate) fn input(&self) -> &Plan {
        &self.input
    }

    pub(crate) fn group_by(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.group_by
    }

    pub(crate) fn order(&self) -> &LexOrdering {
        &self.order
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn number(&self) -> &str {
        &self.number
    }
}

/// Within a group, numbers ascend: the order of groups and then of numbers, if `order` begins with what makes the groups.
fn by_number(group_by: &[Arc<dyn PhysicalExpr>], order: &LexOrdering, schema: &Schema) -> Option<LexOrdering> {
    let groups = order.get(..group_by.len())?;
    let covers = group_by.iter().all(|group| groups.iter().any(|by| by.expr.eq(group)));
    let number = schema.fields().len() - 1;
    let number = PhysicalSortExpr::new_default(Arc::new(Column::new(schema.field(number).name(), number)));
    covers.then(|| LexOrdering::new(groups.iter().cloned().chain([number]))).flatten()
}

fn with_number(schema: &SchemaRef, number: &str) -> SchemaRef {
    let number = Arc::new(Field::new(number, DataType::UInt64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([number]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Numbers the rows of one partition.
struct Numbering {
    group_by: Vec<Arc<dyn PhysicalExpr>>,
    limit: u64,
    schema: SchemaRef,
    converter: RowConverter,
    /// The group of the last row so far, and how many of its rows there were.
    last: Option<(OwnedRow, u64)>,
}

impl Numbering {
    fn new(exec: &FirstRowsExec) -> Result<Self> {
        let input = exec.input.schema();
        let fields = exec.group_by.iter().map(|group| Ok(SortField::new(group.data_type(&input)?)));
        Ok(Self {
            group_by: exec.group_by.clone(),
            limit: exec.limit,
            schema: exec.schema(),
            converter: RowConverter::new(fields.collect::<Result<_>>()?)?,
            last: None,
        })
    }

    /// The first rows among those of the next batch.
    fn first_of(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let groups = self.group_by.iter().map(|group| group.evaluate(batch)?.into_array(rows));
        let groups: Vec<ArrayRef> = groups.collect::<Result<_>>()?;
        let mut before = self.rows_before(&groups)?;
        let (mut kept, mut numbers) = (BooleanBufferBuilder::new(rows), Vec::with_capacity(rows));
        for range in partition(&groups)?.ranges() {
            let wanted = self.limit.saturating_sub(before).min(range.len() as u64);
            kept.append_n(wanted as usize, true);
            kept.append_n(range.len() - wanted as usize, false);
            numbers.extend((1..=wanted).map(|number| before + number));
            let count = before + range.len() as u64;
            if range.end == rows {
                self.last = Some((self.row(&groups, rows - 1)?, count));
            }
            before = 0;
        }
        let filter = FilterBuilder::new(&BooleanArray::new(kept.finish(), None)).optimize().build();
        let columns = batch.columns().iter().map(|column| filter.filter(column));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        columns.push(Arc::new(UInt64Array::from(numbers)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Rows of the first row's group that came in earlier batches.
    fn rows_before(&mut self, groups: &[ArrayRef]) -> Result<u64> {
        let Some((last, count)) = self.last.take() else { return Ok(0) };
        Ok(if last == self.row(groups, 0)? { count } else { 0 })
    }

    fn row(&mut self, groups: &[ArrayRef], row: usize) -> Result<OwnedRow> {
        let one: Vec<ArrayRef> = groups.iter().map(|group| group.slice(row, 1)).collect();
        Ok(self.converter.convert_columns(&one)?.row(0).owned())
    }
}

impl DisplayAs for FirstRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.group_by.iter().map(ToString::to_string).collect();
        write!(f, "FirstRowsExec: rows={}, group_by=[{}]", self.limit, groups.join(", "))
    }
}

impl ExecutionPlan for FirstRowsExec {
    fn name(&self) -> &str {
        "FirstRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::KeyPartitioned(self.group_by.clone())]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.order.clone()))]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expression in self.group_by.iter().chain(self.order.iter().map(|by| &by.expr)) {
            if apply(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        let (group_by, order) = (self.group_by.clone(), self.order.clone());
        Ok(Arc::new(Self::try_new(only(&children)?, group_by, order, self.limit, &self.number)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut numbering = Numbering::new(self)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let _timer = baseline.elapsed_compute().timer();
            let first = numbering.first_of(&batch?)?;
            baseline.record_output(first.num_rows());
            Ok(first)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::compute::SortOptions;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::collect;
    use datafusion::physical_plan::expressions::col;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// Rows of groups, cut into batches of `size`.
    fn batches(groups: &[Option<&str>], size: usize) -> (SchemaRef, Vec<RecordBatch>) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("group", DataType::Utf8, true),
            Field::new("row", DataType::Int64, false),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(groups.to_vec())),
            Arc::new(Int64Array::from_iter_values(0..groups.len() as i64)),
        ];
        let all = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let cut = (0..all.num_rows()).step_by(size).map(|at| all.slice(at, size.min(all.num_rows() - at))).collect();
        (schema, cut)
    }

    #[tokio::test]
    async fn groups_are_counted_over_batches() {
        let groups =
            [None, None, Some("a"), Some("a"), Some("a"), Some("b"), Some("c"), Some("c"), Some("c"), Some("c")];
        for (limit, expected) in [
            (1, vec![(0, 1), (2, 1), (5, 1), (6, 1)]),
            (2, vec![(0, 1), (1, 2), (2, 1), (3, 2), (5, 1), (6, 1), (7, 2)]),
        ] {
            for size in 1..=groups.len() {
                let (schema, batches) = batches(&groups, size);
                let input = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&schema), None).unwrap();
                let group = col("group", &schema).unwrap();
                let options = SortOptions::default();
                let order = LexOrdering::new([PhysicalSortExpr { expr: Arc::clone(&group), options }]).unwrap();
                let exec = FirstRowsExec::try_new(input, vec![group], order, limit, "place").unwrap();
                let found = collect(Arc::new(exec), SessionContext::new().task_ctx()).await.unwrap();
                let found: Vec<(i64, u64)> = found
                    .iter()
                    .flat_map(|batch| {
                        let rows = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
                        let numbers = batch.column(2).as_any().downcast_ref::<UInt64Array>().unwrap();
                        rows.values().iter().copied().zip(numbers.values().iter().copied()).collect::<Vec<_>>()
                    })
                    .collect();
                assert_eq!(found, expected, "limit {limit}, batches of {size}");
            }
        }
    }
}
