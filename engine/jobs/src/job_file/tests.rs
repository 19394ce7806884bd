use std::collections::BTreeMap;

use tandem_exec::sink::SinkMode;
use tandem_exec::source::{OnBadRow, Paths};

use super::*;

const GOOD: &str = r#"
name = "events-daily"
retries = 2
timeout = "1h"
[params]
input = "data/events/*.csv"
output = "out/events"
limit = 500
[env]
MODE = "full ${limit}"

[[source]]
name = "events"
path = "${input}"
format = "csv"
schema = "event_id string not null"
on_bad_row = "reject"
rejects = "${output}/rejects"

[[step]]
name = "clean"
sql = """
SELECT *
FROM events WHERE quantity < ${limit}"""
checks = ["min_rows = 1", "quantity > 0"]
removes = "dropped"

[[sink]]
from = "clean"
path = "${output}/curated"
format = "parquet"
partition_by = ["event_date"]
mode = "append"
target_file_size = "128MiB"
"#;

fn parse(text: &str) -> Result<JobFile, JobFileError> {
    JobFile::parse(text, "job.toml", &BTreeMap::new())
}

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_good_file_is_read_with_its_params_filled_in() {
    let job = JobFile::parse(GOOD, "job.toml", &set(&[("input", "/data/a.csv"), ("limit", "7")])).unwrap();
    assert_eq!((job.name.as_str(), job.retries, job.timeout), ("events-daily", 2, Some(Duration::from_secs(3600))));
    assert_eq!(job.environment["MODE"], "full 7");
    assert_eq!(job.sources[0].spec.path, Paths::One("/data/a.csv".into()));
    assert_eq!(job.sources[0].spec.rejects.as_deref(), Some("out/events/rejects"));
    assert_eq!(job.sources[0].spec.on_bad_row, Some(OnBadRow::Reject));
    let StepWork::Sql(sql) = &job.steps[0].work else { panic!("not a query") };
    assert_eq!((sql.text.as_str(), sql.line), ("SELECT *\nFROM events WHERE quantity < 7", 23));
    assert_eq!(job.steps[0].checks, ["min_rows = 1", "quantity > 0"]);
    assert_eq!(job.steps[0].removes, Some(Removes::Dropped));
    let sink = &job.sinks[0].spec;
    assert_eq!((sink.name.as_str(), sink.mode, sink.target_file_size_bytes), ("curated", SinkMode::Append, 128 << 20));
}

