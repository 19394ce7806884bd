//! No bytes make a decoder panic or fill the memory: random ones, and sound ones that were damaged.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, ListBuilder, RecordBatch, StringViewBuilder};
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};
use tandem_ipc::{BodyCompression, END_OF_STREAM, Encoder};
use tandem_jobs::planner::{ClusterShape, plan};
use tandem_proto::v1;

/// One way to damage bytes.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let part = |at: &Index, len: usize| -> Range<usize> {
            let start = at.index(bytes.len());
            start..bytes.len().min(start + len)
        };
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, value) => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Remove(at, len) => drop(bytes.drain(part(at, *len))),
            Self::Repeat(at, len) => {
                let range = part(at, *len);
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, copy);
            }
            Self::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that begin or end something in one of the formats come more often.
    let byte = prop_oneof![any::<u8>(), select(b"\0\x01\x7f\x80\xff\",\n{}[]=".as_slice())];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, value)| Damage::Set(at, value)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), 1..64_usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (any::<Index>(), 1..64_usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
        1 => (any::<Index>(), prop::collection::vec(byte, 1..9)).prop_map(|(at, new)| Damage::Insert(at, new)),
    ]
}

fn damaged(sound: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damages = prop::collection::vec(damage(), 1..8);
    (select(sound), damages).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    })
}

/// Runs `body` on random bytes and on all that damage makes of what is `sound`.
fn check(body: fn(&[u8]), sound: Vec<Vec<u8>>) {
    limit_memory();
    sound.iter().for_each(|bytes| body(bytes));
    let random = prop::collection::vec(any::<u8>(), 0..600);
    let input = prop_oneof![1 => random, 3 => damaged(sound)];
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(1_500) });
    let held = runner.run(&input, |bytes| {
        body(&bytes);
        Ok(())
    });
    match held {
        Ok(()) => {}
        Err(TestError::Fail(reason, bytes)) => panic!("{reason}: b\"{}\"", bytes.escape_ascii()),
        Err(error) => panic!("{error}"),
    }
}

/// What asks for more than any of these inputs is worth ends the process.
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit { current: Some(16 << 30), maximum: getrlimit(Resource::As).maximum };
    setrlimit(Resource::As, limit).expect("a limit of our own");
}

fn batch() -> RecordBatch {
    let texts: Vec<String> = (0..50).map(|i| format!("row {} of the batch", i % 7)).collect();
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    texts.iter().for_each(|text| lists.append_value([Some(text), None]));
    RecordBatch::try_from_iter([
        ("i", Arc::new((0..50).map(|i| (i % 3 > 0).then_some(i)).collect::<Int64Array>()) as ArrayRef),
        ("d", Arc::new(texts.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())),
        ("l", Arc::new(lists.finish())),
    ])
    .expect("columns of one length")
}

/// A stream after the byte that says how it is cut into pieces.
fn streams() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(&batch().schema(), BodyCompression::Lz4);
    let mut stream = [&[4], encoder.schema_message()].concat();
    for _ in 0..2 {
        encoder.encode(&batch(), &mut stream).expect("a batch that can be encoded");
    }
    stream.extend(END_OF_STREAM);
    vec![stream]
}

/// The plans of all stages of some statements.
fn stage_plans() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("t.csv"), "a,b\n1,x\n2,y\n").expect("a file");
    std::fs::write(folder.path().join("t.jsonl"), "{\"a\":1,\"c\":[{\"d\":2}]}\n").expect("a file");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let statements = [
        "SELECT b, count(*), sum(a) FROM 't.csv' GROUP BY b ORDER BY b LIMIT 3",
        "SELECT x.a, y.c[1]['d'] FROM 't.csv' x LEFT JOIN 't.jsonl' y ON x.a = y.a WHERE x.b LIKE 'x%' OR x.a IN (1, 2)",
        "SELECT a, row_number() OVER (PARTITION BY b ORDER BY a) FROM 't.csv' WHERE a > (SELECT min(a) FROM 't.jsonl')",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r",
    ];
    let plans = statements.into_iter().flat_map(|sql| {
        let query = v1::Query {
            sql: sql.to_owned(),
            base_dir: folder.path().to_string_lossy().into_owned(),
            ..v1::Query::default()
        };
        let spec = v1::JobSpec { work: Some(v1::job_spec::Work::Query(query)), ..v1::JobSpec::default() };
        let planned =
            runtime.block_on(plan(&spec, &ClusterShape { slots: 4 })).expect("a statement that can be planned");
        planned.graph.stages.into_iter().map(|stage| stage.plan.to_vec())
    });
    plans.collect()
}

