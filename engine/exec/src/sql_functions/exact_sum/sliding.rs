//! Sums of the rows of a window's frame, which moves.

use arrow::array::ArrayRef;
use datafusion::common::internal_err;
use datafusion::common::scalar::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::accumulate::doubles;
use super::total::Total;

/// The sum of the rows that are in the frame. What leaves it is taken off again, exactly; values that are no numbers are counted,
/// since nothing takes them off.
#[derive(Debug, Default)]
pub(super) struct OfFrame {
    total: Total,
    values: u64,
    infinities: u64,
    negative_infinities: u64,
    nans: u64,
}

impl OfFrame {
    /// Adds `by` to the counts of values like `value`.
    fn count(&mut self, value: f64, by: i64) {
        self.values = self.values.wrapping_add_signed(by);
        let of_kind = match value {
            f64::INFINITY => &mut self.infinities,
            f64::NEG_INFINITY => &mut self.negative_infinities,
            _ if value.is_nan() => &mut self.nans,
            _ => return,
        };
        *of_kind = of_kind.wrapping_add_signed(by);
    }
}

impl Accumulator for OfFrame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in doubles(values)?.iter().flatten() {
            self.count(value, 1);
            if value.is_finite() {
                self.total.add(value);
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in doubles(values)?.iter().flatten() {
            self.count(value, -1);
            if value.is_finite() {
                self.total.add(-value);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = match (self.infinities > 0, self.negative_infinities > 0) {
            _ if self.values == 0 => return Ok(ScalarValue::Float64(None)),
            _ if self.nans > 0 => f64::NAN,
            (true, true) => f64::NAN,
            (true, false) => f64::INFINITY,
            (false, true) => f64::NEG_INFINITY,
            (false, false) => self.total.clone().rounded(),
        };
        Ok(ScalarValue::Float64(Some(sum)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.total.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("the sum of a frame is not put together from parts")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("the sum of a frame is not put together from parts")
    }
}
