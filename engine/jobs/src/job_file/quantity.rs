//! Sizes (`128MiB`) and times (`5m`) as people write them.

use std::time::Duration;

/// Bytes of `2GiB`, `128 MiB`, `500kB` or a bare number of bytes; `2G` is `2GiB`.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    let bytes = number * scale as f64;
    (bytes.is_finite() && bytes <= u64::MAX as f64).then_some(bytes as u64)
}

/// The time of `500ms`, `60s`, `5m`, `1h` or `2d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    Some((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("128MiB", Some(128 << 20)),
            ("2 GiB", Some(2 << 30)),
            ("2G", Some(2 << 30)),
            ("2GB", Some(2_000_000_000)),
            ("1.5kb", Some(1500)),
            ("4096", Some(4096)),
            ("1_000", Some(1000)),
            ("128 pounds", None),
            ("MiB", None),
            ("-1", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("1h", Some(3_600_000)),
            ("5m", Some(300_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("5", None),
            ("soon", None),
        ] {
            assert_eq!(parse_duration(text).map(|time| time.as_millis()), millis, "{text}");
        }
    }
}
