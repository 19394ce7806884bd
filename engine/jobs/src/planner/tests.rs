use std::collections::HashMap;

use tandem_exec::nesting::STACK_BYTES;
use tandem_graph::StageRole;
use tandem_proto::v1;
use tempfile::TempDir;

use super::*;

const CLUSTER: ClusterShape = ClusterShape { slots: 3 };

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("sales.csv"), "product,quantity,price\na,1,2.5\nb,2,3.0\na,3,1.0\n").unwrap();
        std::fs::write(folder.path().join("bad.csv"), "product,quantity\na,1\nb,x\n").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    async fn query(&self, sql: &str) -> Result<PlannedJob, PlanError> {
        self.query_with(sql, &[]).await
    }

    async fn query_with(&self, sql: &str, settings: &[(&str, &str)]) -> Result<PlannedJob, PlanError> {
        let query = v1::Query {
            sql: sql.to_owned(),
            tables: vec![v1::Table { name: "sales".to_owned(), path: self.path("sales.csv"), ..Default::default() }],
            settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            base_dir: self.path(""),
        };
        plan(&JobSpec { work: Some(Work::Query(query)), ..Default::default() }, &CLUSTER).await
    }

    async fn job(&self, toml: &str) -> Result<PlannedJob, PlanError> {
        // As the client brings it, for those job files that name one.
        self.job_with(toml, Some(v1::Program { package: "0a".repeat(32), ..v1::Program::default() })).await
    }

    async fn job_with(&self, toml: &str, program: Option<v1::Program>) -> Result<PlannedJob, PlanError> {
        let file = v1::JobFile {
            toml: toml.to_owned(),
            params: HashMap::new(),
            base_dir: self.path(""),
            origin: "job.toml".to_owned(),
            program,
        };
        plan(&JobSpec { work: Some(Work::File(file)), ..Default::default() }, &CLUSTER).await
    }
}

fn parts(error: PlanError) -> (String, String) {
    match error {
        PlanError::Invalid { message, help } => (message, help.unwrap_or_default()),
        other => (other.to_string(), String::new()),
    }
}

#[tokio::test]
async fn a_query_gives_one_result_stage() {
    let planned =
        Fixture::new().query("SELECT product, sum(price) AS total FROM sales GROUP BY product ORDER BY 2").await;
    let planned = planned.unwrap();
    let result = planned.result.unwrap();
    assert_eq!(planned.graph.stage(result.stage).role, StageRole::Result);
    assert_eq!(planned.graph.stage(result.stage).partitions, 1, "an ordered result is one partition");
    let schema = tandem_ipc::decode_schema(&result.schema_ipc).unwrap();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["product", "total"]);
    assert_eq!(planned.settings.options["datafusion.execution.target_partitions"], "3");
}

#[tokio::test]
async fn what_a_query_adapts_to_can_be_turned_off() {
    let fixture = Fixture::new();
    // Both sides of the join come from stages of three partitions.
    let side = "(SELECT product, quantity, price FROM sales GROUP BY product, quantity, price)";
    let sql = &format!(
        "SELECT a.product, count(b.price) FROM {side} a JOIN {side} b ON a.quantity = b.quantity GROUP BY a.product"
    );
    let exchanged = [
        ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
        ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
    ];
    let graph = async |off: &[&str]| {
        let settings: Vec<_> = exchanged.into_iter().chain(off.iter().map(|key| (*key, "false"))).collect();
        fixture.query_with(sql, &settings).await.unwrap()
    };
    let adapts = |planned: &PlannedJob| {
        let stages = &planned.graph.stages;
        (
            stages.iter().any(|stage| stage.fusion.is_some()),
            stages.iter().any(|stage| !stage.divisible.sized_by.is_empty()),
            stages.iter().any(|stage| stage.divisible.split_over.is_some()),
            planned.race_stragglers,
        )
    };
    let all = graph(&[]).await;
    assert!(all.graph.stages.len() > 2, "both sides are exchanged");
    let all = adapts(&all);
    assert_eq!(all, (true, true, true, true));
    assert_eq!(adapts(&graph(&["tandem.fuse_joins"]).await), (false, true, true, true));
    assert_eq!(adapts(&graph(&["tandem.divide_by_size"]).await), (true, false, false, true));
    assert_eq!(adapts(&graph(&["tandem.split_skew"]).await), (true, true, false, true));
    assert_eq!(adapts(&graph(&["tandem.race_stragglers"]).await), (true, true, true, false));
    let (message, _) = parts(fixture.query_with(sql, &[("tandem.fuse_join", "false")]).await.unwrap_err());
    assert!(message.contains("tandem.fuse_join"), "{message}");
}