/// Each wrong edit of the good file, the error it gives, and the help.
#[test]
fn every_mistake_is_named_with_its_line() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("retries = 2", "retrys = 2", "job.toml:3: unknown key `retrys` in the job file", "did you mean `retries`?"),
        (
            "format = \"csv\"",
            "formt = \"csv\"",
            "job.toml:15: unknown key `formt` in [[source]]",
            "did you mean `format`?",
        ),
        ("path = \"${input}\"", "pth = \"x\"", "job.toml:14: unknown key `pth` in [[source]]", "did you mean `path`?"),
        ("removes =", "removs =", "job.toml:26: unknown key `removs` in [[step]]", "did you mean `removes`?"),
        ("mode =", "made =", "job.toml:33: unknown key `made` in [[sink]]", "did you mean `mode`?"),
        (
            "retries = 2",
            "retries = -2",
            "job.toml:3: `retries` of the job file must be a whole number from 0, not this integer",
            "",
        ),
        (
            "retries = 2",
            "retries = \"x\"",
            "job.toml:3: `retries` of the job file must be a whole number from 0, not this string",
            "",
        ),
        ("\"1h\"", "\"soon\"", "job.toml:4: `timeout` cannot be `soon`", "write a time such as 60s, 5m or 1h"),
        ("\"1h\"", "3600", "job.toml:4: `timeout` of the job file must be a string, not this integer", ""),
        ("\"${input}\"", "\"${inptu}\"", "job.toml:14: `${inptu}` names no param", "did you mean `input`?"),
        ("< ${limit}", "< ${limits}", "job.toml:24: `${limits}` names no param", "did you mean `limit`?"),
        (
            "< ${limit}",
            "< ${limit",
            "job.toml:24: `${limit` is not closed",
            "close it with `}`, or write `$${` for a plain `${`",
        ),
        (
            "limit = 500",
            "limit = [500]",
            "job.toml:8: param `limit` must be a string, number or boolean, not this array",
            "",
        ),
        (
            "format = \"csv\"",
            "format = \"cvs\"",
            "job.toml:15: `format` of [[source]] cannot be `cvs`",
            "it is one of csv, tsv, jsonl, json, parquet, arrow",
        ),
        (
            "\"reject\"",
            "\"ignore\"",
            "job.toml:17: `on_bad_row` of [[source]] cannot be `ignore`",
            "it is one of reject, fail, null",
        ),
        (
            "\"reject\"",
            "\"fail\"",
            "job.toml:12: source `events` has `rejects` but rejects nothing",
            "use on_bad_row = \"reject\"",
        ),
        (
            "name = \"events\"",
            "name = \"my events\"",
            "job.toml:13: `my events` cannot be the name of a table",
            "use small letters, digits and `_`, not starting with a digit",
        ),
        ("name = \"events\"", "", "job.toml:12: [[source]] has no `name`", ""),
        ("path = \"${input}\"", "path = \"\"", "job.toml:12: `path` of [[source]] is empty", ""),
        (
            "from = \"clean\"",
            "from = \"claen\"",
            "job.toml:28: a sink takes its rows from `claen`, which is no source or step",
            "did you mean `clean`?",
        ),
        ("name = \"clean\"", "name = \"events\"", "job.toml:20: the name `events` is used twice", ""),
        (
            "\"128MiB\"",
            "\"big\"",
            "job.toml:34: `target_file_size` cannot be `big`",
            "write a size such as 128MiB or 1GiB",
        ),
        ("removes = \"dropped\"", "run = \"f\"", "job.toml:22: a [[step]] has either `sql` or `run`, not both", ""),
        (
            "removes = \"dropped\"",
            "input = \"other\"",
            "job.toml:20: step `clean` takes its input from `other`, which is not above it",
            "tables here are events",
        ),
        ("retries = 2", "package = \" \"", "job.toml:3: `package` is empty", ""),
        (
            "retries = 2",
            "attach = [\"a\"]",
            "job.toml:3: `attach` needs a `package`",
            "files are attached for the functions of a package",
        ),
        ("removes = \"dropped\"", "args = { a = 1 }", "job.toml:26: `args` is for a [[step]] with `run`", ""),
        (
            "mode = \"append\"",
            "shape = \"list\"",
            "job.toml:33: `shape` of [[sink]] cannot be `list`",
            "it is one of array, object",
        ),
        (
            "[[sink]]",
            "[sink]",
            "job.toml:28: `sink` of the job file must be a list of tables, each written [[sink]], not this table",
            "",
        ),
    ];
    let mut wrong = Vec::new();
    for (from, to, message, help) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from} is not in the file");
        let error = parse(&text).expect_err(to);
        let found = (error.to_string(), error.help.unwrap_or_default());
        if found != ((*message).to_owned(), (*help).to_owned()) {
            wrong.push(format!("{to}: {}: {}", found.0, found.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const RUN: &str = r#"
name = "labels"
package = "./labels"
[params]
limit = 5
share = 0.5
strict = true
label = "7"
[[source]]
name = "texts"
path = "texts.parquet"
[[step]]
name = "labelled"
run = "label"
input = "texts"
args = { n = "${limit}", of = ["${share}", "${strict}", "${label}", "at ${limit}"], more = { x = 1.5, y = -2 } }
like = "texts"
schema = "label string"
batch_rows = 100
whole = false
resources = { cpus = 1, gpus = 0, license = 0.5 }
labels = { zone = "a" }
[[sink]]
from = "labelled"
path = "out"
format = "parquet"
"#;

fn run_step(job: &JobFile) -> &RunStep {
    match &job.steps[0].work {
        StepWork::Run(run) => run,
        StepWork::Sql(_) => panic!("not a function"),
    }
}

#[test]
fn a_function_has_its_arguments_columns_and_resources() {
    let job = parse(RUN).unwrap();
    assert_eq!(job.package.as_deref(), Some("./labels"));
    let run = run_step(&job);
    assert_eq!((run.function.as_str(), run.batch_rows, run.whole), ("label", Some(100), Some(false)));
    assert_eq!((run.like.as_deref(), run.schema.as_deref()), (Some("texts"), Some("label string")));
    assert_eq!(run.resources, [("cpus".to_owned(), 1_000), ("license".to_owned(), 500)].into(), "nothing is no demand");
    assert_eq!(run.labels, [("zone".to_owned(), "a".to_owned())].into());
    let args = r#"{"n":5,"of":[0.5,true,"7","at 5"],"more":{"x":1.5,"y":-2}}"#;
    assert_eq!(serde_json::Value::from(run.args.clone()), serde_json::from_str::<serde_json::Value>(args).unwrap());
}

#[test]
fn every_mistake_about_a_function_is_named_with_its_line() {
    let cases: &[(&str, &str, &str, &str)] = &[
        (
            "package = \"./labels\"",
            "",
            "job.toml:12: step `labelled`: there is no function `label`",
            "built-in functions here are classify, embed, product-analysis, sales-summary, train-classifier (your own come with a `package`)",
        ),
        (
            "run = \"label\"",
            "run = \"product-analysis\"",
            "job.toml:12: step `labelled`: `product-analysis` is built in and has its own columns",
            "leave out schema and like",
        ),
        (
            "like = \"texts\"\nschema = \"label string\"",
            "",
            "job.toml:12: step `labelled`: it does not say which columns `label` gives",
            "write schema = \"name type, …\", or like = \"TABLE\" for the columns of a table",
        ),
        (
            "like = \"texts\"",
            "like = \"text\"",
            "job.toml:12: step `labelled` takes its columns from `text`, which is not above it",
            "did you mean `texts`?",
        ),
        (
            "input = \"texts\"",
            "",
            "job.toml:12: step `labelled` runs a function and has no `input`",
            "say whose rows it works on: texts",
        ),
        ("batch_rows = 100", "batch_rows = 0", "job.toml:19: `batch_rows` cannot be 0", ""),
        (
            "args = {",
            "args = 5 # {",
            "job.toml:16: `args` of [[step]] must be a table, written { name = value }, not this integer",
            "",
        ),
        ("\"${limit}\"", "\"${limti}\"", "job.toml:16: `${limti}` names no param", "did you mean `limit`?"),
        (
            "gpus = 0",
            "gpus = -1",
            "job.toml:21: `gpus` of `resources` cannot be -1",
            "it is a number from 0, such as 1 or 0.5",
        ),
        (
            "gpus = 0",
            "gpus = 1.5",
            "job.toml:21: `gpus` of `resources` cannot be 1.5",
            "a task has whole GPUs, or a part of one, such as 0.5",
        ),
        (
            "license = 0.5",
            "memory = \"1GiB\"",
            "job.toml:21: `memory` of `resources` is no name of a resource",
            "they are cpus, gpus, and those that workers are started with, as in `tandem worker --resource license=2`",
        ),
        ("zone = \"a\"", "zone = 1", "job.toml:22: label `zone` must be a string, not 1", ""),
    ];
    let mut wrong = Vec::new();
    for (from, to, message, help) in cases {
        let text = RUN.replacen(from, to, 1);
        assert_ne!(text, RUN, "{from} is not in the file");
        let error = parse(&text).expect_err(message);
        let found = (error.to_string(), error.help.unwrap_or_default());
        if found != ((*message).to_owned(), (*help).to_owned()) {
            wrong.push(format!("{to}: {}: {}", found.0, found.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let own_columns = RUN.replace("like = \"texts\"\nschema = \"label string\"", "");
    let mixed = parse(&own_columns.replace("run = \"label\"", "run = \"product-analysis\"")).unwrap_err();
    assert!(mixed.to_string().ends_with("a job with a `package` runs only the functions of that"), "{mixed}");
    let near = parse(&RUN.replace("package = \"./labels\"", "").replace("\"label\"", "\"sales-sumary\"")).unwrap_err();
    assert!(near.help.unwrap().starts_with("did you mean `sales-summary`?"));
}

#[test]
fn broken_toml_names_the_line() {
    let error = parse("name = \"x\"\nretries = = 2\n").unwrap_err();
    assert_eq!((error.origin.as_str(), error.line), ("job.toml", 2));
    assert!(!error.message.contains('\n'), "{error}");
}

#[test]
fn overrides_must_be_known_and_keep_their_type() {
    let error = JobFile::parse(GOOD, "job.toml", &set(&[("inputs", "x")])).unwrap_err();
    assert_eq!(error.message, "there is no param `inputs` to set");
    assert_eq!(error.help.as_deref(), Some("did you mean `input`?"));
    let error = JobFile::parse(GOOD, "job.toml", &set(&[("limit", "many")])).unwrap_err();
    assert_eq!(error.to_string(), "job.toml:8: param `limit` must be a whole number, not `many`");
}

#[test]
fn a_value_is_filled_in_once_and_dollar_dollar_stays() {
    let job = JobFile::parse(GOOD, "job.toml", &set(&[("input", "${output}")])).unwrap();
    assert_eq!(job.sources[0].spec.path, Paths::One("${output}".into()));
    let job = parse(&GOOD.replace("full ${limit}", "a $${limit} $5 $$ ${limit}")).unwrap();
    assert_eq!(job.environment["MODE"], "a ${limit} $5 $$ 500");
}

#[test]
fn a_default_may_refer_to_other_params() {
    let text = GOOD.replace("output = \"out/events\"", "output = \"${root}/n${limit}\"\nroot = \"out\"");
    let rejects = |job: JobFile| job.sources[0].spec.rejects.clone().unwrap();
    assert_eq!(rejects(parse(&text).unwrap()), "out/n500/rejects");
    let set = set(&[("root", "${limit}"), ("limit", "7")]);
    assert_eq!(rejects(JobFile::parse(&text, "job.toml", &set).unwrap()), "${limit}/n7/rejects");
    for (root, message, help) in [
        ("${output}", "job.toml:7: params refer to each other: `output`, `root`", ""),
        ("${root}", "job.toml:7: params refer to each other: `output`, `root`", ""),
        ("${rot}", "job.toml:8: `${rot}` names no param", "did you mean `root`?"),
    ] {
        let error = parse(&text.replace("root = \"out\"", &format!("root = \"{root}\""))).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.help.as_deref().unwrap_or_default()), (message, help));
    }
    let doubled = |n: usize| format!("p{n} = \"${{p{m}}}${{p{m}}}\"\n", m = n - 1);
    let doubled = format!("[params]\np0 = \"ab\"\n{}", (1..50).map(doubled).collect::<String>());
    let error = parse(&GOOD.replace("[params]\n", &doubled)).unwrap_err();
    assert!(error.message.ends_with("is longer than 65536 bytes"), "{error}");
}

#[test]
fn a_job_needs_a_sink() {
    let text = &GOOD[..GOOD.find("[[sink]]").unwrap()];
    assert_eq!(parse(text).unwrap_err().to_string(), "job.toml:1: the job writes nothing: it has no [[sink]]");
}

proptest::proptest! {
    /// A file that someone is still typing is an error, never a panic.
    #[test]
    fn broken_files_are_refused(at in 0usize..1000, insert in "[\\[\\]{}$\"'=a-z0-9\n.]{0,6}", remove in 0usize..40) {
        let start = at % GOOD.len();
        let end = (start + remove).min(GOOD.len());
        if let Err(error) = parse(&format!("{}{insert}{}", &GOOD[..start], &GOOD[end..])) {
            proptest::prop_assert!(error.line >= 1 && !error.message.is_empty());
        }
    }
}
