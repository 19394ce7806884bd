//! The program that the processes run.

#[path = "app/actors.rs"]
mod actors;
#[path = "app/functions.rs"]
mod functions;
#[path = "app/mapped.rs"]
mod mapped;
#[path = "app/pools.rs"]
mod pools;

use std::time::Duration;

use tandem::prelude::*;

pub(crate) use actors::*;
pub(crate) use functions::*;

#[tandem::main]
pub(crate) async fn main(ctx: Context, args: Args) -> Result<()> {
    match &*args.parse::<String>(0)? {
        "areas" => areas(&ctx, args.parse(1)?).await,
        "failures" => failures(&ctx).await,
        "objects" => objects(&ctx).await,
        "tables" => tables(&ctx).await,
        "streams" => streams(&ctx).await,
        "actors" => actors(&ctx).await,
        "actor-streams" => actor_streams(&ctx).await,
        "groups" => groups(&ctx).await,
        "circle" => circle(&ctx).await,
        "pools" => pools::share(&ctx).await,
        "losses" => pools::lose(&ctx).await,
        "mapped" => mapped::map(&ctx).await,
        "room" => room(&ctx).await,
        "overflow" => overflow(&ctx).await,
        "broadcast" => broadcast(&ctx, args.parse(1)?).await,
        "crash" => crash(&ctx).await,
        "cancel" => cancel(&ctx).await,
        "panic" => panic!("the driver panics"),
        "error" => tandem::bail!("the driver fails"),
        other => tandem::bail!("no scenario `{other}`"),
    }
}

async fn areas(ctx: &Context, count: u32) -> Result<()> {
    let circles = (0..count).map(|r| Circle { r: f64::from(r) });
    let areas: Vec<ObjectRef<f64>> = circles.map(|c| area::submit(ctx, c)).collect();
    let total: f64 = ctx.get_all(&areas).await?.iter().sum();
    let expected: f64 = (0..count).map(|r| f64::from(r) * f64::from(r) * std::f64::consts::PI).sum();
    tandem::ensure!((total - expected).abs() < 1e-6 * expected.max(1.0), "{total} is not {expected}");
    tandem::ensure!(fibonacci::submit(ctx, 5).await? == 5, "nested tasks");
    Ok(())
}

async fn failures(ctx: &Context) -> Result<()> {
    let failed = area::with(ctx).name("bad").submit(Circle { r: -1.0 });
    let failure = failed.clone().await.expect_err("it fails");
    tandem::ensure!(failure.kind == FailureKind::Returned && failure.attempts == 1, "{failure}");
    tandem::ensure!(failure.message == "a circle has no radius of -1", "{failure}");
    let all = ctx.get_all(&[area::submit(ctx, Circle { r: 1.0 }), failed]).await;
    tandem::ensure!(all.is_err(), "one of them fails");
    let (quotient, rest) = divide::submit(ctx, 17, 5);
    tandem::ensure!((quotient.await?, rest.await?) == (3, 2), "two values");
    let (quotient, rest) = divide::submit(ctx, 17, 0);
    tandem::ensure!(quotient.await.is_err() && rest.await.is_err(), "no values");
    let failure = panics::submit(ctx, "oh no").await.expect_err("it panics");
    tandem::ensure!(failure.kind == FailureKind::Panicked && failure.message.contains("oh no"), "{failure}");
    Ok(())
}

