//! Function steps over stages: which rows a call gets, in which order what it gives comes, and what is said of a call that fails.

mod support;

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use support::Comparison;
use tandem_exec::function::{FunctionCall, FunctionError, FunctionOrigin, FunctionRunner, FunctionSpec};
use tandem_graph::{StageGraph, StageNeeds};

/// What a [`Doubler`] does with a call that has this value among its rows.
#[derive(Debug, Clone)]
struct Trap {
    value: i64,
    error: FunctionError,
}

/// Gives each value of the first column and its double, and remembers the calls.
#[derive(Debug, Default)]
struct Doubler {
    calls: Mutex<Vec<Vec<i64>>>,
    trap: Option<Trap>,
}

#[async_trait]
impl FunctionRunner for Doubler {
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        assert_eq!((call.spec.function.as_str(), call.spec.args.as_str()), ("double", r#"{"by":2}"#));
        for batch in &call.batches {
            assert_eq!(batch.schema().fields(), call.input.fields(), "no column of ours reaches a function");
        }
        let values: Vec<i64> = call.batches.iter().flat_map(values).collect();
        self.calls.lock().unwrap().push(values.clone());
        if let Some(trap) = self.trap.as_ref().filter(|trap| values.contains(&trap.value)) {
            return Err(trap.error.clone());
        }
        let double: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|value| 2 * value)));
        let value: ArrayRef = Arc::new(Int64Array::from(values));
        Ok(vec![RecordBatch::try_from_iter([("value", value), ("double", double)]).unwrap()])
    }
}

fn values(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn spec(batch_rows: usize) -> FunctionSpec {
    FunctionSpec {
        step: "doubled".to_owned(),
        function: "double".to_owned(),
        origin: FunctionOrigin::BuiltIn,
        args: r#"{"by":2}"#.to_owned(),
        batch_rows,
        whole: false,
        deterministic: true,
        needs: None,
    }
}

fn output() -> SchemaRef {
    Arc::new(Schema::new(["value", "double"].map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

/// The values of all rows; each row has its double.
fn doubled(rows: &[RecordBatch]) -> Vec<i64> {
    let check = |batch: &RecordBatch| {
        assert_eq!(batch.num_columns(), 2);
        let doubles = batch.column(1).as_primitive::<Int64Type>();
        assert!(values(batch).iter().zip(doubles.values()).all(|(value, double)| 2 * value == *double));
        values(batch)
    };
    rows.iter().flat_map(check).collect()
}

const ORDERED: &str = "SELECT id FROM numbers ORDER BY x DESC";
const SCATTERED: &str = "SELECT fact_id FROM facts";

#[tokio::test]
async fn an_ordered_input_is_spread_and_stays_in_order() {
    let comparison = Comparison::start(3, 4).await;
    let expected: Vec<i64> = (1..=5000).rev().collect();
    for batch_rows in [3, 100, 8192] {
        let functions = Arc::new(Doubler::default());
        let (graph, rows) = comparison.called(ORDERED, spec(batch_rows), output(), functions.clone()).await.unwrap();
        assert_eq!(doubled(&rows), expected, "{batch_rows} rows in a batch");
        let calling = graph.stages.iter().find(|stage| stage.name == "double").expect("a stage of the function");
        assert_eq!(calling.partitions, 4);
        assert!(calling.divisible.sized_by.is_empty() && !calling.divisible.mergeable, "small rows may be much work");
        let mut calls = functions.calls.lock().unwrap().clone();
        calls.sort_unstable_by_key(|call| -call[0]);
        let wanted: Vec<&[i64]> = expected.chunks(batch_rows).collect();
        assert_eq!(calls, wanted, "each call has the rows that follow each other");
    }
}

#[tokio::test]
async fn partitions_of_a_scattered_input_are_called_where_they_are() {
    let comparison = Comparison::start(2, 3).await;
    let functions = Arc::new(Doubler::default());
    let (graph, rows) = comparison.called(SCATTERED, spec(512), output(), functions.clone()).await.unwrap();
    let mut found = doubled(&rows);
    found.sort_unstable();
    assert_eq!(found, (1..=20_000).collect::<Vec<_>>());
    assert_eq!(graph.stages.len(), 1, "reading and calling is one stage");
    assert!(functions.calls.lock().unwrap().iter().all(|call| call.len() <= 512));
}

#[tokio::test]
async fn all_rows_are_one_call_in_the_order_of_the_partitions() {
    let comparison = Comparison::start(2, 3).await;
    let whole = || FunctionSpec { whole: true, ..spec(10) };
    let functions = Arc::new(Doubler::default());
    let (_, first) = comparison.called(SCATTERED, whole(), output(), functions.clone()).await.unwrap();
    let (_, again) = comparison.called(SCATTERED, whole(), output(), functions.clone()).await.unwrap();
    assert_eq!(functions.calls.lock().unwrap().len(), 2);
    assert_eq!(doubled(&first), doubled(&again));
    assert_eq!(doubled(&first).len(), 20_000);

    let functions = Arc::new(Doubler::default());
    let none = "SELECT id FROM numbers WHERE id < 0";
    let (_, rows) = comparison.called(none, whole(), output(), functions.clone()).await.unwrap();
    assert!(doubled(&rows).is_empty());
    assert_eq!(*functions.calls.lock().unwrap(), [Vec::<i64>::new()], "it is called for no rows");
    let functions = Arc::new(Doubler::default());
    comparison.called(none, spec(10), output(), functions.clone()).await.unwrap();
    assert_eq!(*functions.calls.lock().unwrap(), Vec::<Vec<i64>>::new(), "there is no batch");
}

#[tokio::test]
async fn a_call_that_fails_is_named_with_its_rows() {
    let comparison = Comparison::start(2, 3).await;
    let error = FunctionError::Failed("price is negative".to_owned());
    let with_trap =
        |value| Arc::new(Doubler { trap: Some(Trap { value, error: error.clone() }), ..Doubler::default() });
    let fails = async |sql, spec, value| comparison.called(sql, spec, output(), with_trap(value)).await.unwrap_err();
    // Value 4000 is row 1001 from the top.
    let found = fails(ORDERED, spec(100), 4000).await;
    assert_eq!(found, "function `double` of step `doubled`, batch 11, rows 1001 to 1100: price is negative");
    let found = fails(ORDERED, FunctionSpec { whole: true, ..spec(100) }, 4000).await;
    assert_eq!(found, "function `double` of step `doubled`, called for all 5000 rows: price is negative");
    let found = fails(SCATTERED, spec(100), 20_000).await;
    let partition = found.split(" of partition ").nth(1).and_then(|rest| rest.chars().next());
    assert!(partition.is_some_and(|digit| ('0'..='2').contains(&digit)), "{found}");
    assert!(found.starts_with("function `double` of step `doubled`, batch "), "{found}");
}

#[tokio::test]
async fn other_columns_than_declared_are_refused() {
    let comparison = Comparison::start(1, 2).await;
    let declared = Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, true)]));
    let error = comparison.called(ORDERED, spec(100), declared, Arc::new(Doubler::default())).await.unwrap_err();
    assert!(error.contains("batch 1, rows 1 to 100: it gave the columns value, double, the step"), "{error}");
}

