//! Stage plans on the wire. The only file that calls `datafusion-proto`, whose version is pinned: its API and its
//! messages change with every major version of DataFusion.
//!
//! A stage travels as the protobuf form of its plan. An exchange at the top (or under the subqueries at the top) says
//! how its output is partitioned and is taken off again when it is decoded; it is never executed.

mod converter;
mod series;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, WindowUDF};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{
    AcrossPartitions, ConstExpr, EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::physical_plan::from_proto::{parse_physical_sort_exprs, parse_protobuf_partitioning};
use datafusion_proto::physical_plan::to_proto::{serialize_partitioning, serialize_physical_sort_exprs};
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use prost::Message;
use tandem_proto::StageId;

use self::converter::Converter;
use crate::first_rows::FirstRowsExec;
use crate::function::{FunctionExec, InOrderExec, NumberBatchesExec, SpreadExec};
use crate::hidden::{Facts, HideExec};
use crate::plan::only;
use crate::prefilter::{KeyDigestExec, PrefilterExec};
use crate::probe::{Check, OnBreach, ProbeExec};
use crate::shuffle::{ReadMode, ShuffleReadExec};
use crate::sink::SinkSpec;
use crate::source::{CountRecordsExec, ScanExec};
use crate::windows::{Directed, Filtered};

/// No exchange has more partitions.
const MAX_MODULUS: u32 = 1 << 20;

/// Says that an aggregate has a filter as its last argument.
const FILTERED: &[u8] = b"filtered";

/// A stage plan as a worker runs it.
#[derive(Debug)]
pub struct StagePlan {
    /// What to execute, partition by partition.
    pub plan: Arc<dyn ExecutionPlan>,
    /// What becomes of the rows.
    pub output: StageOutput,
}

/// What becomes of the rows of a stage plan.
#[derive(Debug, Clone)]
pub enum StageOutput {
    /// Kept as they are, one output partition per plan partition.
    Whole,
    /// Distributed over `outputs` output partitions by the hash of `keys`, as DataFusion's own exchange would.
    Hash {
        /// Over the plan's schema.
        keys: Vec<Arc<dyn PhysicalExpr>>,
        /// At least 2.
        outputs: usize,
    },
    /// Distributed over `outputs` output partitions by the number of the microbatch, which is in the last column.
    Spread {
        /// At least 2.
        outputs: usize,
    },
    /// Written to files.
    Sink(SinkSpec),
}

#[derive(Clone, PartialEq, Message)]
struct StageMessage {
    #[prost(message, optional, tag = "1")]
    plan: Option<protobuf::PhysicalPlanNode>,
    /// JSON of a [`SinkSpec`]; empty when the stage is no sink.
    #[prost(bytes = "vec", tag = "2")]
    sink: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ExtensionMessage {
    #[prost(oneof = "Extension", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    node: Option<Extension>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Extension {
    #[prost(message, tag = "1")]
    ShuffleRead(ShuffleReadMessage),
    #[prost(message, tag = "2")]
    RecursiveQuery(RecursiveQueryMessage),
    #[prost(message, tag = "3")]
    WorkTable(WorkTableMessage),
    #[prost(message, tag = "4")]
    Probe(ProbeMessage),
    #[prost(bytes, tag = "5")]
    Scan(Vec<u8>),
    #[prost(message, tag = "6")]
    KeyDigest(KeysMessage),
    #[prost(message, tag = "7")]
    Prefilter(KeysMessage),
    #[prost(bytes, tag = "8")]
    Function(Vec<u8>),
    /// Rows of one microbatch.
    #[prost(uint64, tag = "9")]
    NumberBatches(u64),
    /// Partitions.
    #[prost(uint32, tag = "10")]
    Spread(u32),
    /// Nothing but the node's input.
    #[prost(bool, tag = "11")]
    InOrder(bool),
    #[prost(message, tag = "12")]
    FirstRows(FirstRowsMessage),
    #[prost(bytes, tag = "13")]
    CountRecords(Vec<u8>),
    /// No operator but the message of one, with all that is below it.
    #[prost(bytes, tag = "14")]
    Plan(Vec<u8>),
    /// What is hidden of the node's input.
    #[prost(enumeration = "Facts", tag = "15")]
    Hide(i32),
}

#[derive(Clone, PartialEq, Message)]
struct FirstRowsMessage {
    #[prost(message, repeated, tag = "1")]
    group_by: Vec<protobuf::PhysicalExprNode>,
    #[prost(message, repeated, tag = "2")]
    order: Vec<protobuf::PhysicalSortExprNode>,
    #[prost(uint64, tag = "3")]
    limit: u64,
    #[prost(string, tag = "4")]
    number: String,
}

/// The keys of a digest or a prefilter, over the schema of the node's last input.
#[derive(Clone, PartialEq, Message)]
struct KeysMessage {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<protobuf::PhysicalExprNode>,
    #[prost(uint32, tag = "2")]
    modulus: u32,
}

/// A row counter with checks; what it counts is the node's input.
#[derive(Clone, PartialEq, Message)]
struct ProbeMessage {
    #[prost(string, tag = "1")]
    step: String,
    #[prost(message, repeated, tag = "2")]
    checks: Vec<CheckMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckMessage {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(message, optional, tag = "2")]
    predicate: Option<protobuf::PhysicalExprNode>,
    #[prost(bool, tag = "3")]
    warns: bool,
}

/// A recursive query; its two terms are the node's inputs.
#[derive(Clone, PartialEq, Message)]
struct RecursiveQueryMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
    #[prost(bool, tag = "3")]
    distinct: bool,
}

/// Where a recursive term reads what the last round put out. `schema` has only the columns that it reads.
#[derive(Clone, PartialEq, Message)]
struct WorkTableMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct ShuffleReadMessage {
    #[prost(uint32, tag = "1")]
    stage: u32,
    #[prost(enumeration = "ReadModeMessage", tag = "2")]
    mode: i32,
    #[prost(message, optional, tag = "3")]
    schema: Option<protobuf::Schema>,
    #[prost(message, optional, tag = "4")]
    partitioning: Option<protobuf::Partitioning>,
    #[prost(message, repeated, tag = "5")]
    orderings: Vec<OrderingMessage>,
    #[prost(message, repeated, tag = "6")]
    equal: Vec<EqualMessage>,
    #[prost(message, repeated, tag = "7")]
    constants: Vec<ConstantMessage>,
    #[prost(uint32, tag = "8")]
    outputs: u32,
}

/// Rows of each partition are ordered by these.
#[derive(Clone, PartialEq, Message)]
struct OrderingMessage {
    #[prost(message, repeated, tag = "1")]
    by: Vec<protobuf::PhysicalSortExprNode>,
}

/// These have the same value in each row.
#[derive(Clone, PartialEq, Message)]
struct EqualMessage {
    #[prost(message, repeated, tag = "1")]
    expressions: Vec<protobuf::PhysicalExprNode>,
}

/// This has the same value in all rows of a partition, or of all partitions.
#[derive(Clone, PartialEq, Message)]
struct ConstantMessage {
    #[prost(message, optional, tag = "1")]
    expression: Option<protobuf::PhysicalExprNode>,
    #[prost(bool, tag = "2")]
    uniform: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ReadModeMessage {
    Hash = 0,
    All = 1,
    Each = 2,
}

/// The wire form of a stage plan.
pub fn encode_stage(plan: &Arc<dyn ExecutionPlan>, sink: Option<&SinkSpec>) -> Result<Bytes> {
    let node = Converter::default().execution_plan_to_proto(plan, &TandemCodec)?;
    let sink = sink
        .map(serde_json::to_vec)
        .transpose()
        .map_err(|error| internal_datafusion_err!("a sink could not be encoded: {error}"))?;
    Ok(StageMessage { plan: Some(node), sink: sink.unwrap_or_default() }.encode_to_vec().into())
}

/// A stage plan from its wire form. Each call gives a fresh instance, so that attempts share no state.
pub fn decode_stage(bytes: &[u8], context: &TaskContext) -> Result<StagePlan> {
    // DataFusion takes for granted that columns and inputs are where a plan says they are.
    catch_unwind(AssertUnwindSafe(|| decode_message(bytes, context)))
        .unwrap_or_else(|_| internal_err!("not a stage plan: it contradicts itself"))
}

fn decode_message(bytes: &[u8], context: &TaskContext) -> Result<StagePlan> {
    let message = StageMessage::decode(bytes).map_err(|error| internal_datafusion_err!("not a stage plan: {error}"))?;
    let node = message.plan.ok_or_else(|| internal_datafusion_err!("a stage without a plan"))?;
    let context = PhysicalPlanDecodeContext::new(context, &TandemCodec);
    let plan = Converter::default().proto_to_execution_plan(&node, &context)?;
    if !message.sink.is_empty() {
        let sink =
            serde_json::from_slice(&message.sink).map_err(|error| internal_datafusion_err!("not a sink: {error}"))?;
        return Ok(StagePlan { plan, output: StageOutput::Sink(sink) });
    }
    let (plan, output) = split_exchange(plan)?;
    Ok(StagePlan { plan, output })
}

/// Takes the exchange off the top of a plan.
fn split_exchange(plan: Arc<dyn ExecutionPlan>) -> Result<(Arc<dyn ExecutionPlan>, StageOutput)> {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        return match exchange.partitioning() {
            Partitioning::Hash(keys, outputs) => {
                Ok((Arc::clone(exchange.input()), StageOutput::Hash { keys: keys.clone(), outputs: *outputs }))
            }
            other => internal_err!("a stage cannot be partitioned by {other}"),
        };
    }
    if let Some(spread) = plan.downcast_ref::<SpreadExec>() {
        let outputs = spread.properties().partitioning.partition_count();
        return Ok((Arc::clone(spread.input()), StageOutput::Spread { outputs }));
    }
    if let Some(subqueries) = plan.downcast_ref::<ScalarSubqueryExec>() {
        let (input, output) = split_exchange(Arc::clone(subqueries.input()))?;
        let plan = ScalarSubqueryExec::new(input, subqueries.subqueries().to_vec(), subqueries.results().clone());
        return Ok((Arc::new(plan), output));
    }
    Ok((plan, StageOutput::Whole))
}

/// What DataFusion asks about operators that it does not know. Those that Tandem knows are [`Converter`]'s.
#[derive(Debug)]
struct TandemCodec;

impl PhysicalExtensionCodec for TandemCodec {
    fn try_decode(
        &self,
        _: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("the plan has an operator that this version does not know")
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        _: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        internal_err!("{} cannot be sent to workers", node.name())
    }