#[tokio::test]
async fn files_and_metadata_are_tables_too() {
    let fixture = Fixture::new();
    for sql in [
        "SELECT * FROM 'sales.csv'",
        "SHOW TABLES",
        "DESCRIBE sales",
        "SHOW ALL",
        "EXPLAIN SELECT count(*) FROM sales",
        "SELECT table_name FROM information_schema.tables",
        "EXPLAIN SELECT table_name FROM information_schema.tables",
        "EXPLAIN SHOW TABLES",
        "SELECT * FROM generate_series(1, 3)",
        "WITH t AS (SELECT 1 AS one) SELECT * FROM t",
        "SELECT 1",
    ] {
        let planned = fixture.query(sql).await;
        assert!(planned.is_ok(), "{sql}: {}", planned.unwrap_err());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said_with_its_place() {
    let fixture = Fixture::new();
    let mut wrong = Vec::new();
    for (sql, message, help) in [
        ("SELEC 1", "expected: an SQL statement, found: SELEC: line 1, column 1, near `SELEC 1`", ""),
        ("SELECT 1 +", "expected: an expression, found: EOF: line 1, column 11, at the end", ""),
        ("SELECT 1 +\n ", "expected: an expression, found: EOF: line 2, column 2, at the end", ""),
        ("SELECT pric FROM sales", "no field named pric: line 1, column 8, near `pric FROM sales`", "did you mean"),
        ("SELECT 1 FROM sale", "there is no table `sale`: line 1, column 15, near `sale`", "did you mean `sales`?"),
        ("SELECT 1; SELECT 2", "there is more than one SQL statement", "run them one by one"),
        ("", "there is no SQL statement", ""),
        ("DROP TABLE sales", "DROP TABLE is not a query", "[[sink]]"),
        ("CREATE TABLE t AS SELECT 1", "CREATE TABLE is not a query", "--table"),
        ("INSERT INTO sales VALUES (1)", "INSERT INTO is not a query", "[[sink]]"),
        ("COPY sales TO 'x.csv'", "COPY is not a query", "--output"),
        ("SET a.b = 1", "SET is not a query", "settings"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE is not a query", "tandem explain --analyze"),
        ("SELECT nope(1)", "invalid function 'nope'", ""),
        ("SELECT sum(product) FROM sales", "no function matches sum(Utf8View): line 1, column 8", "sum(Float64)"),
        ("SELECT abs(quantity, 3) FROM sales", "no function matches abs(Int64, Int64): line 1, column 8", "abs("),
        ("SELECT substr(quantity) FROM sales", "substring without for/from is not valid", ""),
        ("SELECT CAST('abc' AS INT)", "cannot cast string 'abc'", ""),
        ("SELECT * FROM 'missing.csv'", "no such file or folder", "local paths work when"),
    ] {
        let (found, hint) = parts(fixture.query(sql).await.map(drop).expect_err(sql));
        let named = found.contains(message) && hint.contains(help);
        if !named
            || found.contains("Error")
            || found.contains("backtrace")
            || found.contains('{')
            || found.contains('\n')
        {
            wrong.push(format!("{sql}: {found}: {hint}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const JOB: &str = r#"
name = "job"
report = "out"
[[source]]
name = "sales"
path = "sales.csv"
[[step]]
name = "good"
removes = "dropped"
sql = "SELECT product, quantity * price AS revenue FROM sales WHERE quantity > 1"
checks = ["min_rows = 1", "revenue > 0"]
[[step]]
name = "totals"
sql = """
SELECT product, sum(revenue) AS revenue
FROM good GROUP BY product ORDER BY revenue DESC"""
[[sink]]
from = "good"
path = "out/good"
format = "parquet"
[[sink]]
from = "totals"
path = "out/totals.json"
"#;

#[test]
fn what_is_nested_too_deep_is_refused() {
    let planning = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (terms, expected) in [(3_000, "2500 are the most"), (100_000, "more than 32000 words")] {
            let sum = vec!["price"; terms].join(" + ");
            let query = runtime.block_on(Fixture::new().query(&format!("SELECT {sum} FROM sales")));
            let (message, _) = parts(query.unwrap_err());
            assert!(message.contains(expected), "{message}");
            let job = JOB.replace("quantity * price", &sum);
            let (message, _) = parts(runtime.block_on(Fixture::new().job(&job)).unwrap_err());
            assert!(message.contains(expected), "{message}");
        }
    });
    planning.unwrap().join().unwrap();
}

#[tokio::test]
async fn a_step_that_is_read_twice_runs_once() {
    let fixture = Fixture::new();
    let planned = fixture.job(JOB).await.unwrap();
    let scans = planned.graph.stages.iter().filter(|stage| stage.display.contains("ScanExec")).count();
    assert_eq!(scans, 1, "{:#?}", planned.graph.stages.iter().map(|stage| &stage.display).collect::<Vec<_>>());
    let sinks: Vec<&StageRole> = planned
        .graph
        .stages
        .iter()
        .map(|stage| &stage.role)
        .filter(|role| matches!(role, StageRole::Sink(_)))
        .collect();
    assert_eq!(sinks, [&StageRole::Sink("good".into()), &StageRole::Sink("totals.json".into())]);
    let single = planned.graph.stages.iter().find(|stage| stage.role == StageRole::Sink("totals.json".into())).unwrap();
    assert_eq!(single.partitions, 1, "one file is written by one task");
    assert_eq!(planned.count_checks.len(), 1);
    assert_eq!((planned.count_checks[0].min_rows, planned.count_checks[0].max_rows), (Some(1), None));
    assert_eq!(planned.report.steps[0].input.as_deref(), Some("sales"));
    assert_eq!(planned.report.steps[1].input, None, "sums are other rows");
    assert_eq!(planned.report.folder.as_deref(), Some(fixture.path("out").as_str()));
}

#[tokio::test]
async fn a_report_is_not_written_into_a_sink_or_a_source() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.folder.path().join("in")).unwrap();
    std::fs::copy(fixture.path("sales.csv"), fixture.path("in/sales.csv")).unwrap();
    for (report, expected) in [
        ("out/good/report", "sink `good`"),
        ("out/good", "sink `good`"),
        ("in", "source `sales`"),
        ("in/reports", "source `sales`"),
    ] {
        let job = JOB.replace("report = \"out\"", &format!("report = \"{report}\"")).replace("\"sales.csv\"", "\"in\"");
        let (message, help) = parts(fixture.job(&job).await.unwrap_err());
        assert!(message.starts_with("report: ") && message.contains(expected), "{message}");
        assert_eq!(help, "give the report a folder of its own");
    }
    fixture.job(&JOB.replace("report = \"out\"", "report = \"out/report\"")).await.unwrap();
}

#[tokio::test]
async fn a_report_needs_a_folder_that_can_be_written_to() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("file"), "").unwrap();
    let job = JOB.replace("report = \"out\"", "report = \"file/report\"");
    let (message, help) = parts(fixture.job(&job).await.unwrap_err());
    assert!(message.starts_with("report: cannot write to ") && message.contains("file"), "{message}");
    assert_eq!(help, "choose a folder that this user may write to");
}

/// The plan survives the journal.
#[tokio::test]
async fn a_planned_job_is_plain_data() {
    let planned = Fixture::new().job(JOB).await.unwrap();
    let text = serde_json::to_string(&planned).unwrap();
    let back: PlannedJob = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[tokio::test]
async fn what_is_wrong_with_a_job_is_said_with_its_line() {
    let fixture = Fixture::new();
    let mut wrong = Vec::new();
    for (from, to, message, help) in [
        (
            "FROM good",
            "FROM god",
            "there is no table `god`: step `totals` (job.toml:16, near `god GROUP BY product",
            "`good`",
        ),
        ("sum(revenue)", "sum(revenu)", "no field named revenu: step `totals` (job.toml:15", "revenue"),
        ("sum(revenue)", "sum(revenue", "step `totals` (job.toml:1", ""),
        ("path = \"sales.csv\"", "path = \"nothing.csv\"", "no such file or folder", "local paths work when"),
        ("\"revenue > 0\"", "\"revenu > 0\"", "check `revenu > 0`", ""),
        ("\"revenue > 0\"", "\"revenue\"", "not true or false", ""),
        ("quantity * price AS revenue", "price, price", "have the same name: step `good`", "AS"),
        ("removes = \"dropped\"", "input = \"totals\"", "step `good` takes its input from `totals`", ""),
        (
            "sql = \"SELECT product, quantity * price AS revenue FROM sales WHERE quantity > 1\"",
            "run = \"sales-summary\"\ninput = \"sales\"",
            "`sales-summary`: its rows must be those that `product-analysis` gives: step `good` (job.toml:7)",
            "",
        ),
        ("format = \"parquet\"", "format = \"parquet\"\npartition_by = [\"day\"]", "day", ""),
        ("path = \"out/good\"", "path = \".\"", "would replace", ""),
    ] {
        let toml = JOB.replacen(from, to, 1);
        assert_ne!(toml, JOB, "{from}");
        let (found, hint) = parts(fixture.job(&toml).await.map(drop).expect_err(to));
        if !found.contains(message) || !hint.contains(help) {
            wrong.push(format!("{to}: {found}: {hint}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn rejects_are_published_with_the_job() {
    let toml = r#"
name = "job"
[[source]]
name = "bad"
path = "bad.csv"
schema = "product string, quantity int"
rejects = "out/rejects"
[[sink]]
from = "bad"
path = "out/good.csv"
"#;
    let planned = Fixture::new().job(toml).await.unwrap();
    assert_eq!(planned.sinks.len(), 2);
    assert!(planned.sinks[1].path.ends_with("/out/rejects"), "{:?}", planned.sinks);
}

#[tokio::test]
async fn built_in_jobs_can_be_planned() {
    let fixture = Fixture::new();
    std::fs::write(
        fixture.path("events.csv"),
        "event_id,event_time,user_id,product_id,category,quantity,unit_price,country,status\n\
         e1,2026-01-01T00:00:00Z,u1,p1,books,1,2.50,de,completed\n",
    )
    .unwrap();
    let product = r#"[{"product":"a","total_revenue":1,"total_quantity":1,"transaction_count":1,"avg_quantity":1}]"#;
    std::fs::write(fixture.path("products.json"), product).unwrap();
    std::fs::write(fixture.path("products.csv"), "product_id,product_name,category,list_price\np1,one,books,3.00\n")
        .unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model");
    for (name, params) in [
        ("sales", vec![]),
        ("sales", vec![("input", "sales.csv")]),
        ("sales-etl", vec![]),
        ("sales-analysis", vec![("input", "products.json")]),
        ("events", vec![("input", "events.csv"), ("products", "products.csv")]),
        ("embed", vec![("input", "sales.csv"), ("column", "product"), ("model", model)]),
    ] {
        let params = params.iter().map(|(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned())).collect();
        let file = crate::builtin::job_file(name, &params, &fixture.path("")).unwrap();
        let planned = plan(&JobSpec { work: Some(Work::File(file)), ..Default::default() }, &CLUSTER).await;
        let planned = planned.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(planned.name, name);
        if name == "events" {
            let inputs: Vec<Option<&str>> = planned.report.steps.iter().map(|step| step.input.as_deref()).collect();
            assert_eq!(inputs[..4], [Some("events"), Some("cleaned"), None, Some("deduplicated")]);
        }
    }
}

#[tokio::test]
async fn texts_are_embedded_by_workers_and_never_by_a_planner() {
    let fixture = Fixture::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model");
    std::os::unix::fs::symlink(model, fixture.path("minilm")).unwrap();
    let sql = "SELECT product FROM sales ORDER BY cosine_similarity(embed(product, 'minilm'), embed('a pear', 'minilm')) LIMIT 1";
    let planned = fixture.query(sql).await.unwrap();
    let displays: String = planned.graph.stages.iter().map(|stage| stage.display.as_str()).collect();
    assert!(displays.contains(&format!("embed(a pear, {})", fixture.path("minilm"))), "{displays}");
    let error = fixture.query("SELECT embed(product, 'maxilm') FROM sales").await.map(drop).unwrap_err();
    let (message, _) = parts(error);
    assert!(message.contains("embed: ") && message.contains(&fixture.path("maxilm")), "{message}");
}

#[tokio::test]
async fn a_function_of_the_package_gives_the_columns_that_are_declared() {
    let toml = r#"
name = "job"
package = "./labels"
[[source]]
name = "sales"
path = "sales.csv"
[[step]]
name = "labelled"
run = "label"
input = "sales"
like = "sales"
schema = "label string"
checks = ["label <> ''"]
[[step]]
name = "counted"
sql = "SELECT label, count(*) AS n FROM labelled WHERE quantity > 0 GROUP BY label"
[[sink]]
from = "counted"
path = "out/counted.csv"
"#;
    let planned = Fixture::new().job(toml).await.unwrap();
    let calling: Vec<_> = planned.graph.stages.iter().filter(|stage| stage.name.contains("label")).collect();
    assert_eq!(calling.len(), 1, "{:#?}", planned.graph.stages);
    assert!(!calling[0].deterministic, "nobody knows what a user's function does");
    assert_eq!(planned.program.map(|program| program.package), Some("0a".repeat(32)));
    let error = Fixture::new().job_with(toml, None).await.map(drop).unwrap_err();
    assert_eq!(parts(error).0, "job.toml: package `./labels` did not come with the job");
    let error = Fixture::new().job(&toml.replace("label string", "price string")).await.map(drop).unwrap_err();
    assert_eq!(parts(error).0, "column `price` is declared twice: step `labelled` (job.toml:7)");
    let error = Fixture::new().job(&toml.replace("label string", "label strng")).await.map(drop).unwrap_err();
    assert!(parts(error).0.contains("unknown type `strng`: position 7: step `labelled` (job.toml:7)"));
}

#[tokio::test]
async fn a_missing_column_of_own_sales_is_named() {
    let fixture = Fixture::new();
    let params = [("input".to_owned(), "bad.csv".to_owned())].into();
    let file = crate::builtin::job_file("sales", &params, &fixture.path("")).unwrap();
    let planned = plan(&JobSpec { work: Some(Work::File(file)), ..Default::default() }, &CLUSTER).await;
    let (message, _) = parts(planned.map(drop).unwrap_err());
    assert!(message.contains("no field named price: step `by_product`"), "{message}");
}

#[test]
fn every_slot_gets_as_many_partitions_as_the_input_is_worth() {
    const MIB: u64 = 1 << 20;
    let cases = [
        (0, 0, 1),
        (2, 0, 2),
        (2, 255 * MIB, 2),
        (2, 256 * MIB, 4),
        (3, 400 * MIB, 6),
        (2, 5_000 * MIB, 32),
        (1_000, 1 << 50, 4_000),
        (16_000, 1 << 50, 16_000),
    ];
    for (slots, bytes, partitions) in cases {
        assert_eq!(ClusterShape { slots }.partitions(bytes), partitions, "{slots} slots, {bytes} bytes");
    }
}
