//! Both halves in one program: `tables FILE`. A query over a file gives objects, tasks add a column to each of them, and another
//! query reads what the tasks made. Prints the rows of the last one.

use std::sync::Arc;

use tandem::arrow::array::{Array, ArrayRef, Int64Array};
use tandem::arrow::{DataType, Field, RecordBatch, Schema};
use tandem::prelude::*;

/// Adds a column `square` of the column `value`.
#[tandem::task]
fn square(rows: Batches) -> Result<Batches> {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("square", DataType::Int64, true)));
    let schema = Arc::new(Schema::new(fields));
    let mut squared = Vec::with_capacity(rows.len());
    for batch in &rows {
        let squares: Int64Array =
            integers(batch, "value")?.iter().map(|value| value.map(|value| value * value)).collect();
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(squares) as ArrayRef);
        squared.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    Ok(Batches::try_new(schema, squared)?)
}

fn integers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| tandem::anyhow::anyhow!("there is no column `{name}` of integers"))
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let file: String = args.parse(0)?;
    let numbers = ctx.sql("SELECT value FROM numbers WHERE value % 3 = 0").file("numbers", file).await?;
    let squared: Table = numbers.parts().iter().map(|part| square::submit(&ctx, part)).collect();
    drop(numbers);
    let sums = ctx.sql("SELECT count(*) AS n, sum(square) AS squares FROM squared").table("squared", &squared).await?;
    for batch in &sums.rows(&ctx).await? {
        let (counts, squares) = (integers(batch, "n")?, integers(batch, "squares")?);
        (0..batch.num_rows()).for_each(|row| println!("{} rows, {}", counts.value(row), squares.value(row)));
    }
    let wrong = ctx.sql("SELECT nothing FROM squared").table("squared", &squared).await;
    let failure = wrong.expect_err("there is no such column");
    println!("{:?}: {failure}", failure.kind);
    Ok(())
}
