//! Compares ways to pass small messages between two processes of one host:
//!
//!   cargo run --release -p tandem-frames --example transports [seconds per measurement]
//!
//! A ping-pong sends one message and waits until it comes back. One way, messages go as fast as they can; a core is a second
//! of processor time of both processes together. Needs two cores that nothing else uses.

mod frames;
mod grpc;
mod threads;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Result;
use tandem_frames::pair;

const SIZES: [usize; 2] = [64, 4 << 10];

/// What one way of passing messages does.
struct Measured {
    round_trips: Vec<Duration>,
    messages: u64,
    wall: Duration,
    cpu_s: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, argument] = args.as_slice() {
        return match role.as_str() {
            "frames" => frames::child(argument),
            "threads" => threads::child(argument),
            "grpc" => grpc::child(argument),
            other => anyhow::bail!("unknown role {other}"),
        };
    }
    let time = Duration::from_secs_f64(args.first().map_or(Ok(2.0), |seconds| seconds.parse())?);
    println!("{:34} {:>6} {:>9} {:>9} {:>12} {:>12}", "", "bytes", "p50 µs", "p99 µs", "msgs/s", "msgs/s/core");
    for size in SIZES {
        for runtime in ["current_thread", "multi_thread"] {
            print(&format!("frames, {runtime}"), size, frames::measure(runtime, size, time)?);
        }
        for wait in ["blocking", "spinning"] {
            print(&format!("frames, {wait} thread"), size, threads::measure(wait, size, time)?);
        }
        print("tonic, unary, 64 at once", size, grpc::unary(size, time)?);
        print("tonic, stream of batches", size, grpc::stream(size, time)?);
    }
    Ok(())
}

fn print(name: &str, size: usize, mut measured: Measured) {
    measured.round_trips.sort_unstable();
    let percentile = |p: usize| {
        let trips = &measured.round_trips;
        trips[(trips.len() * p / 100).min(trips.len() - 1)].as_secs_f64() * 1e6
    };
    let messages = measured.messages as f64;
    println!(
        "{name:34} {size:>6} {:>9.1} {:>9.1} {:>12.0} {:>12.0}",
        percentile(50),
        percentile(99),
        messages / measured.wall.as_secs_f64(),
        messages / measured.cpu_s,
    );
}

/// This program again, as the other process.
fn itself(role: &str, argument: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([role, argument]);
    Ok(command)
}

/// The other process on a link, ended on drop.
struct Other(Child);

impl Other {
    fn linked(role: &str, argument: &str) -> Result<(Self, std::os::unix::net::UnixStream)> {
        let (own, child_end) = pair()?;
        Ok((Self(itself(role, argument)?.stdin(child_end).spawn()?), own))
    }

    /// Seconds of processor time that both processes have used, in steps of 10 ms.
    fn cpu_s(&self) -> Result<f64> {
        Ok(cpu_s(std::process::id())? + cpu_s(self.0.id())?)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let (user, system): (f64, f64) = (fields[11].parse()?, fields[12].parse()?);
    Ok((user + system) / 100.0)
}

/// Whether a measurement that began at `start` goes on.
fn goes_on(start: Instant, time: Duration) -> bool {
    start.elapsed() < time
}