async fn objects(ctx: &Context) -> Result<()> {
    let one = ctx.put(&1_u64)?;
    let two = add::submit(ctx, &one, 1);
    let three = add::submit(ctx, one.clone(), &two);
    let waited = ctx.wait(&[one.clone(), two.clone(), three.clone()], 3, None).await;
    tandem::ensure!(waited.ready.len() == 3 && waited.pending.is_empty(), "{waited:?}");
    let numbers = vec![one.clone(), two.clone(), three];
    tandem::ensure!(sum::submit(ctx, numbers.clone()).await? == 6, "refs inside of values");
    tandem::ensure!(sum_plain::submit(ctx, numbers.clone()).await? == 6, "refs inside of values");
    let nested: ObjectRef<Vec<ObjectRef<u64>>> = ctx.put(&numbers)?;
    drop(numbers);
    let back = nested.await?;
    tandem::ensure!((&back[2]).await? == 3, "refs that were found");
    tandem::ensure!(length::submit(ctx, Bytes::from(vec![0; 1_000_000])).await? == 1_000_000, "many bytes");
    let letters = letters::submit(ctx, 300_000);
    tandem::ensure!((&letters).await?.len() == 300_000, "many bytes back");
    tandem::ensure!(letters.await?.iter().all(|letter| *letter == b'x'), "the same again");
    let slow = wait_for_ever::submit(ctx);
    let waited = ctx.wait(&[slow], 1, Duration::from_millis(10)).await;
    tandem::ensure!(waited.ready.is_empty() && waited.pending.len() == 1, "it never ends");
    waited.pending[0].cancel(ctx);
    tandem::ensure!(waited.pending[0].clone().await.is_err(), "it was cancelled");
    Ok(())
}

async fn tables(ctx: &Context) -> Result<()> {
    for rows in [0, 100, 100_000] {
        let table = table::submit(ctx, rows);
        let expected = rows * (rows - 1) / 2;
        tandem::ensure!(sum_column::submit(ctx, &table).await? == expected, "a table of {rows} rows in a task");
        let table = table.await?;
        tandem::ensure!(table.num_rows() == rows as usize && table.schema().fields().len() == 2, "{rows} rows here");
        tandem::ensure!(sum_column::submit(ctx, table).await? == expected, "{rows} rows passed on");
    }
    Ok(())
}

async fn actors(ctx: &Context) -> Result<()> {
    let counter = Counter::spawn(ctx, 5).named("hits").resources(cpus(0.5)).await?;
    counter.add(1);
    tandem::ensure!(counter.add(2).await? == 8, "calls are in order");
    tandem::ensure!(count_there::submit(ctx, counter.clone(), 2).await? == 10, "handles are passed on");
    let found = Counter::find(ctx, "hits").await?.expect("it has a name");
    tandem::ensure!(found.id() == counter.id() && found.get().await? == 10, "the same one");
    let same = Counter::get_or_create(ctx, "hits", 0).await?;
    tandem::ensure!(same.id() == counter.id(), "the same one");
    tandem::ensure!(Counter::find(ctx, "misses").await?.is_none(), "there is none");
    tandem::ensure!(Meeting::find(ctx, "hits").await.is_err(), "it is of another type");
    let failure = counter.fail().await.expect_err("it fails");
    tandem::ensure!(failure.message == "as asked" && failure.task == "fail", "{failure}");
    tandem::ensure!(counter.get().await? == 110, "it goes on");
    let failure = Counter::spawn(ctx, 1000).await.expect_err("it cannot start");
    tandem::ensure!(failure.message == "a counter starts below 1000", "{failure}");
    counter.end();
    let meeting = Meeting::spawn(ctx).concurrency(3).await?;
    let met = [meeting.meet(3), meeting.meet(3), meeting.meet(3)];
    tandem::ensure!(ctx.get_all(&met).await? == [3, 3, 3], "they wait together");
    Ok(())
}

async fn circle(ctx: &Context) -> Result<()> {
    let (one, other) = (Asker::spawn(ctx).await?, Asker::spawn(ctx).await?);
    tandem::ensure!(one.ask(vec![other.clone()]).await? == 1, "there and back");
    let failure = one.ask(vec![other.clone(), one.clone()]).await.expect_err("they wait for each other");
    let mut cause = &failure;
    while let Some(deeper) = &cause.cause {
        cause = deeper;
    }
    tandem::ensure!(cause.kind == FailureKind::Deadlock, "{failure}");
    let asks = "Asker::ask";
    tandem::ensure!(cause.message.matches(asks).count() == 4, "three calls and the first again: {failure}");
    tandem::ensure!(one.ask(vec![other]).await? == 1, "they go on");
    Ok(())
}

