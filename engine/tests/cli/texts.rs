//! Steps over texts: vectors, classes, tones, on real workers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::Sandbox;

/// Articles that [`write_inputs`] writes; one has no content.
pub(crate) const ARTICLES: u64 = 41;

/// A model of few and short layers, with weights drawn by lot.
fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpu-kernels/text/tests/vectors/tiny_model")
}

/// The inputs of the guide: articles with the topics that are expected of them, labelled ones, a model.
pub(crate) fn write_inputs(sandbox: &Sandbox) {
    let topics = [("sports", "the team won the match by a goal"), ("science", "the probe found water on a moon")];
    let article = |number: usize| {
        let (topic, text) = topics[number % 2];
        json!({ "title": format!("News {number}"), "content": format!("{text} today"), "topic": topic })
    };
    let labelled: Vec<String> = (0..40).map(|number| article(number).to_string()).collect();
    sandbox.write("labelled.jsonl", &labelled.join("\n"));
    let mut articles: Vec<String> = (0..40)
        .map(|number| {
            let Value::Object(mut article) = article(number) else { unreachable!("an article") };
            let topic = article.remove("topic").and_then(|topic| topic.as_str().map(str::to_owned)).expect("a topic");
            article.insert("expected".to_owned(), Value::from(topic[..1].to_uppercase() + &topic[1..]));
            Value::from(article).to_string()
        })
        .collect();
    articles.push(json!({ "title": "Nothing", "content": "", "expected": "World" }).to_string());
    sandbox.write("articles.jsonl", &articles.join("\n"));
    let model = sandbox.work().join("models/minilm");
    copy_folder(&tiny_model(), &model);
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a model").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// 5,000 articles, some without content, and the model.
fn write_texts(sandbox: &Sandbox) {
    sandbox.run(&["data", "gen", "articles", "--rows", "5000", "--out", "texts.parquet"]).succeeded();
    copy_folder(&tiny_model(), &sandbox.work().join("models/minilm"));
}

#[test]
fn texts_have_the_same_vectors_on_any_number_of_workers() {
    let sandbox = Sandbox::new();
    write_texts(&sandbox);
    for workers in ["1", "2"] {
        let output = format!("output=out/{workers}");
        let job = ["run", "embed", "--workers", workers, "--set", &output];
        let params = ["--set", "input=texts.parquet", "--set", "model=models/minilm", "--set", "precision=f32"];
        sandbox.run(&[&job[..], &params].concat()).succeeded();
        let sql = format!(
            "SELECT count(*) AS rows, count(embedding) - count(content) AS without, count(DISTINCT array_length(embedding)) AS lengths
             FROM './out/{workers}/vectors'"
        );
        let found = sandbox.run(&["sql", "--local", "-e", &sql, "-o", "json"]).succeeded().json();
        assert_eq!(found, json!([{ "rows": 5000, "without": 0, "lengths": 1 }]));
    }
    let [one, two] = ["1", "2"].map(|workers| {
        let sql = format!("SELECT id, embedding, embedding_status FROM './out/{workers}/vectors' ORDER BY id");
        sandbox.run(&["sql", "--local", "-e", &sql, "-o", "jsonl"]).succeeded().stdout
    });
    assert!(one == two, "vectors differ");
    let summary: Value = serde_json::from_str(&sandbox.read("out/2/summary.json")).expect("JSON");
    let work = summary["steps"][0]["work"].as_array().expect("work").clone();
    let rows = work.iter().find(|work| work["unit"] == "rows").expect("rows");
    assert_eq!((&rows["device"], &rows["count"]), (&json!("cpu, f32"), &json!(5000)));
    assert!(work.iter().any(|work| work["unit"] == "tokens" && work["count"].as_u64() > Some(5000)), "{work:?}");
    assert!(sandbox.read("out/2/report.md").contains("Work of functions"));

    // The function of SQL has the same bits, in batches and tasks of its own.
    let sql = "SELECT count(*) AS different FROM './out/2/vectors'
               WHERE embedding IS DISTINCT FROM embed(content, 'models/minilm', 'f32')";
    let found = sandbox.run(&["sql", "--local", "-e", sql, "-o", "json"]).succeeded().json();
    assert_eq!(found, json!([{ "different": 0 }]));
}

#[test]
fn a_job_that_embeds_asks_for_what_only_its_user_knows() {
    let sandbox = Sandbox::new();
    write_inputs(&sandbox);
    for (params, code, words) in [
        (&[][..], 2, ["embed", "input=PATH"]),
        (&["input=articles.jsonl"], 2, ["folder of a sentence encoder", "model=PATH"]),
        (&["input=articles.jsonl", "model=nowhere"], 2, ["nowhere", "No such file"]),
        (&["input=nothing.jsonl", "model=models/minilm"], 2, ["no such file or folder", "nothing.jsonl"]),
        (&["input=articles.jsonl", "model=models/minilm", "column=text"], 2, ["text", "content"]),
    ] {
        let params = params.iter().flat_map(|param| ["--set", param]);
        let command: Vec<&str> = ["run", "embed"].into_iter().chain(params).collect();
        sandbox.run(&command).ended_with(code).tells(&words);
    }
}

#[test]
fn statements_search_by_the_meaning_of_words() {
    let sandbox = Sandbox::with_cluster(2);
    write_texts(&sandbox);
    let vectors =
        "SELECT id, region, embed(content, 'models/minilm', 'f32') AS v FROM './texts.parquet' WHERE id <= 600";
    sandbox.run(&["sql", "-e", vectors, "--output", "docs.parquet"]).succeeded();
    let content = sandbox.run(&["sql", "-e", "SELECT content FROM './texts.parquet' WHERE id = 77", "-o", "json"]);
    let content = content.succeeded().json()[0]["content"].as_str().expect("a content").to_owned();
    let score = format!("cosine_similarity(v, embed('{content}', 'models/minilm', 'f32'))");
    let order = format!("SELECT id, {score} AS score FROM './docs.parquet' ORDER BY score DESC NULLS LAST, id LIMIT 7");
    let ordered = sandbox.run(&["sql", "-e", &order, "-o", "json"]).succeeded().json();
    assert_eq!(ordered[0]["id"], 77);
    let best = format!("SELECT top_k(id, {score}, 7) AS best FROM './docs.parquet'");
    let best = sandbox.run(&["sql", "-e", &best, "-o", "json"]).succeeded().json();
    let ids =
        |rows: &Value, key: &str| rows.as_array().expect("rows").iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&best[0]["best"], "value"), ids(&ordered, "id"));
    let by_region = format!("SELECT region, top_k(id, {score}, 2) AS best FROM './docs.parquet' GROUP BY region");
    let by_region = sandbox.run(&["sql", "-e", &by_region, "-o", "json"]).succeeded().json();
    assert_eq!(by_region.as_array().map(Vec::len), Some(6));
    for (sql, words) in [
        ("embed(content, 'nowhere')", ["embed", "nowhere"]),
        ("embed(content, './texts.parquet')", ["embed", "texts.parquet"]),
        ("embed(content, 'models/minilm', 'f64')", ["f64", "bf16"]),
        ("embed(content, content)", ["second argument", "folder"]),
        ("embed(content)", ["a text, the folder of a model", "1 arguments"]),
        ("embed(id, 'models/minilm')", ["takes texts", "Int64"]),
        ("top_k(id, id, 0)", ["top_k", "at least one row"]),
    ] {
        let sql = format!("SELECT {sql} FROM './texts.parquet'");
        sandbox.run(&["sql", "-e", &sql]).ended_with(2).tells(&words);
    }
}

