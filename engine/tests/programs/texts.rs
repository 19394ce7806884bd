//! Programs that work on texts.

use std::path::Path;

use crate::submit;
use crate::support::Sandbox;

#[test]
fn actors_with_models_and_sql_have_the_same_vectors() {
    let sandbox = Sandbox::with_cluster(2);
    sandbox.run(&["data", "gen", "articles", "--rows", "1000", "--out", "articles.parquet"]).succeeded();
    let articles = sandbox.work().join("articles.parquet");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gpu-kernels/text/tests/vectors/tiny_model");
    let paths = [articles, model].map(|path| path.to_str().expect("a UTF-8 path").to_owned());
    let finished = submit(&sandbox, "texts", &paths.each_ref().map(String::as_str)).succeeded();
    assert_eq!(finished.stdout.trim(), "[1000] [0] [7]");
    let missing = submit(&sandbox, "texts", &[&paths[0], "/nowhere"]).ended_with(1);
    assert!(missing.stderr.contains("/nowhere"), "{}", missing.stderr);
}
