use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use prost::Message;

/// A window function that knows in which direction it looks and whether nulls count.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Directed {
    function: Arc<WindowUDF>,
    ignore_nulls: bool,
    reversed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct DirectedMessage {
    #[prost(bool, tag = "1")]
    ignore_nulls: bool,
    #[prost(bool, tag = "2")]
    reversed: bool,
}

impl Directed {
    /// `function` with what it has to carry; nothing where that is nothing.
    pub(super) fn carrying(function: &Arc<WindowUDF>, ignore_nulls: bool) -> Option<Arc<WindowUDF>> {
        let turns = matches!(function.reverse_expr(), ReversedUDWF::Reversed(_));
        let carries = !function.inner().is::<Self>() && (turns || ignore_nulls);
        carries.then(|| Self { function: Arc::clone(function), ignore_nulls, reversed: false }.into_function())
    }

    /// The wire form, without the name.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        DirectedMessage { ignore_nulls: self.ignore_nulls, reversed: self.reversed }.encode_to_vec()
    }

    /// The function `name` with what `bytes` says of it.
    ///
    /// # Errors
    /// No such function, or bytes that say nothing.
    pub(crate) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        let message = DirectedMessage::decode(bytes)
            .map_err(|error| internal_datafusion_err!("not the window function {name}: {error}"))?;
        let function = SessionStateDefaults::default_window_functions()
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| internal_datafusion_err!("no window function is called {name}"))?;
        let DirectedMessage { ignore_nulls, reversed } = message;
        Ok(Self { function, ignore_nulls, reversed }.into_function())
    }

    fn into_function(self) -> Arc<WindowUDF> {
        Arc::new(WindowUDF::new_from_impl(self))
    }
}

impl WindowUDFImpl for Directed {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.function.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let (inputs, fields) = (args.input_exprs(), args.input_fields());
        let args = PartitionEvaluatorArgs::new(inputs, fields, self.reversed, self.ignore_nulls);
        self.function.partition_evaluator_factory(args)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.function.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.function.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.function.reverse_expr() {
            ReversedUDWF::Reversed(function) => {
                let turned = Self { function, ignore_nulls: self.ignore_nulls, reversed: !self.reversed };
                ReversedUDWF::Reversed(turned.into_function())
            }
            other => other,
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.function.inner().limit_effect(args)
    }
}