const ON_A_GPU: &str = r#"
name = "vectors"
report = "out"
[[source]]
name = "texts"
path = "texts.parquet"
[[step]]
name = "embedded"
run = "embed"
input = "texts"
args = { model = "models/minilm", column = "content" }
resources = { gpus = 1 }
[[sink]]
from = "embedded"
path = "out/vectors"
format = "parquet"
mode = "overwrite"
"#;

#[test]
fn a_step_with_a_gpu_uses_what_there_is_and_says_so() {
    let sandbox = Sandbox::new();
    write_texts(&sandbox);
    sandbox.write("embed.toml", ON_A_GPU);
    let up = ["cluster", "up", "--workers", "1", "--cpus", "1", "--memory", "512MiB", "--gpus", "1"];
    sandbox.run(&up).succeeded();
    sandbox.run(&["job", "submit", "embed.toml"]).succeeded();
    let summary: Value = serde_json::from_str(&sandbox.read("out/summary.json")).expect("JSON");
    let device = summary["steps"][0]["work"][0]["device"].as_str().expect("a device").to_owned();
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let id = jobs[0]["id"].as_str().expect("an id").to_owned();
    let logs = sandbox.run(&["job", "logs", &id]).succeeded().stdout;
    match device.strip_prefix("cuda") {
        Some(_) => assert!(logs.contains("cuda: "), "{logs}"),
        None => {
            println!("skipped: on a device: {device}");
            assert!(device.starts_with("cpu, ") && logs.contains("cpu: "), "{device}: {logs}");
        }
    }
}