    fn try_encode_udwf(&self, function: &WindowUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if let Some(directed) = function.inner().downcast_ref::<Directed>() {
            *bytes = directed.to_bytes();
        }
        Ok(())
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        Directed::from_bytes(name, bytes)
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, bytes: &mut Vec<u8>) -> Result<()> {
        if function.inner().is::<Filtered>() {
            *bytes = FILTERED.to_vec();
        }
        Ok(())
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        if bytes != FILTERED {
            return internal_err!("this version does not know the aggregate {name}");
        }
        Filtered::from_name(name)
    }
}

/// One of Tandem's own operators over `inputs`.
fn decode_operator(
    operator: Extension,
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    match operator {
        Extension::ShuffleRead(read) => Ok(Arc::new(decode_read(&read, context, converter)?)),
        Extension::RecursiveQuery(query) => decode_recursive_query(query, inputs),
        Extension::Probe(probe) => decode_probe(probe, inputs, context, converter),
        Extension::Scan(scan) => Ok(Arc::new(ScanExec::from_bytes(&scan, inputs)?)),
        Extension::CountRecords(count) => Ok(Arc::new(CountRecordsExec::from_bytes(&count)?)),
        Extension::KeyDigest(message) => decode_digest(&message, inputs, context, converter),
        Extension::Prefilter(message) => decode_prefilter(&message, inputs, context, converter),
        Extension::Function(call) => Ok(Arc::new(FunctionExec::from_bytes(&call, only(inputs)?)?)),
        Extension::NumberBatches(rows) => Ok(Arc::new(NumberBatchesExec::try_new(only(inputs)?, rows)?)),
        Extension::Spread(partitions) => decode_spread(partitions, inputs),
        Extension::FirstRows(message) => decode_first_rows(&message, inputs, context, converter),
        Extension::InOrder(_) => Ok(Arc::new(InOrderExec::new(only(inputs)?))),
        Extension::Hide(facts) => {
            let facts = Facts::try_from(facts).map_err(|error| internal_datafusion_err!("{error}"))?;
            Ok(Arc::new(HideExec::new(only(inputs)?, facts)))
        }
        Extension::WorkTable(table) => {
            Ok(Arc::new(WorkTableExec::new(table.name, decode_schema(table.schema.as_ref())?, None)?))
        }
        Extension::Plan(bytes) => {
            let node = protobuf::PhysicalPlanNode::decode(bytes.as_slice())
                .map_err(|error| internal_datafusion_err!("not a plan: {error}"))?;
            converter.proto_to_execution_plan(&node, context)
        }
    }
}

/// The form of `node` without its inputs, if it is one of Tandem's own.
fn encode_operator(node: &Arc<dyn ExecutionPlan>, converter: &Converter) -> Result<Option<Extension>> {
    Ok(Some(if let Some(read) = node.downcast_ref::<ShuffleReadExec>() {
        Extension::ShuffleRead(encode_read(read, converter)?)
    } else if let Some(query) = node.downcast_ref::<RecursiveQueryExec>() {
        Extension::RecursiveQuery(RecursiveQueryMessage {
            name: query.name().to_owned(),
            schema: Some(node.schema().as_ref().try_into()?),
            distinct: query.is_distinct(),
        })
    } else if let Some(table) = node.downcast_ref::<WorkTableExec>() {
        let schema = Some(table.schema().as_ref().try_into()?);
        Extension::WorkTable(WorkTableMessage { name: table.name().to_owned(), schema })
    } else if let Some(probe) = node.downcast_ref::<ProbeExec>() {
        Extension::Probe(encode_probe(probe, converter)?)
    } else if let Some(scan) = node.downcast_ref::<ScanExec>() {
        Extension::Scan(scan.to_bytes()?)
    } else if let Some(count) = node.downcast_ref::<CountRecordsExec>() {
        Extension::CountRecords(count.to_bytes()?)
    } else if let Some(digest) = node.downcast_ref::<KeyDigestExec>() {
        Extension::KeyDigest(encode_keys(digest.keys(), digest.modulus(), converter)?)
    } else if let Some(prefilter) = node.downcast_ref::<PrefilterExec>() {
        Extension::Prefilter(encode_keys(prefilter.keys(), prefilter.modulus(), converter)?)
    } else if let Some(function) = node.downcast_ref::<FunctionExec>() {
        Extension::Function(function.to_bytes()?)
    } else if let Some(numbering) = node.downcast_ref::<NumberBatchesExec>() {
        Extension::NumberBatches(numbering.batch_rows())
    } else if let Some(spread) = node.downcast_ref::<SpreadExec>() {
        Extension::Spread(spread.properties().partitioning.partition_count() as u32)
    } else if let Some(first) = node.downcast_ref::<FirstRowsExec>() {
        Extension::FirstRows(encode_first_rows(first, converter)?)
    } else if node.is::<InOrderExec>() {
        Extension::InOrder(true)
    } else if let Some(hide) = node.downcast_ref::<HideExec>() {
        Extension::Hide(hide.facts().into())
    } else {
        return Ok(None);
    }))
}

fn encode_read(read: &ShuffleReadExec, converter: &Converter) -> Result<ShuffleReadMessage> {
    let properties = read.properties();
    let equivalences = properties.equivalence_properties();
    let mode = match read.mode() {
        ReadMode::Hash => ReadModeMessage::Hash,
        ReadMode::All => ReadModeMessage::All,
        ReadMode::Each => ReadModeMessage::Each,
    };
    let encode = |expression: &Arc<dyn PhysicalExpr>| converter.physical_expr_to_proto(expression, &TandemCodec);
    let orderings = equivalences.oeq_class().iter().map(|ordering| -> Vec<PhysicalSortExpr> {
        ordering.iter().take_while(|by| is_known_anywhere(&by.expr)).cloned().collect()
    });
    let orderings = orderings.filter(|by| !by.is_empty()).map(|by| {
        let by = serialize_physical_sort_exprs(by, &TandemCodec, converter)?;
        Ok(OrderingMessage { by })
    });
    let equal = equivalences.eq_group().iter().map(|class| {
        let expressions = class.iter().filter(|expression| is_known_anywhere(expression)).map(encode);
        Ok(EqualMessage { expressions: expressions.collect::<Result<_>>()? })
    });
    let constants = equivalences.constants().into_iter().filter(|constant| is_known_anywhere(&constant.expr));
    let constants = constants.map(|constant| {
        let uniform = matches!(constant.across_partitions, AcrossPartitions::Uniform(_));
        Ok(ConstantMessage { expression: Some(encode(&constant.expr)?), uniform })
    });
    Ok(ShuffleReadMessage {
        stage: read.stage().0,
        mode: mode as i32,
        schema: Some(read.schema().as_ref().try_into()?),
        partitioning: Some(serialize_partitioning(&properties.partitioning, &TandemCodec, converter)?),
        orderings: orderings.collect::<Result<_>>()?,
        equal: equal.collect::<Result<_>>()?,
        constants: constants.collect::<Result<_>>()?,
        outputs: read.outputs(),
    })
}

/// Whether rows can be described by `expression` wherever they are read: the values of subqueries are not everywhere.
fn is_known_anywhere(expression: &Arc<dyn PhysicalExpr>) -> bool {
    !expression.exists(|part| Ok(part.is::<ScalarSubqueryExpr>())).unwrap_or(true)
}

fn decode_read(
    message: &ShuffleReadMessage,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<ShuffleReadExec> {
    let schema = decode_schema(message.schema.as_ref())?;
    let partitioning = parse_protobuf_partitioning(message.partitioning.as_ref(), context, &schema, converter)?
        .ok_or_else(|| internal_datafusion_err!("a shuffle read without a partitioning"))?;
    let mode = match message.mode() {
        ReadModeMessage::Hash => ReadMode::Hash,
        ReadModeMessage::All => ReadMode::All,
        ReadModeMessage::Each => ReadMode::Each,
    };
    let decode = |expression| converter.proto_to_physical_expr(expression, &schema, context);
    let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
    for class in &message.equal {
        let expressions = class.expressions.iter().map(decode).collect::<Result<Vec<_>>>()?;
        for pair in expressions.windows(2) {
            equivalences.add_equal_conditions(Arc::clone(&pair[0]), Arc::clone(&pair[1]))?;
        }
    }
    for constant in &message.constants {
        let expression =
            constant.expression.as_ref().ok_or_else(|| internal_datafusion_err!("a constant of nothing"))?;
        let across = if constant.uniform { AcrossPartitions::Uniform(None) } else { AcrossPartitions::Heterogeneous };
        equivalences.add_constants([ConstExpr::new(decode(expression)?, across)])?;
    }
    for ordering in &message.orderings {
        equivalences.add_ordering(parse_physical_sort_exprs(&ordering.by, context, &schema, converter)?);
    }
    Ok(ShuffleReadExec::new(StageId(message.stage), mode, message.outputs, equivalences, partitioning))
}

fn encode_keys(keys: &[Arc<dyn PhysicalExpr>], modulus: u32, converter: &Converter) -> Result<KeysMessage> {
    let keys = keys.iter().map(|key| converter.physical_expr_to_proto(key, &TandemCodec)).collect::<Result<_>>()?;
    Ok(KeysMessage { keys, modulus })
}

fn decode_digest(
    message: &KeysMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    let input = only(inputs)?;
    let keys = decode_keys(message, &input.schema(), context, converter)?;
    Ok(Arc::new(KeyDigestExec::new(input, keys, message.modulus)))
}

fn encode_first_rows(first: &FirstRowsExec, converter: &Converter) -> Result<FirstRowsMessage> {
    let group_by = first.group_by().iter().map(|group| converter.physical_expr_to_proto(group, &TandemCodec));
    Ok(FirstRowsMessage {
        group_by: group_by.collect::<Result<_>>()?,
        order: serialize_physical_sort_exprs(first.order().iter().cloned(), &TandemCodec, converter)?,
        limit: first.limit(),
        number: first.number().to_owned(),
    })
}

fn decode_first_rows(
    message: &FirstRowsMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    let input = only(inputs)?;
    let schema = input.schema();
    let group_by = message.group_by.iter().map(|group| converter.proto_to_physical_expr(group, &schema, context));
    let group_by = group_by.collect::<Result<Vec<_>>>()?;
    let order = parse_physical_sort_exprs(&message.order, context, &schema, converter)?;
    let order = LexOrdering::new(order).ok_or_else(|| internal_datafusion_err!("rows of groups without an order"))?;
    Ok(Arc::new(FirstRowsExec::try_new(input, group_by, order, message.limit, &message.number)?))
}

fn decode_prefilter(
    message: &KeysMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    let [digest, input] = inputs else { return internal_err!("a prefilter has two inputs, not {}", inputs.len()) };
    let keys = decode_keys(message, &input.schema(), context, converter)?;
    Ok(Arc::new(PrefilterExec::new(Arc::clone(digest), Arc::clone(input), keys, message.modulus)))
}

fn decode_keys(
    message: &KeysMessage,
    schema: &Schema,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    if message.modulus == 0 || message.modulus > MAX_MODULUS {
        return internal_err!("keys of {} partitions", message.modulus);
    }
    message.keys.iter().map(|key| converter.proto_to_physical_expr(key, schema, context)).collect()
}

fn encode_probe(probe: &ProbeExec, converter: &Converter) -> Result<ProbeMessage> {
    let checks = probe.checks().iter().map(|check| {
        let predicate = converter.physical_expr_to_proto(&check.predicate, &TandemCodec)?;
        let warns = check.on_breach == OnBreach::Warn;
        Ok(CheckMessage { text: check.text.clone(), predicate: Some(predicate), warns })
    });
    Ok(ProbeMessage { step: probe.step().to_owned(), checks: checks.collect::<Result<_>>()? })
}

fn decode_probe(
    message: ProbeMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
    context: &PhysicalPlanDecodeContext<'_>,
    converter: &Converter,
) -> Result<Arc<dyn ExecutionPlan>> {
    let input = only(inputs)?;
    let schema = input.schema();
    let checks = message.checks.into_iter().map(|check| {
        let predicate = check.predicate.ok_or_else(|| internal_datafusion_err!("a check of nothing"))?;
        let predicate = converter.proto_to_physical_expr(&predicate, &schema, context)?;
        let on_breach = if check.warns { OnBreach::Warn } else { OnBreach::Fail };
        Ok(Check { text: check.text, predicate, on_breach })
    });
    Ok(Arc::new(ProbeExec::new(input, message.step, checks.collect::<Result<_>>()?)))
}

fn decode_spread(partitions: u32, inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    if partitions == 0 || partitions > MAX_MODULUS {
        return internal_err!("microbatches dealt out to {partitions} partitions");
    }
    Ok(Arc::new(SpreadExec::new(only(inputs)?, partitions as usize)))
}

fn decode_schema(schema: Option<&protobuf::Schema>) -> Result<SchemaRef> {
    let schema = schema.ok_or_else(|| internal_datafusion_err!("an operator without a schema"))?;
    Ok(Arc::new(Schema::try_from(schema)?))
}

fn decode_recursive_query(
    message: RecursiveQueryMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let [first, recursive] = inputs else {
        return internal_err!("a recursive query has two terms, not {}", inputs.len());
    };
    let schema = decode_schema(message.schema.as_ref())?;
    let recursive = project_work_tables(Arc::clone(recursive), &message.name, &schema)?;
    let query = RecursiveQueryExec::try_new(message.name, schema, Arc::clone(first), recursive, message.distinct)?;
    Ok(Arc::new(query))
}

/// Tells each reader of the work table `name` which columns of `schema` it reads; their names are unique in a work table.
fn project_work_tables(plan: Arc<dyn ExecutionPlan>, name: &str, schema: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(table) = node.downcast_ref::<WorkTableExec>().filter(|table| table.name() == name) else {
            return Ok(Transformed::no(node));
        };
        let columns =
            table.schema().fields().iter().map(|field| schema.index_of(field.name())).collect::<Result<_, _>>()?;
        Ok(Transformed::yes(Arc::new(WorkTableExec::new(name.to_owned(), Arc::clone(schema), Some(columns))?)))
    })
    .data()
}
