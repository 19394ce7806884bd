//! Sums of batches: of all rows, and of groups.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder, ListArray, ListBuilder, PrimitiveArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::internal_datafusion_err;
use datafusion::common::scalar::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::total::Total;

/// A part of a state.
pub(super) fn part_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float64, false))
}

/// The sum of all rows.
#[derive(Debug, Default)]
pub(super) struct OfAll {
    /// None until there is a value.
    total: Option<Total>,
}

impl Accumulator for OfAll {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in doubles(values)?.iter().flatten() {
            self.total.get_or_insert_default().add(value);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = lists(states)?;
        for row in (0..states.len()).filter(|row| states.is_valid(*row)) {
            merge(self.total.get_or_insert_default(), states, row);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.total.clone().map(Total::rounded)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::List(Arc::new(state_of([self.total.take()])))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.total.as_ref().map_or(0, Total::heap_bytes)
    }
}

/// The sums of groups.
#[derive(Debug, Default)]
pub(super) struct OfGroups {
    /// None for a group without a value.
    totals: Vec<Option<Total>>,
    /// What they have beside themselves.
    heap_bytes: usize,
}

impl OfGroups {
    #[inline]
    fn add(&mut self, group: usize, value: f64) {
        let total = self.totals[group].get_or_insert_default();
        if !total.add_to_window(value) {
            self.change(group, |total| total.add(value));
        }
    }

    fn change(&mut self, group: usize, change: impl FnOnce(&mut Total)) {
        let total = self.totals[group].get_or_insert_default();
        let before = total.heap_bytes();
        change(total);
        self.heap_bytes = self.heap_bytes + total.heap_bytes() - before;
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<Total>> {
        let taken = emit_to.take_needed(&mut self.totals);
        self.heap_bytes -= taken.iter().flatten().map(Total::heap_bytes).sum::<usize>();
        taken
    }
}

impl GroupsAccumulator for OfGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.totals.resize(total_num_groups, None);
        let values = doubles(values)?;
        if values.null_count() == 0 && opt_filter.is_none() {
            group_indices.iter().zip(values.values()).for_each(|(group, value)| self.add(*group, *value));
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            if counts(values, opt_filter, row) {
                self.add(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.totals.resize(total_num_groups, None);
        let states = lists(states)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.change(*group, |total| merge(total, states, row));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = self.take(emit_to);
        Ok(Arc::new(totals.into_iter().map(|total| total.map(Total::rounded)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = self.take(emit_to);
        Ok(vec![Arc::new(state_of(totals))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = doubles(values)?;
        let total = |row| {
            counts(values, opt_filter, row).then(|| {
                let mut total = Total::default();
                total.add(values.value(row));
                total
            })
        };
        Ok(vec![Arc::new(state_of((0..values.len()).map(total)))])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<Option<Total>>() + self.heap_bytes
    }
}

/// Whether a row has a value that is not filtered out.
fn counts(values: &Float64Array, filter: Option<&BooleanArray>, row: usize) -> bool {
    values.is_valid(row) && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

pub(super) fn doubles(values: &[ArrayRef]) -> Result<&PrimitiveArray<Float64Type>> {
    let values = values.first().and_then(|values| values.as_primitive_opt());
    values.ok_or_else(|| internal_datafusion_err!("values that are not doubles"))
}

fn lists(states: &[ArrayRef]) -> Result<&ListArray> {
    let states = states.first().and_then(|states| states.as_list_opt());
    states.ok_or_else(|| internal_datafusion_err!("states that are not lists"))
}

fn merge(total: &mut Total, states: &ListArray, row: usize) {
    let parts = states.value(row);
    parts.as_primitive::<Float64Type>().values().iter().for_each(|part| total.add(*part));
}

/// A state is the list of a sum's parts.
fn state_of(totals: impl IntoIterator<Item = Option<Total>>) -> ListArray {
    let mut states = ListBuilder::new(Float64Builder::new()).with_field(part_field());
    for total in totals {
        states.append_option(total.map(|total| total.into_parts().into_iter().map(Some)));
    }
    states.finish()
}
