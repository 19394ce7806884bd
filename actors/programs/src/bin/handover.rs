//! A large result of SQL on its way to actors: `handover ROWS`, of 32 bytes each. One actor is on the worker of the result and reads
//! it where it is, one on another worker, whose way is compared with a plain connection. Prints JSON as `micro` does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::time::Instant;

use tandem::arrow::array::{Array, Int64Array};
use tandem::prelude::*;

/// What is written to a connection, or read from it, at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes of buffers, and how many of them are in the memory that the job's processes share.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Got {
    bytes: u64,
    shared_bytes: u64,
}

/// Keeps rows.
struct Reader {
    kept: Vec<Batches>,
}

#[tandem::actor]
impl Reader {
    fn new() -> Self {
        Self { kept: Vec::new() }
    }

    fn worker(&self, ctx: Context) -> String {
        ctx.worker_name().to_owned()
    }

    fn take(&mut self, rows: Batches) {
        self.kept.push(rows);
    }

    /// Looks at every value.
    fn sum(&self) -> i64 {
        let columns = self.kept.iter().flatten().flat_map(|batch| batch.columns());
        let integers = columns.filter_map(|column| column.as_any().downcast_ref::<Int64Array>());
        integers.fold(0, |sum, values| values.values().iter().fold(sum, |sum, value| sum.wrapping_add(*value)))
    }

    fn forget(&mut self) {
        self.kept.clear();
    }

    fn got(&self) -> Result<Got> {
        let shared = shared_memory()?;
        let mut got = Got { bytes: 0, shared_bytes: 0 };
        for column in self.kept.iter().flatten().flat_map(|batch| batch.columns()) {
            for buffer in column.to_data().buffers() {
                let start = buffer.as_ptr() as usize;
                let is_shared = shared.iter().any(|range| range.start <= start && start + buffer.len() <= range.end);
                got.bytes += buffer.len() as u64;
                got.shared_bytes += if is_shared { buffer.len() as u64 } else { 0 };
            }
        }
        Ok(got)
    }
}

/// Where this process has mapped the arena of its job.
fn shared_memory() -> Result<Vec<Range<usize>>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let ranges = maps.lines().filter(|line| line.contains("tandem-arena")).map(|line| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    });
    ranges.collect::<Option<_>>().ok_or_else(|| tandem::anyhow::anyhow!("/proc/self/maps cannot be read"))
}

/// One on this worker and one on another.
async fn readers(ctx: &Context) -> Result<(ReaderHandle, ReaderHandle)> {
    let (mut here, mut elsewhere) = (None, None);
    for _ in 0..8 {
        let reader = Reader::spawn(ctx).await?;
        let is_here = reader.worker().await? == ctx.worker_name();
        (if is_here { &mut here } else { &mut elsewhere }).get_or_insert(reader);
        if let (Some(here), Some(elsewhere)) = (&here, &elsewhere) {
            return Ok((here.clone(), elsewhere.clone()));
        }
    }
    tandem::bail!("the actors are all on one worker")
}

/// Seconds until an actor has all rows.
async fn hand_over(ctx: &Context, table: &Table, reader: &ReaderHandle) -> Result<f64> {
    let start = Instant::now();
    let taken: Vec<_> = table.parts().iter().map(|part| reader.take(part)).collect();
    ctx.get_all(&taken).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds that as many bytes take from one thread to another over a connection of this machine.
fn plain_connection(bytes: u64) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let start = Instant::now();
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let buffer = vec![1; BUFFER_BYTES];
        let mut left = bytes;
        while left > 0 {
            let length = left.min(BUFFER_BYTES as u64);
            stream.write_all(&buffer[..length as usize])?;
            left -= length;
        }
        Ok(())
    });
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = 0;
    while let length @ 1.. = stream.read(&mut buffer)? {
        received += length as u64;
    }
    let seconds = start.elapsed().as_secs_f64();
    sender.join().map_err(|_| tandem::anyhow::anyhow!("the sender panicked"))??;
    tandem::ensure!(received == bytes, "{received} bytes of {bytes} came");
    Ok(seconds)
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let rows: u64 = args.parse(0)?;
    let sql =
        format!("SELECT value AS a, value * 3 AS b, value % 1000 AS c, -value AS d FROM generate_series(1, {rows})");
    let (here, elsewhere) = readers(&ctx).await?;
    // The first time gets new memory from the system, which costs several times as much.
    measure(&ctx, &sql, &here, &elsewhere).await?;
    measure(&ctx, &sql, &here, &elsewhere).await?.report();
    Ok(())
}

/// How one result of SQL went.
struct Measured {
    got: Got,
    here_seconds: f64,
    read_seconds: f64,
    elsewhere_seconds: f64,
    plain_seconds: f64,
}

async fn measure(ctx: &Context, sql: &str, here: &ReaderHandle, elsewhere: &ReaderHandle) -> Result<Measured> {
    let table = ctx.sql(sql).await?;
    let here_seconds = hand_over(ctx, &table, here).await?;
    let got = here.got().await?;
    let start = Instant::now();
    let sum = here.sum().await?;
    let read_seconds = start.elapsed().as_secs_f64();
    let elsewhere_seconds = hand_over(ctx, &table, elsewhere).await?;
    tandem::ensure!(elsewhere.sum().await? == sum, "other rows came to the other worker");
    here.forget().await?;
    elsewhere.forget().await?;
    let plain_seconds = plain_connection(got.bytes)?;
    Ok(Measured { got, here_seconds, read_seconds, elsewhere_seconds, plain_seconds })
}

impl Measured {
    fn report(&self) {
        let Self { got, here_seconds, read_seconds, elsewhere_seconds, plain_seconds } = self;
        report("handed over on the same worker", here_seconds * 1e6, "us");
        report("… bytes that were copied", (got.bytes - got.shared_bytes) as f64, "bytes");
        report("… every value read", *read_seconds, "s");
        report("handed over to another worker", got.bytes as f64 / elsewhere_seconds / 1e6, "MB/s");
        report("… a plain connection", got.bytes as f64 / plain_seconds / 1e6, "MB/s");
        report("… of the speed of a plain connection", plain_seconds / elsewhere_seconds * 100.0, "%");
    }
}