fn job_files() -> Vec<Vec<u8>> {
    let built_in = |(name, params): (&str, BTreeMap<String, String>)| {
        tandem_jobs::builtin::job_file(name, &params, "/").expect("a built-in job").toml.into_bytes()
    };
    let input = BTreeMap::from([("input".to_owned(), "in.csv".to_owned())]);
    let jobs = [("sales", BTreeMap::new()), ("sales", input), ("events", BTreeMap::new()), ("embed", BTreeMap::new())];
    jobs.map(built_in).to_vec()
}

/// Texts after the bytes that say how they are read.
fn texts(options: &[u8], texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| [options, text.as_bytes()].concat()).collect()
}

macro_rules! decoders {
    ($($name:ident: $body:path, $sound:expr;)*) => {$(
        #[test]
        fn $name() {
            check($body, $sound);
        }
    )*};
}

decoders! {
    token_files: tandem_proto::fuzz::token, texts(b"", &["0123456789abcdef\n", " Bearer0123456789abcdef"]);
    record_batch_streams: tandem_ipc::fuzz::stream, streams();
    schema_messages: tandem_ipc::fuzz::schema, vec![tandem_ipc::encode_schema(&batch().schema())];
    stage_plans_of_a_job: tandem_exec::fuzz::stage_plan, stage_plans();
    stage_definitions: tandem_exec::fuzz::stage_definition, vec![stage_definition()];
    csv_files: tandem_exec::fuzz::csv, texts(b"\x02\0", &CSV);
    csv_files_without_quotes_or_header: tandem_exec::fuzz::csv, texts(b"\x02\x03", &CSV);
    json_files: tandem_exec::fuzz::json, texts(b"\x02", &JSON);
    schema_texts: tandem_exec::fuzz::schema, texts(b"", &["id string not null, \"a \"\"b\" decimal(12,2), c int,"]);
    job_files_of_users: tandem_jobs::fuzz::job_file, job_files();
    journal_records: tandem_coordinator::fuzz::journal_record, tandem_coordinator::fuzz::journal_records();
    what_workers_say: tandem_coordinator::fuzz::worker_message, worker_messages();
}

const CSV: [&str; 3] = [
    "\u{feff}id,n,price,at\r\na,1,1.50,2024-01-01 00:00:00\r\n\"b\nb\",x,2,\r\nc,2\r\n,3,4,\nd,5,\"6\",\"2024-02-02T00:00:00Z\"\n",
    "a,a,,\"x\"\"y\"\n1,2,3,4\n\"\",\"\",,\n",
    "n\n1\n-2\n3e5\ntrue\n",
];

const JSON: [&str; 3] = [
    "{\"id\":\"a\",\"n\":1,\"price\":1.25,\"at\":\"2024-01-01\"}\n{\"n\":\"2\",\"id\":7}\n{\"id\":\"c\"\n{}\n",
    "[{\"a\":[1,2],\"b\":{\"c\":null}},\n {\"a\":[],\"b\":{\"c\":\"x]\\\"\"}}, 3]\n",
    "{\"a\":{\"b\":[{\"c\":1},{\"c\":2}]}}\n{\"a\":null}\n",
];

fn stage_definition() -> Vec<u8> {
    use prost::Message;
    let input = v1::StageInput {
        stage: 1,
        worker_of: vec![0, 1, 0],
        attempt_of: vec![0, 0, 2],
        workers: vec![v1::WorkerAddress { worker: 1, data_address: "127.0.0.1:7000".to_owned() }; 2],
    };
    let settings = [("datafusion.execution.batch_size".to_owned(), "100".to_owned())].into();
    v1::StageDefinition { plan: vec![1, 2, 3].into(), inputs: vec![input], settings, ..Default::default() }
        .encode_to_vec()
}

fn worker_messages() -> Vec<Vec<u8>> {
    use prost::Message;
    use v1::worker_message::Message as Said;
    let attempt = Some(v1::TaskAttempt { job: 1, stage: 1, task: 0, attempt: 2 });
    let finished = v1::TaskFinished { partition_sizes: vec![1, 2], ..Default::default() };
    let outcome = Some(v1::task_report::Outcome::Finished(finished));
    let register =
        v1::Register { worker: 1, name: "w".to_owned(), running: attempt.into_iter().collect(), ..Default::default() };
    let said = [Said::Report(v1::TaskReport { sequence: 1, attempt, outcome }), Said::Register(register)];
    said.map(|said| v1::WorkerMessage { epoch: 3, message: Some(said) }.encode_to_vec()).to_vec()
}
