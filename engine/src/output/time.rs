//! Moments as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::units::format_duration;

/// Milliseconds since the Unix epoch, now.
pub(crate) fn since_epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long ago a moment was; nothing for a moment that has not come.
pub(crate) fn ago(moment_ms: i64) -> String {
    if moment_ms == 0 { String::new() } else { between(moment_ms, since_epoch_ms()) }
}

/// The time from `start_ms` to `end_ms`, or to now when that has not come; nothing when it has not started.
pub(crate) fn between(start_ms: i64, end_ms: i64) -> String {
    if start_ms == 0 {
        return String::new();
    }
    let end_ms = if end_ms == 0 { since_epoch_ms() } else { end_ms };
    format_duration(Duration::from_millis(u64::try_from(end_ms - start_ms).unwrap_or(0)))
}
