//! Sizes and times as people write and read them: `2GiB`, `5m`.

use std::time::Duration;

use tandem_jobs::job_file;

/// Reads `512MiB`, `2G` or a plain number of bytes, as job files do.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    job_file::parse_size(text).ok_or_else(|| format!("`{text}` is not a size (it looks like 512MiB, 2G or 500MB)"))
}

/// Reads `90s`, `5m` or `1h`, as job files do but in any case, or a plain number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let lower = text.to_ascii_lowercase();
    job_file::parse_duration(&lower)
        .or_else(|| job_file::parse_duration(&format!("{lower}s")))
        .ok_or_else(|| format!("`{text}` is not a time (it looks like 90s, 5m or 1h)"))
}

/// `1.5 GiB`.
pub(crate) fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1,234,567`.
pub(crate) fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 slot`, `2,000 slots`.
pub(crate) fn format_counted(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    format!("{} {noun}{}", format_count(count), if count == 1 { "" } else { "s" })
}

/// `120 ms`, `4.2 s`, `3m 05s`, `2h 10m`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        60_000..3_600_000 => format!("{}m {:02}s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{}h {:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("2GiB", 2 << 30),
            ("2g", 2 << 30),
            ("1.5 MiB", 3 << 19),
            ("3kb", 3_000),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1 XiB", "-1", "1e3", "..", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_units() {
        for (text, ms) in
            [("5m", 300_000), ("90", 90_000), ("1h", 3_600_000), ("5M", 300_000), ("250ms", 250), ("1.5s", 1_500)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["5 minutes", "", "s", "-1", "1e3"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(format_bytes(0), "0 B");
        assert_eq!(format_bytes(1536), "1.5 KiB");
        assert_eq!(format_count(0), "0");
        assert_eq!(format_count(999), "999");
        assert_eq!(format_count(1_234_567), "1,234,567");
        assert_eq!(format_duration(Duration::from_millis(42)), "42 ms");
        assert_eq!(format_duration(Duration::from_secs(185)), "3m 05s");
    }
}
