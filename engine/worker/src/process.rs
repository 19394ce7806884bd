//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

/// The unit of times in `/proc`, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: u32 = 100;

/// Resident memory in bytes; 0 where `/proc` cannot be read.
pub(crate) fn rss_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_rss(&status)).unwrap_or(0)
}

/// CPU time used so far by all threads; zero where `/proc` cannot be read.
pub(crate) fn cpu_time() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_cpu(&stat)).unwrap_or_default()
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// User and system time are fields 14 and 15; the name in field 2 may hold blanks and brackets.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9 8 7";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_rss("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
        assert_eq!(parse_rss("Name:\tx\n"), None);
        assert!(rss_bytes() > 0);
    }
}
