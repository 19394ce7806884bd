//! Probes in real plans: what they count, what they refuse, and what the optimizer must not move past them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use tandem_proto::v1::{RowCount, RowCountKind, TaskAttempt};

use super::{CheckKind, OnBreach, RowCheck, parse_check, probe, query_planner};
use crate::error::TaskError;
use crate::scope::TaskScope;
use crate::storage::Storage;

struct Bench {
    context: SessionContext,
    scope: Arc<TaskScope>,
}

impl Bench {
    /// A session with table `t` of five rows and a step `s` over it, probed with `checks`.
    async fn new(step: &str, checks: &[&str]) -> Self {
        Self::with(step, checks, OnBreach::Fail).await
    }

    /// The same, where a row that breaks a check does this.
    async fn with(step: &str, checks: &[&str], on_breach: OnBreach) -> Self {
        let scope = Arc::new(TaskScope::new(TaskAttempt::default(), Arc::new(Storage::new(BTreeMap::new()))));
        let state = SessionStateBuilder::new()
            .with_config(scope.clone().attach(SessionConfig::new().with_target_partitions(3)))
            .with_default_features()
            .with_query_planner(query_planner())
            .build();
        let context = SessionContext::new_with_state(state);
        let quantity = Int64Array::from(vec![Some(5), Some(0), None, Some(3), Some(7)]);
        let name = StringArray::from(vec!["a", "b", "c", "d", "e"]);
        let batch =
            RecordBatch::try_from_iter([("quantity", Arc::new(quantity) as _), ("name", Arc::new(name) as _)]).unwrap();
        context.register_batch("t", batch).unwrap();
        let input = context.sql(step).await.unwrap().into_optimized_plan().unwrap();
        let checks = checks.iter().map(|text| match parse_check(text, input.schema(), &context).unwrap() {
            CheckKind::Row(check) => RowCheck { on_breach, ..check },
            other => panic!("not a check of rows: {other:?}"),
        });
        let plan = probe(input.clone(), "s", checks.collect());
        let step = context.execute_logical_plan(plan).await.unwrap();
        context.register_table("s", step.into_view()).unwrap();
        Self { context, scope }
    }

    async fn plan(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    async fn run(&self, sql: &str) -> Result<usize, TaskError> {
        let batches = collect(self.plan(sql).await, self.context.task_ctx()).await.map_err(TaskError::from)?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    fn counted(&self) -> u64 {
        self.scope.counts().iter().filter(|count| count.name == "s").map(|count| count.rows).sum()
    }
}

#[tokio::test]
async fn every_row_of_the_step_is_counted_whatever_the_reader_wants() {
    for sql in ["SELECT * FROM s", "SELECT name FROM s WHERE quantity > 4", "SELECT count(*) FROM s"] {
        let bench = Bench::new("SELECT * FROM t", &[]).await;
        bench.run(sql).await.unwrap();
        assert_eq!(bench.counted(), 5, "{sql}");
    }
    let bench = Bench::new("SELECT * FROM t WHERE quantity > 0", &[]).await;
    assert_eq!(bench.run("SELECT * FROM s WHERE name = 'a'").await.unwrap(), 1);
    assert_eq!(bench.counted(), 3, "rows of the step, not of the table or the reader");
}

#[tokio::test]
async fn a_broken_check_names_itself_and_a_row() {
    let bench = Bench::new("SELECT * FROM t", &["quantity >= 0", "quantity > 0"]).await;
    let error = bench.run("SELECT * FROM s").await.unwrap_err();
    assert!(matches!(error, TaskError::Fatal(_)), "{error:?}");
    assert_eq!(error.to_string(), "check `quantity > 0` of step `s` does not hold for the row quantity=0, name=b");
}

#[tokio::test]
async fn a_row_that_only_warns_is_counted_and_stays() {
    let checks = ["quantity > 0", "name <> 'zz'"];
    let bench = Bench::with("SELECT * FROM t", &checks, OnBreach::Warn).await;
    assert_eq!(bench.run("SELECT name FROM s").await.unwrap(), 5);
    let warned = |count: &RowCount| (count.kind() == RowCountKind::Warned).then(|| (count.name.clone(), count.rows));
    let warned: Vec<_> = bench.scope.counts().iter().filter_map(warned).collect();
    assert_eq!(warned, [("s: quantity > 0".to_owned(), 1)], "what always holds is not mentioned");
}

#[tokio::test]
async fn a_check_on_columns_that_nobody_reads_still_holds() {
    let bench = Bench::new("SELECT * FROM t", &["quantity > 0"]).await;
    let error = bench.run("SELECT count(*) FROM s").await.unwrap_err();
    assert!(error.to_string().contains("quantity=0"), "{error}");
}

#[tokio::test]
async fn null_passes_unless_the_check_says_otherwise() {
    let bench = Bench::new("SELECT * FROM t WHERE name = 'c'", &["quantity > 0"]).await;
    assert_eq!(bench.run("SELECT * FROM s").await.unwrap(), 1);
    let bench = Bench::new("SELECT * FROM t WHERE name = 'c'", &["quantity IS NOT NULL AND quantity > 0"]).await;
    assert!(bench.run("SELECT * FROM s").await.is_err());
}

#[tokio::test]
async fn columns_that_nobody_needs_are_not_computed() {
    let bench = Bench::new("SELECT quantity, upper(name) AS name FROM t", &["quantity IS NULL OR quantity >= 0"]).await;
    let plan = displayable(bench.plan("SELECT quantity FROM s").await.as_ref()).indent(false).to_string();
    assert!(plan.contains("ProbeExec: step=s, check: quantity IS NULL OR quantity >= 0"), "{plan}");
    assert!(!plan.contains("upper"), "{plan}");
}

#[tokio::test]
async fn order_and_partitioning_pass_through() {
    let bench = Bench::new("SELECT * FROM t ORDER BY quantity", &[]).await;
    let plan = bench.plan("SELECT quantity FROM s ORDER BY quantity").await;
    let text = displayable(plan.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("SortExec").count(), 1, "the order below the probe is kept: {text}");
    assert_eq!(plan.output_partitioning().partition_count(), 1);
}