/// Only the task that takes its process down fails, whatever was before and behind it.
async fn crash(ctx: &Context) -> Result<()> {
    let before: Vec<_> = (0..500_u64).map(|n| add::with(ctx).retries(1).submit(n, 1)).collect();
    let aborted = aborts::submit(ctx);
    let behind: Vec<_> = (0..500_u64).map(|n| add::with(ctx).retries(1).submit(n, 2)).collect();
    tandem::ensure!(ctx.get_all(&before).await?.len() == 500, "those before");
    tandem::ensure!(ctx.get_all(&behind).await?.len() == 500, "those behind");
    let failure = aborted.await.expect_err("it aborts");
    tandem::ensure!(failure.kind == FailureKind::ProcessLost && failure.attempts == 2, "{failure}");
    Ok(())
}

/// Room that a process leaves is written by one that has read there.
async fn room(ctx: &Context) -> Result<()> {
    let counter = Counter::spawn(ctx, 0).named("writer").await?;
    let letters = counter.letters(200_000);
    tandem::ensure!((&letters).await?.len() == 200_000, "they are read where they were written");
    counter.kill();
    while Counter::find(ctx, "writer").await?.is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others = ctx.put(&vec![b'y'; 200_000])?;
    tandem::ensure!(others.await?.iter().all(|letter| *letter == b'y'), "what was written");
    tandem::ensure!(letters.await?.iter().all(|letter| *letter == b'x'), "what was there before");
    Ok(())
}

/// Whether a value has this letter and no other.
#[tandem::task]
pub(crate) fn has_only(letters: Vec<u8>, letter: u8) -> bool {
    letters.len() == LETTERS && letters.iter().all(|other| *other == letter)
}

const LETTERS: usize = 600_000;

/// More values than there is room for at once, read by others and here.
async fn overflow(ctx: &Context) -> Result<()> {
    let mut values = Vec::new();
    for letter in 0..40_u8 {
        values.push(ctx.put(&vec![letter; LETTERS])?);
    }
    let read: Vec<_> = (0_u8..).zip(&values).map(|(letter, value)| has_only::submit(ctx, value, letter)).collect();
    tandem::ensure!(ctx.get_all(&read).await?.into_iter().all(|right| right), "tasks have read what was put");
    for (letter, value) in (0_u8..).zip(&values) {
        tandem::ensure!(ctx.get(value).await? == vec![letter; LETTERS], "{letter} is what was put");
    }
    Ok(())
}

/// What many tasks read at once.
pub(crate) const BROADCAST_BYTES: usize = 24 << 20;

#[tandem::task]
pub(crate) fn count_sevens(bytes: Bytes) -> usize {
    bytes.iter().filter(|byte| **byte == 7).count()
}

async fn broadcast(ctx: &Context, readers: u32) -> Result<()> {
    let value = ctx.put(&Bytes::from(vec![7_u8; BROADCAST_BYTES]))?;
    let read: Vec<_> = (0..readers).map(|_| count_sevens::submit(ctx, &value)).collect();
    for count in ctx.get_all(&read).await? {
        tandem::ensure!(count == BROADCAST_BYTES, "{count} bytes are as they were put");
    }
    Ok(())
}

async fn cancel(ctx: &Context) -> Result<()> {
    let waits = wait_for_ever::submit(ctx);
    let spins = spin_until_cancelled::submit(ctx);
    waits.cancel(ctx);
    spins.cancel(ctx);
    let failure = waits.await.expect_err("it was cancelled");
    tandem::ensure!(failure.kind == FailureKind::Cancelled, "{failure}");
    // Either it saw that it should end, or it had not begun.
    let _ = spins.await;
    Ok(())
}

