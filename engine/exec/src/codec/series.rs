//! `generate_series` and `range` of which no column is read, as in `count(*)`. DataFusion's message of a series has the columns that
//! are read, and what it makes of that has rows of those columns: rows of none do not come about.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion_proto::physical_plan::{PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::generate_series_node::Args;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{GenerateSeriesNode, PhysicalPlanNode};

use super::converter::Converter;

pub(super) fn decode_series(
    series: &GenerateSeriesNode,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut series = series.clone();
    let is_read = series.schema.as_ref().is_none_or(|schema| !schema.columns.is_empty());
    if !is_read {
        let value = Field::new("value", value_type(series.args.as_ref()), false);
        series.schema = Some((&Schema::new(vec![value])).try_into()?);
    }
    let node = PhysicalPlanNode { physical_plan_type: Some(PhysicalPlanType::GenerateSeries(series)) };
    let plan = converter.default_proto_to_execution_plan(&node, context)?;
    match plan.downcast_ref::<LazyMemoryExec>() {
        Some(_) if is_read => Ok(plan),
        Some(exec) => {
            let exec = LazyMemoryExec::try_new(plan.schema(), exec.generators().clone())?;
            Ok(Arc::new(exec.with_projection(Some(Vec::new()))))
        }
        None => internal_err!("a series is made by {}", plan.name()),
    }
}

fn value_type(args: Option<&Args>) -> DataType {
    match args {
        Some(Args::TimestampArgs(args)) => {
            DataType::Timestamp(TimeUnit::Nanosecond, args.tz.as_deref().map(Into::into))
        }
        Some(Args::DateArgs(_)) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        Some(Args::Int64Args(_) | Args::ContainsNull(_)) | None => DataType::Int64,
    }
}
