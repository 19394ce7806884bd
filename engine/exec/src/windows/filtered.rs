use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::filter;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, Volatility};

use crate::sql_functions::aggregate_function;

/// An aggregate over the rows for which its last argument, a boolean, holds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filtered {
    function: Arc<AggregateUDF>,
    signature: Signature,
}

impl Filtered {
    /// `function` with a filter as one more argument.
    pub(super) fn carrying(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Self { function, signature }))
    }

    /// The function `name` with a filter.
    ///
    /// # Errors
    /// No such function.
    pub(crate) fn from_name(name: &str) -> Result<Arc<AggregateUDF>> {
        let function =
            aggregate_function(name).ok_or_else(|| internal_datafusion_err!("no aggregate is called {name}"))?;
        Ok(Self::carrying(function))
    }
}

impl AggregateUDFImpl for Filtered {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(aggregated(types))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.function.return_field(aggregated(fields))
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.function.default_value(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.function.reverse_udf() {
            ReversedUDAF::Reversed(function) => ReversedUDAF::Reversed(Self::carrying(function)),
            other => other,
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OfKept(self.function.accumulator(without_filter(args))?)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OfKept(self.function.create_sliding_accumulator(without_filter(args))?)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.function.state_fields(StateFieldsArgs { input_fields: aggregated(args.input_fields), ..args })
    }
}

/// All arguments but the filter.
fn aggregated<T>(arguments: &[T]) -> &[T] {
    arguments.split_last().map_or(&[], |(_, aggregated)| aggregated)
}

fn without_filter(args: AccumulatorArgs<'_>) -> AccumulatorArgs<'_> {
    AccumulatorArgs { exprs: aggregated(args.exprs), expr_fields: aggregated(args.expr_fields), ..args }
}

/// Shows an accumulator only the rows that the filter keeps.
#[derive(Debug)]
struct OfKept(Box<dyn Accumulator>);

impl Accumulator for OfKept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&kept(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&kept(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

fn kept(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let mask = values.last().ok_or_else(|| internal_datafusion_err!("an aggregate without its filter"))?;
    let mask = as_boolean_array(mask)?;
    Ok(aggregated(values).iter().map(|column| filter(column, mask)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_aggregate_may_have_a_filter() {
        for name in ["count", "array_agg", "exact_sum"] {
            let filtered = Filtered::from_name(name).unwrap();
            assert!(filtered.name() == name && filtered.inner().is::<Filtered>());
        }
        let error = Filtered::from_name("no_such").unwrap_err().to_string();
        assert!(error.contains("no_such"), "{error}");
    }
}
