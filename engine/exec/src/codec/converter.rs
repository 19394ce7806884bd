//! Plans and expressions of any depth as messages, and back.
//!
//! ```text
//!   a ─ b ─ … ─ g ─ bytes ┐     a decoder follows a hundred messages into each other and no more, so every few levels
//!       ┌─────────────────┘     there are bytes, which are decoded when it is their turn
//!       h ─ i ─ …
//! ```
//!
//! Invariant: what can be encoded can be decoded, and neither overflows a stack.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::{internal_datafusion_err, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType;
use datafusion_proto::protobuf::{
    PhysicalExprNode, PhysicalExtensionExprNode, PhysicalExtensionNode, PhysicalPlanNode,
};
use prost::Message;
use recursive::recursive;

use super::series::decode_series;
use super::{Extension, ExtensionMessage, decode_operator, encode_operator};

/// Operators and expressions inside each other, at most. Who runs them goes as deep.
const MAX_DEPTH: usize = 4_096;
/// The last of so many levels is bytes. No level is more than five messages inside each other.
const LEVELS_OF_MESSAGES: usize = 8;

/// Where in a plan an encoder or decoder is. It also passes on what scalar subqueries are in scope, which DataFusion does not
/// tell decoders of operators that it does not know.
#[derive(Debug, Default)]
pub(super) struct Converter {
    depth: Cell<usize>,
}

impl Converter {
    /// Does what is to be done one level below; `work` is told how deep that is.
    fn descend<T>(&self, work: impl FnOnce(usize) -> Result<T>) -> Result<T> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return plan_err!("operators and expressions inside each other: {MAX_DEPTH} are the most");
        }
        self.depth.set(depth);
        let result = work(depth);
        self.depth.set(depth - 1);
        result
    }
}

impl PhysicalProtoConverterExtension for Converter {
    #[recursive]
    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalPlanNode> {
        self.descend(|depth| {
            let (operator, inputs) = if depth.is_multiple_of(LEVELS_OF_MESSAGES) {
                (Extension::Plan(self.execution_plan_to_proto(plan, codec)?.encode_to_vec()), Vec::new())
            } else if let Some(operator) = encode_operator(plan, self)? {
                let inputs = plan.children().into_iter().map(|input| self.execution_plan_to_proto(input, codec));
                (operator, inputs.collect::<Result<_>>()?)
            } else {
                return PhysicalPlanNode::try_from_physical_plan_with_converter(Arc::clone(plan), codec, self);
            };
            let node = ExtensionMessage { node: Some(operator) }.encode_to_vec();
            let extension = PhysicalPlanType::Extension(PhysicalExtensionNode { node, inputs });
            Ok(PhysicalPlanNode { physical_plan_type: Some(extension) })
        })
    }

    #[recursive]
    fn proto_to_execution_plan(
        &self,
        node: &PhysicalPlanNode,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.descend(|_| match &node.physical_plan_type {
            Some(PhysicalPlanType::Extension(extension)) => {
                let inputs = extension.inputs.iter().map(|input| self.proto_to_execution_plan(input, context));
                let inputs = inputs.collect::<Result<Vec<_>>>()?;
                let message = ExtensionMessage::decode(extension.node.as_slice());
                match message.map_err(|error| internal_datafusion_err!("not an operator: {error}"))?.node {
                    Some(operator) => decode_operator(operator, &inputs, context, self),
                    None => internal_err!("the plan has an operator that this version does not know"),
                }
            }
            Some(PhysicalPlanType::GenerateSeries(series)) => decode_series(series, context, self),
            _ => self.default_proto_to_execution_plan(node, context),
        })
    }

    #[recursive]
    fn physical_expr_to_proto(
        &self,
        expression: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalExprNode> {
        self.descend(|depth| {
            if !depth.is_multiple_of(LEVELS_OF_MESSAGES) {
                return serialize_physical_expr_with_converter(expression, codec, self);
            }
            let expr = self.physical_expr_to_proto(expression, codec)?.encode_to_vec();
            let bytes = ExprType::Extension(PhysicalExtensionExprNode { expr, inputs: Vec::new() });
            Ok(PhysicalExprNode { expr_id: None, expr_type: Some(bytes) })
        })
    }

    #[recursive]
    fn proto_to_physical_expr(
        &self,
        node: &PhysicalExprNode,
        schema: &Schema,
        context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.descend(|_| match &node.expr_type {
            Some(ExprType::Extension(bytes)) => {
                let node = PhysicalExprNode::decode(bytes.expr.as_slice());
                let node = node.map_err(|error| internal_datafusion_err!("not an expression: {error}"))?;
                self.proto_to_physical_expr(&node, schema, context)
            }
            _ => self.default_proto_to_physical_expr(node, schema, context),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::execution::TaskContext;
    use datafusion::physical_expr::expressions::{Column, NotExpr};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::filter::FilterExec;

    use super::*;
    use crate::codec::{decode_stage, encode_stage};
    use crate::function::InOrderExec;

    fn filter(depth: usize) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("b", DataType::Boolean, true)]));
        let mut condition: Arc<dyn PhysicalExpr> = Arc::new(Column::new("b", 0));
        for _ in 0..depth {
            condition = Arc::new(NotExpr::new(condition));
        }
        Arc::new(FilterExec::try_new(condition, Arc::new(EmptyExec::new(schema))).unwrap())
    }

    fn check(plan: &Arc<dyn ExecutionPlan>) {
        let bytes = encode_stage(plan, None).unwrap();
        let decoded = decode_stage(&bytes, &TaskContext::default()).unwrap().plan;
        assert_eq!(encode_stage(&decoded, None).unwrap(), bytes);
    }

    #[test]
    fn expressions_of_any_depth_travel() {
        for depth in (0..20).chain([100, 1_000, MAX_DEPTH / 8 * 7 - 8]) {
            check(&filter(depth));
        }
    }

    #[test]
    fn operators_of_any_depth_travel() {
        for depth in (0..20).chain([100, 1_000]) {
            let mut plan = filter(3);
            for level in 0..depth {
                plan = match level % 3 {
                    0 => Arc::new(InOrderExec::new(plan)),
                    _ => Arc::new(FilterExec::try_new(Arc::new(Column::new("b", 0)), plan).unwrap()),
                };
            }
            check(&plan);
        }
    }

    #[test]
    fn what_is_too_deep_is_refused_by_both() {
        let error = encode_stage(&filter(MAX_DEPTH), None).unwrap_err().to_string();
        assert!(error.contains("inside each other: 4096 are the most"), "{error}");

        let mut node = PhysicalPlanNode::default();
        for _ in 0..MAX_DEPTH {
            let bytes = ExtensionMessage { node: Some(Extension::Plan(node.encode_to_vec())) }.encode_to_vec();
            let extension = PhysicalExtensionNode { node: bytes, inputs: Vec::new() };
            node = PhysicalPlanNode { physical_plan_type: Some(PhysicalPlanType::Extension(extension)) };
        }
        let context = TaskContext::default();
        let context = PhysicalPlanDecodeContext::new(&context, &super::super::TandemCodec);
        let error = Converter::default().proto_to_execution_plan(&node, &context).unwrap_err().to_string();
        assert!(error.contains("are the most"), "{error}");
    }
}
