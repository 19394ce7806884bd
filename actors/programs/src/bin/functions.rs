//! Functions for the steps of job files, and a main program that prints variables as tasks on all workers see them:
//! `functions TASKS NAME…`.

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem::arrow::array::{ArrayRef, Int64Array, StringArray};
use tandem::arrow::{DataType, Field, RecordBatch, Schema};
use tandem::prelude::*;

/// Arguments of [`label`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Words {
    even: String,
    odd: String,
    /// The process ends when it meets this value.
    #[serde(default)]
    fatal: Option<i64>,
    /// But not if there is this file, which it makes.
    #[serde(default)]
    once: Option<String>,
}

impl Words {
    /// Whether the process is to end on these values.
    fn end_on(&self, values: &Int64Array) -> bool {
        let meets = self.fatal.is_some_and(|fatal| values.iter().flatten().any(|value| value == fatal));
        meets && self.once.as_ref().is_none_or(|file| std::fs::File::create_new(file).is_ok())
    }
}

/// Adds a column `label` that says whether `value` is even or odd.
#[tandem::task]
fn label(rows: Batches, words: Words) -> Result<Batches> {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("label", DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    let mut labelled = Vec::with_capacity(rows.len());
    for batch in &rows {
        let values = batch.column_by_name("value").and_then(|column| column.as_any().downcast_ref::<Int64Array>());
        let Some(values) = values else { tandem::bail!("there is no column `value` of integers") };
        if words.end_on(values) {
            std::process::abort();
        }
        let word = |value: i64| if value % 2 == 0 { words.even.as_str() } else { words.odd.as_str() };
        let labels: StringArray = values.iter().map(|value| value.map(word)).collect();
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(labels) as ArrayRef);
        labelled.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    Ok(Batches::try_new(schema, labelled)?)
}

/// Arguments of [`whereabouts`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Hold {
    /// Calls wait until there is this file.
    until: String,
}

/// Adds the columns `worker`, which made the call, and `gpus`, those that its process sees.
#[tandem::task]
fn whereabouts(ctx: Context, rows: Batches, hold: Hold) -> Result<Batches> {
    while !std::path::Path::new(&hold.until).exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let gpus = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_else(|_| "not set".to_owned());
    let mut fields = rows.schema().fields().to_vec();
    fields.extend(["worker", "gpus"].map(|name| Arc::new(Field::new(name, DataType::Utf8, true))));
    let schema = Arc::new(Schema::new(fields));
    let with_place = |batch: &RecordBatch| {
        let all = |text: &str| Arc::new(StringArray::from(vec![text; batch.num_rows()])) as ArrayRef;
        let columns = batch.columns().iter().cloned().chain([all(ctx.worker_name()), all(&gpus)]);
        RecordBatch::try_new(Arc::clone(&schema), columns.collect())
    };
    let rows: Vec<RecordBatch> = rows.iter().map(with_place).collect::<Result<_, _>>()?;
    Ok(Batches::try_new(schema, rows)?)
}

/// The worker's name and its value of each variable.
#[tandem::task]
fn variables(ctx: Context, names: Vec<String>) -> (String, Vec<Option<String>>) {
    std::thread::sleep(std::time::Duration::from_millis(20));
    (ctx.worker_name().to_owned(), names.iter().map(|name| std::env::var(name).ok()).collect())
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let tasks: usize = args.parse(0)?;
    let names = args.into_vec().split_off(1);
    let asked: Vec<_> = (0..tasks).map(|_| variables::submit(&ctx, names.clone())).collect();
    let found: BTreeSet<_> = ctx.get_all(&asked).await?.into_iter().collect();
    for (worker, values) in found {
        for (name, value) in names.iter().zip(values) {
            match value {
                Some(value) => println!("{worker}: {name}={value}"),
                None => println!("{worker}: {name} is not set"),
            }
        }
    }
    Ok(())
}
