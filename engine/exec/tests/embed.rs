//! Vectors of texts in SQL are those of the model, over any number of partitions and workers.

mod support;

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use support::{Comparison, cells};
use tandem_text::model::{Model, ModelPrecision, Precision};

/// A model of few and short layers, with weights drawn by lot.
fn folder() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../gpu-kernels/text/tests/vectors/tiny_model").to_owned()
}

fn model() -> Model {
    Model::load(Path::new(&folder()), ModelPrecision::Only(Precision::F32)).expect("a good model")
}

/// The numbers in the first column, and the bits of the vectors in the second, by number.
fn vectors(batches: &[RecordBatch]) -> Vec<(i64, Option<Vec<u32>>)> {
    let mut all = Vec::new();
    for batch in batches {
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        let vectors = batch.column(1).as_fixed_size_list();
        for (row, id) in ids.iter().enumerate() {
            let vector = vectors.is_valid(row).then(|| vectors.value(row));
            all.push((*id, vector.map(|v| bits(v.as_primitive::<Float32Type>().values()))));
        }
    }
    all.sort();
    all
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_has_the_same_vector_in_any_task() {
    let texts = "(SELECT id, CASE id % 50 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN ' ' ELSE concat(name, ' of the market ', id) END AS t
                  FROM numbers WHERE id <= 2000)";
    let model = model();
    let mut expected = Vec::new();
    for (workers, partitions) in [(1, 1), (3, 7)] {
        let comparison = Comparison::start(workers, partitions).await;
        if expected.is_empty() {
            let (_, rows) = comparison.expected(&format!("SELECT id, t FROM {texts}")).await.expect("texts");
            for batch in &rows {
                let ids = batch.column(0).as_primitive::<Int64Type>().values();
                let texts = cast(batch.column(1), &DataType::Utf8).expect("texts");
                for (id, text) in ids.iter().zip(texts.as_string::<i32>().iter()) {
                    let vector = model.embed(&[text.unwrap_or_default()], 1).expect("a good text");
                    expected.push((*id, vector.vector(0).map(bits)));
                }
            }
            expected.sort();
        }
        let sql = format!("SELECT id, embed(t, '{}', 'f32') FROM {texts}", folder());
        let (schema, found) = comparison.staged(&sql).await.expect("vectors");
        assert_eq!(schema.field(1).data_type(), &tandem_text::columns::vector_type(model.dimension()).expect("a type"));
        assert!(vectors(&found) == expected, "{workers} workers, {partitions} partitions");
        assert_eq!(expected.iter().filter(|(_, vector)| vector.is_none()).count(), 120);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constant_text_is_compared_with_all_rows() {
    let folder = folder();
    for (workers, partitions) in [(1, 1), (3, 7)] {
        let comparison = Comparison::start(workers, partitions).await;
        for (sql, expected) in [
            (
                format!(
                    "SELECT count(*) FROM (SELECT CASE id % 3 WHEN 0 THEN 'the market report' WHEN 1 THEN 'a vector' END AS t FROM numbers)
                     WHERE cosine_similarity(embed(t, '{folder}'), embed('a vector', '{folder}')) > 0.999999"
                ),
                "1667",
            ),
            (
                format!("SELECT embed(NULL, '{folder}') IS NULL, array_length(embed('a', '{folder}')) FROM one"),
                "true|32",
            ),
            (format!("SELECT count(embed(name, '{folder}')) FROM empty"), "0"),
        ] {
            let found = comparison.staged(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).1;
            assert_eq!(cells(&found)[0].join("|"), expected, "{sql}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let comparison = Comparison::start(1, 1).await;
    for (arguments, words) in [
        ("name, 'models'".to_owned(), "`models` must be named by its whole path"),
        ("name, '/nowhere'".to_owned(), "embed: /nowhere: No such file"),
        ("name, ''".to_owned(), "folder of a model"),
        (format!("name, '{}', 'f64'", folder()), "precision is f64"),
        (format!("name, '{}', NULL", folder()), "such as 'f32'"),
        ("name, name".to_owned(), "folder of a model"),
        ("id, '/nowhere'".to_owned(), "embed takes texts, not Int64"),
        ("name".to_owned(), "not 1 arguments"),
    ] {
        let error = comparison.staged(&format!("SELECT embed({arguments}) FROM numbers")).await.map(drop).unwrap_err();
        assert!(error.contains(words), "{arguments}: {error}");
    }
}