#[tokio::test]
async fn what_may_differ_is_not_called_deterministic() {
    let comparison = Comparison::start(1, 2).await;
    let unsure = FunctionSpec { deterministic: false, ..spec(100) };
    for (spec, deterministic) in [(spec(100), true), (unsure, false)] {
        let (graph, _) = comparison.called(ORDERED, spec, output(), Arc::new(Doubler::default())).await.unwrap();
        let calling = graph.stages.iter().find(|stage| stage.name == "double").expect("a stage of the function");
        assert_eq!(calling.deterministic, deterministic);
    }
}

#[tokio::test]
async fn a_step_that_needs_more_than_a_slot_is_a_stage_of_its_own() {
    let comparison = Comparison::start(2, 3).await;
    let needs =
        StageNeeds { step: "doubled".to_owned(), milli: [("gpus".to_owned(), 500)].into(), ..StageNeeds::default() };
    let needy = |spec| FunctionSpec { needs: Some(needs.clone()), ..spec };
    let names = |graph: &StageGraph| graph.stages.iter().map(|stage| stage.name.clone()).collect::<Vec<_>>();
    let expect_one = |graph: &StageGraph| {
        let calling: Vec<_> = graph.stages.iter().filter(|stage| stage.needs.is_some()).collect();
        assert_eq!(calling.len(), 1);
        assert_eq!((calling[0].name.as_str(), calling[0].needs.as_ref()), ("double", Some(&needs)));
        assert!(
            calling[0].display.contains("FunctionExec: function=double")
                && calling[0].display.contains("needs gpus 0.5")
        );
        assert!(calling[0].divisible.sized_by.is_empty() && !calling[0].divisible.mergeable);
    };

    let functions = Arc::new(Doubler::default());
    let (graph, rows) = comparison.called(SCATTERED, needy(spec(512)), output(), functions.clone()).await.unwrap();
    assert_eq!(names(&graph), ["scan", "double", "read"]);
    expect_one(&graph);
    assert_eq!(graph.stages[1].divisible.paired, [graph.stages[0].id], "best where its rows are");
    let mut found = doubled(&rows);
    found.sort_unstable();
    assert_eq!(found, (1..=20_000).collect::<Vec<_>>());

    let (graph, rows) = comparison.called(ORDERED, needy(spec(100)), output(), functions.clone()).await.unwrap();
    assert_eq!(doubled(&rows), (1..=5000).rev().collect::<Vec<_>>());
    expect_one(&graph);

    let whole = FunctionSpec { whole: true, ..spec(10) };
    let (graph, rows) = comparison.called(SCATTERED, needy(whole), output(), functions).await.unwrap();
    assert_eq!(doubled(&rows).len(), 20_000);
    expect_one(&graph);
    assert_eq!(names(&graph), ["scan", "double", "read"]);
}
