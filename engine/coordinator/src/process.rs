//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

/// The unit of times in `/proc`, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: u32 = 100;

/// Resident memory in bytes; 0 where `/proc` cannot be read.
pub(crate) fn resident_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_resident(&status)).unwrap_or(0)
}

/// CPU time of all threads so far; zero where `/proc` cannot be read.
pub(crate) fn cpu_time() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_cpu(&stat)).unwrap_or_default()
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// User and system time are fields 14 and 15. Field 2, the name, may hold blanks and brackets itself.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_secs(ticks()? + ticks()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_process_does_not_shift_the_fields() {
        let stat = "1 (a) ) b) R 0 1 1 0 -1 0 0 0 0 0 250 150 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(4)));
        assert_eq!(parse_resident("VmPeak:\t9 kB\nVmRSS:\t  8 kB\n"), Some(8192));
        assert!(resident_bytes() > 0);
    }
}
