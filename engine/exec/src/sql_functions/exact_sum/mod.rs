//! `exact_sum(x)`: the sum of doubles, rounded once. `sum` rounds after each addition, so that its last digits depend on the order
//! of the rows, and with it on the number of workers and on which of them were quick:
//!
//! ```sql
//! SELECT product, exact_sum(quantity * price) AS revenue FROM sales GROUP BY product
//! ```
//!
//! This one is the same in any order. It takes some nanoseconds more for each row.

mod accumulate;
mod sliding;
mod total;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use self::accumulate::{OfAll, OfGroups, part_field};
use self::sliding::OfFrame;

/// Its name in SQL.
const NAME: &str = "exact_sum";

static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(ExactSum { signature }))
});

/// The function, for planners and for plans that were planned elsewhere.
pub(super) fn exact_sum() -> Arc<AggregateUDF> {
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    signature: Signature,
}

impl AggregateUDFImpl for ExactSum {
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
        match types {
            [given] if given.is_numeric() || given.is_null() => Ok(vec![DataType::Float64]),
            [given] => plan_err!("{NAME} sums numbers, not {given}"),
            _ => plan_err!("{NAME} takes one argument, not {}", types.len()),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&args)?;
        Ok(Box::new(OfAll::default()))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(&args)?;
        Ok(Box::new(OfFrame::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, NAME), DataType::List(part_field()), true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(OfGroups::default()))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn refuse_distinct(args: &AccumulatorArgs<'_>) -> Result<()> {
    if args.is_distinct { not_impl_err!("{NAME} takes all values, not DISTINCT ones") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn ask(sql: &str, partitions: usize) -> Result<String> {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(16);
        let context = SessionContext::new_with_config(config);
        context.register_udaf(AggregateUDF::clone(&exact_sum()));
        let rows = context.sql(sql).await?.collect().await?;
        let grid = pretty_format_batches(&rows)?.to_string();
        let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
        Ok(grid.lines().filter(|line| line.starts_with('|')).skip(1).map(cells).collect::<Vec<_>>().join("; "))
    }

    #[tokio::test]
    async fn sums_of_all_rows_and_of_groups() {
        let rows = "(VALUES (1, 0.1), (1, 0.2), (1, 0.3), (2, NULL), (3, 5), (3, -5), (4, 1e100), (4, 1), (4, -1e100)) AS t(k, x)";
        for (sql, expected) in [
            (format!("SELECT exact_sum(x), exact_sum(k) FROM {rows}"), "1.6 23.0"),
            (format!("SELECT exact_sum(x) FILTER (WHERE x > 1 AND x < 9) FROM {rows}"), "5.0"),
            (format!("SELECT exact_sum(x) FROM {rows} WHERE k = 2"), ""),
            (format!("SELECT exact_sum(x) FROM {rows} WHERE k > 9"), ""),
            (format!("SELECT k, exact_sum(x) FROM {rows} GROUP BY k ORDER BY k"), "1 0.6; 2 ; 3 0.0; 4 1.0"),
            (
                format!("SELECT k, exact_sum(x) FILTER (WHERE x > 0.1) FROM {rows} GROUP BY k ORDER BY k LIMIT 3"),
                "1 0.5; 2 ; 3 5.0",
            ),
        ] {
            for partitions in [1, 4] {
                assert_eq!(ask(&sql, partitions).await.unwrap(), expected, "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn sums_of_frames_that_move() {
        let rows = "(VALUES (1, 0.1), (2, 1e300), (3, 0.3), (4, 'inf'::double), (5, 0.5), (6, NULL), (7, NULL), (8, -0.5)) AS t(id, x)";
        for (frame, expected) in [
            ("1 PRECEDING AND CURRENT ROW", "0.1; 1e300; 1e300; inf; inf; 0.5; ; -0.5"),
            ("1 FOLLOWING AND 2 FOLLOWING", "1e300; inf; inf; 0.5; ; -0.5; -0.5; "),
        ] {
            let sums = format!("SELECT exact_sum(x) OVER (ORDER BY id ROWS BETWEEN {frame}) FROM {rows} ORDER BY id");
            assert_eq!(ask(&sums, 1).await.unwrap(), expected, "{frame}");
        }
    }

    #[tokio::test]
    async fn many_groups_over_many_partitions() {
        let sums = "SELECT value % 1000 AS k, exact_sum(value * 0.1) AS x FROM generate_series(1, 30000) GROUP BY value % 1000";
        let sql = format!("SELECT count(*), exact_sum(x), min(x) FROM ({sums})");
        let alone = ask(&sql, 1).await.unwrap();
        assert_eq!(alone, ask(&sql, 7).await.unwrap());
        assert!(alone.starts_with("1000 45001500.0"), "{alone}");
    }

    #[tokio::test]
    async fn what_is_no_number_is_refused() {
        for (arguments, words) in
            [("'a'", "sums numbers, not Utf8"), ("1, 2", "takes one argument, not 2"), ("DISTINCT 1.5", "not DISTINCT")]
        {
            let sql = format!("SELECT exact_sum({arguments}), count(*) FROM generate_series(1, 3)");
            let error = ask(&sql, 1).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