#[test]
fn search_by_vectors_finds_what_is_nearest() {
    let sandbox = Sandbox::with_cluster(2);
    let docs = "SELECT value AS id, [cos(value / 1000.0), sin(value / 1000.0)] AS v FROM generate_series(0, 3000)";
    sandbox.run(&["sql", "--local", "-e", docs, "--output", "docs.parquet"]).succeeded();
    let sql = "SELECT id, cosine_similarity(v, [cos(1.2344), sin(1.2344)]) AS score FROM './docs.parquet'
               ORDER BY score DESC LIMIT 3";
    let found = sandbox.run(&["sql", "-e", sql, "-o", "json"]).succeeded().json();
    let ids: Vec<&Value> = (0..3).map(|row| &found[row]["id"]).collect();
    assert_eq!(ids, [&json!(1234), &json!(1235), &json!(1233)]);
}

#[test]
fn what_is_wrong_with_a_step_over_texts_is_named_before_it_runs() {
    let sandbox = Sandbox::new();
    write_inputs(&sandbox);
    let job = |run: &str, args: &str| {
        format!(
            "name = \"j\"\n[[source]]\nname = \"articles\"\npath = \"articles.jsonl\"\n[[step]]\nname = \"s\"\nrun = \"{run}\"\n\
             input = \"articles\"\nargs = {{ {args} }}\n[[sink]]\nfrom = \"s\"\npath = \"out\"\nformat = \"parquet\"\n"
        )
    };
    for (run, args, words) in [
        ("embed", "model = 'nowhere', column = 'content'", ["nowhere", "No such file"]),
        ("embed", "model = 'models/minilm', column = 'text'", ["text", "content"]),
        ("embed", "model = 'models/minilm', column = 'content', precision = 'f64'", ["f64", "bf16"]),
        ("embed", "model = 'models/minilm', column = 'content', output = 'title'", ["title", "output"]),
        ("embed", "model = 'models/minilm', columns = 'content'", ["columns", "column"]),
        ("classify", "column = 'content'", ["classify", "model"]),
        ("classify", "column = 'content', model = 'articles.jsonl'", ["articles.jsonl", "model"]),
        ("classify", "column = 'content', as = 'topic', model = 'm'", ["title", "classify"]),
    ] {
        sandbox.write("job.toml", &job(run, args));
        let finished = sandbox.run(&["run", "job.toml"]);
        assert_ne!(finished.code, Some(0), "{args}");
        finished.tells(&words);
    }
}