async fn streams(ctx: &Context) -> Result<()> {
    let mut all = numbers::submit(ctx, 100_u64);
    for expected in 0..100 {
        let Some(number) = all.try_next().await? else { tandem::bail!("only {expected} came") };
        tandem::ensure!(number.await? == expected);
    }
    tandem::ensure!(all.try_next().await?.is_none() && all.next().await.is_none());

    // More than go into a message, and its failure as the last item, once.
    let lengths = vec![100_000, 1, 200_000];
    let mut texts = texts_of::submit(ctx, lengths.clone());
    for length in lengths {
        let Some(text) = texts.try_next().await? else { tandem::bail!("it ended before its failure") };
        tandem::ensure!(text.await?.len() == length);
    }
    let Some(Err(failure)) = texts.next().await else { tandem::bail!("its failure did not come") };
    tandem::ensure!(failure.message == "no more texts", "{failure}");
    tandem::ensure!(texts.next().await.is_none());

    // Two that never end take all slots until they are dropped.
    for _ in 0..3 {
        let (mut one, mut two) = (numbers::submit(ctx, u64::MAX), numbers::submit(ctx, u64::MAX));
        let (Some(a), Some(b)) = (one.try_next().await?, two.try_next().await?) else { tandem::bail!("they ended") };
        tandem::ensure!(add::submit(ctx, &a, &b).await? == 0);
    }
    let sums = [10, 20].map(|count| sum_items::submit(ctx, count));
    tandem::ensure!(ctx.get_all(&sums).await? == [45, 190]);

    let mut stream = numbers::submit(ctx, u64::MAX);
    stream.cancel(ctx);
    let failure = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(failure)) => break failure,
            None => tandem::bail!("a stream that is cancelled does not end well"),
        }
    };
    tandem::ensure!(failure.kind == FailureKind::Cancelled, "{failure}");
    Ok(())
}

async fn actor_streams(ctx: &Context) -> Result<()> {
    let counter = Counter::spawn(ctx, 0).await?;
    let mut numbers = counter.count_to(50_u64);
    let behind = counter.get();
    for expected in 1..=50 {
        let Some(number) = numbers.try_next().await? else { tandem::bail!("it ended before {expected}") };
        tandem::ensure!(number.await? == expected);
    }
    tandem::ensure!(numbers.try_next().await?.is_none() && numbers.next().await.is_none());
    tandem::ensure!(behind.await? == 50, "the next call waits until the stream has ended");

    // One that never ends holds the others up until it is dropped.
    let mut endless = counter.count_on();
    let behind = counter.get();
    let (Some(a), Some(b)) = (endless.try_next().await?, endless.try_next().await?) else { tandem::bail!("it ended") };
    drop(endless);
    tandem::ensure!(add::submit(ctx, &a, &b).await? == 103);
    let count = behind.await?;
    tandem::ensure!((52..=54).contains(&count), "it counted to {count}");

    let stream = counter.count_on();
    stream.cancel(ctx);
    let mut stream = stream;
    let failure = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(failure)) => break failure,
            None => tandem::bail!("a stream that is cancelled does not end well"),
        }
    };
    let kind = failure.cause.as_ref().map_or(failure.kind, |cause| cause.kind);
    tandem::ensure!(kind == FailureKind::Cancelled, "{failure}");
    Ok(())
}

async fn groups(ctx: &Context) -> Result<()> {
    let gate = Gate::spawn(ctx).await?;
    let entering = [gate.enter(1_u32), gate.enter(2_u32)];
    let mut shown = gate.show();
    tandem::ensure!(ctx.get_all(&[gate.look(2_u32), gate.look(2_u32)]).await? == [2, 2], "they wait beside the others");
    gate.open();
    tandem::ensure!(ctx.get_all(&entering).await? == [vec![1], vec![1, 2]], "in the order of their calls");
    for who in [1, 2] {
        let Some(came) = shown.try_next().await? else { tandem::bail!("{who} is not shown") };
        tandem::ensure!(came.await? == who);
    }
    tandem::ensure!(shown.try_next().await?.is_none());
    Ok(())
}
