//! Tables made of tables, by tasks and by actors, compared with what SQL says: `mapped PARTS ROWS`. Their parts are on all workers. Prints
//! on how many, what failed on purpose, and `right` at its end, or fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tandem::arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use tandem::arrow::{DataType, Field, RecordBatch, Schema};
use tandem::prelude::*;

/// Numbers of one part, and where it was made.
#[tandem::task]
fn numbers(ctx: Context, part: i64, rows: i64) -> Result<Batches> {
    // So that others run elsewhere.
    std::thread::sleep(Duration::from_millis(50));
    let values: Int64Array = (part * rows..(part + 1) * rows).collect::<Vec<_>>().into();
    let worker = StringArray::from(vec![ctx.worker_name(); values.len()]);
    Ok(RecordBatch::try_from_iter([("value", Arc::new(values) as ArrayRef), ("worker", Arc::new(worker) as ArrayRef)])?
        .into())
}

/// The column `value` squared.
#[tandem::task]
fn square(rows: Batches) -> Result<Batches> {
    squares_of(&rows)
}

/// As [`square`], but one value is too bad for it.
#[tandem::task]
fn square_except(rows: Batches, bad: i64) -> Result<Batches> {
    for batch in &rows {
        tandem::ensure!(!integers(batch, "value")?.values().contains(&bad), "{bad} cannot be squared");
    }
    squares_of(&rows)
}

/// As [`square`], seen by an actor. Goes on when as many as may be were under way at once.
#[tandem::task]
async fn square_seen(rows: Batches, room: RoomHandle) -> Result<Batches> {
    room.enter().await?;
    while room.most().await? < AT_ONCE {}
    let squares = squares_of(&rows);
    room.leave().await?;
    squares
}

fn squares_of(rows: &Batches) -> Result<Batches> {
    let schema = Arc::new(Schema::new(vec![Field::new("square", DataType::Int64, true)]));
    let squares = |batch: &RecordBatch| -> Result<RecordBatch> {
        let squares: Int64Array =
            integers(batch, "value")?.iter().map(|value| value.map(|value| value * value)).collect();
        Ok(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(squares)])?)
    };
    let batches = rows.iter().map(squares).collect::<Result<Vec<_>>>()?;
    Ok(Batches::try_new(schema, batches)?)
}

fn integers<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| tandem::anyhow::anyhow!("there is no column `{name}` of integers"))
}

/// Squares too.
struct Squarer;

#[tandem::actor(max_restarts = 2, retry_calls)]
impl Squarer {
    fn new() -> Self {
        Self
    }

    fn square(&self, rows: Batches) -> Result<Batches> {
        squares_of(&rows)
    }
}

/// How many tasks may be under way.
const AT_ONCE: u32 = 4;

/// Counts who is inside.
#[derive(Default)]
struct Room {
    inside: u32,
    most: u32,
}

#[tandem::actor]
impl Room {
    fn new() -> Self {
        Self::default()
    }

    fn enter(&mut self) {
        self.inside += 1;
        self.most = self.most.max(self.inside);
    }

    fn leave(&mut self) {
        self.inside -= 1;
    }

    /// The most that were inside at once.
    fn most(&self) -> u32 {
        self.most
    }
}

/// Makes sure that a table has the squares of the numbers, as SQL computes them, in the order of the numbers.
async fn check(ctx: &Context, what: &str, numbers: &Table, squares: &Table) -> Result<()> {
    let expected =
        ctx.sql("SELECT value * value AS square FROM numbers ORDER BY value").table("numbers", numbers).await?;
    let (expected, found) = (expected.rows(ctx).await?, squares.rows(ctx).await?);
    let all = |rows: &Batches| -> Result<Vec<i64>> {
        let mut values = Vec::new();
        for batch in rows {
            values.extend_from_slice(integers(batch, "square")?.values());
        }
        Ok(values)
    };
    tandem::ensure!(all(&expected)? == all(&found)?, "{what}: other squares than those of SQL");
    let sum = |table| ctx.sql("SELECT count(*) AS n, sum(square) AS square FROM squares").table("squares", table);
    let summed = sum(squares).await?.rows(ctx).await?;
    let expected: i64 = all(&expected)?.iter().sum();
    tandem::ensure!(all(&summed)? == [expected], "{what}: another sum in SQL");
    Ok(())
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (parts, rows): (i64, i64) = (args.parse(0)?, args.parse(1)?);
    let made: Vec<_> = (0..parts).map(|part| numbers::with(&ctx).spread().submit(part, rows)).collect();
    let numbers: Table = made.into_iter().collect();
    let workers = ctx.sql("SELECT DISTINCT worker FROM numbers").table("numbers", &numbers).await?.rows(&ctx).await?;
    println!("{} workers", workers.num_rows());

    let by_tasks = numbers.map_batches(&ctx, square::submit).await?;
    check(&ctx, "by tasks", &numbers, &by_tasks).await?;
    let squarers = Squarer::spawn(&ctx).pool(3);
    let by_actors = numbers.with_actors(squarers).map_batches(SquarerHandle::square).await?;
    check(&ctx, "by actors", &numbers, &by_actors).await?;

    let room = Room::spawn(&ctx).await?;
    let seen = |ctx: &Context, part| square_seen::with(ctx).resources(cpus(0.1)).submit(part, room.clone());
    let at_once = numbers.map_batches(&ctx, seen).at_once(AT_ONCE as usize).await?;
    check(&ctx, "a few at once", &numbers, &at_once).await?;
    println!("{} at once", room.most().await?);

    let bad = |ctx: &Context, part| square_except::submit(ctx, part, rows);
    let failure = numbers.map_batches(&ctx, bad).await.expect_err("a part cannot be squared");
    println!("{:?}: {failure}", failure.kind);

    let none = ctx.sql("SELECT value FROM numbers WHERE value < 0").table("numbers", &numbers).await?;
    let none = none.map_batches(&ctx, square::submit).await?.rows(&ctx).await?;
    let fields: BTreeSet<_> = none.schema().fields().iter().map(|field| field.name().clone()).collect();
    println!("{} rows of {fields:?}", none.num_rows());
    println!("right");
    Ok(())
}
