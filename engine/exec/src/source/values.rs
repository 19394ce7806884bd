//! Text to values: one strict, allocation-free function per type. None means that the text is not of the type.
//! Spaces around a value are ignored by callers, not here.

/// A whole number that fits `T`.
pub(crate) fn integer<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = i64::from(digit(byte)?);
        // Counted downwards, since the least number has no positive counterpart.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    let value = if negative { value } else { value.checked_neg()? };
    T::try_from(value).ok()
}

/// A floating point number, `inf` and `nan` included.
pub(crate) fn float<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A decimal number as a count of its last places. Further digits are rounded, halves away from zero; a number with
/// more than `precision` digits is none.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let places = usize::try_from(scale).ok()?;
    let (whole, fraction) = match memchr::memchr(b'.', digits) {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    let (kept, rest) = fraction.split_at(fraction.len().min(places));
    for &byte in whole.iter().chain(kept) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit(byte)?))?;
    }
    for _ in kept.len()..places {
        value = value.checked_mul(10)?;
    }
    if rest.iter().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    if rest.first().is_some_and(|&byte| byte >= b'5') {
        value += 1;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

/// `true`, `false`, `t`, `f`, `1`, `0`, in any case.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" => Some(true),
        b"0" | b"f" | b"F" => Some(false),
        _ if text.eq_ignore_ascii_case(b"true") => Some(true),
        _ if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// `2024-02-29` as days since the Unix epoch.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    if text.len() == 10 { calendar_day(text) } else { None }
}

/// `2024-02-29 12:34:56.789`, with `T` or a space, a fraction of up to nine digits or none, and an optional zone (`Z`,
/// `+02:00`, `+0200`, `+02`); or a date alone. Microseconds since the Unix epoch, in UTC if there is a zone.
pub(crate) fn timestamp_micros(text: &[u8]) -> Option<i64> {
    let day = i64::from(calendar_day(text.get(..10)?)?);
    let seconds_of_day = match text.get(10) {
        None => return Some(day * 86_400_000_000),
        Some(b' ' | b'T' | b't') => time_of_day(text.get(11..19)?)?,
        Some(_) => return None,
    };
    let (micros, zone) = fraction_micros(&text[19..])?;
    let offset = zone_seconds(zone)?;
    Some((day * 86_400 + seconds_of_day - offset) * 1_000_000 + micros)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(digit)
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    Some(u32::from(digit(tens)?) * 10 + u32::from(digit(ones)?))
}

fn calendar_day(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let (month, day) = (two_digits(m1, m2)?, two_digits(d1, d2)?);
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_since_epoch(year.cast_signed(), month.cast_signed(), day.cast_signed()))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts with years that begin in March, so that the leap day is the last of its year.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    const MARCH_OF_YEAR_0_TO_EPOCH: i32 = 719_468;
    year * 365 + leap_days + day_of_year - MARCH_OF_YEAR_0_TO_EPOCH
}

fn time_of_day(text: &[u8]) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    let (hour, minute, second) = (two_digits(h1, h2)?, two_digits(m1, m2)?, two_digits(s1, s2)?);
    (hour < 24 && minute < 60 && second < 60).then(|| i64::from(hour * 3_600 + minute * 60 + second))
}

/// The fraction that `text` begins with, and what follows it.
fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 9 {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + rest[..length].get(place).map_or(0, |&byte| i64::from(byte - b'0'));
    }
    Some((micros, &rest[length..]))
}

/// Seconds east of UTC.
fn zone_seconds(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match *rest {
        [h1, h2] => (two_digits(h1, h2)?, 0),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (two_digits(h1, h2)?, two_digits(m1, m2)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_strict_about_range_and_digits() {
        assert_eq!(integer::<i8>(b"-128"), Some(-128));
        assert_eq!(integer::<i8>(b"128"), None);
        assert_eq!(integer::<i64>(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer::<i64>(b"9223372036854775808"), None);
        for text in ["", "-", "+", "1.0", "1e3", "0x1", "1 2", "--1", "１"] {
            assert_eq!(integer::<i64>(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn decimals_round_halves_away_from_zero() {
        for (text, expected) in [
            ("1", Some(100)),
            ("-1.5", Some(-150)),
            ("1.005", Some(101)),
            ("1.004", Some(100)),
            ("-1.005", Some(-101)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("99999.99", Some(9_999_999)),
            ("99999.999", None),
            ("100000", None),
            (".", None),
            ("", None),
            ("1.2.3", None),
            ("1,5", None),
            ("1.0x", None),
        ] {
            assert_eq!(decimal(text.as_bytes(), 7, 2), expected, "{text:?}");
        }
        assert_eq!(decimal(&[b'9'; 200], 38, 0), None);
    }

    #[test]
    fn timestamps_take_the_usual_forms() {
        let expected = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap().and_hms_micro_opt(12, 34, 56, 789_000).unwrap();
        let expected = expected.and_utc().timestamp_micros();
        for text in [
            "2024-02-29 12:34:56.789",
            "2024-02-29T12:34:56.789Z",
            "2024-02-29T14:34:56.789000999+02:00",
            "2024-02-29T07:04:56.789-0530",
            "2024-02-29T10:34:56.789-02",
        ] {
            assert_eq!(timestamp_micros(text.as_bytes()), Some(expected), "{text}");
        }
        assert_eq!(timestamp_micros(b"1970-01-02"), Some(86_400_000_000));
        for text in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-01-01 24:00:00",
            "2024-01-01 1:00:00",
            "2024-01-01T00:00",
            "20240101",
        ] {
            assert_eq!(timestamp_micros(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn booleans_have_few_forms() {
        assert_eq!(boolean(b"TRUE"), Some(true));
        assert_eq!(boolean(b"0"), Some(false));
        assert_eq!(boolean(b"yes"), None);
    }

    proptest! {
        #[test]
        fn dates_agree_with_chrono(days in -719_162_i32..2_932_896) {
            let date_of = DateTime::from_timestamp(i64::from(days) * 86_400, 0).unwrap().date_naive();
            prop_assert_eq!(date(date_of.to_string().as_bytes()), Some(days));
        }

        #[test]
        fn timestamps_agree_with_chrono(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let text = DateTime::from_timestamp_micros(micros).unwrap().naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
            prop_assert_eq!(timestamp_micros(text.as_bytes()), Some(micros));
            let back = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.6f").unwrap();
            prop_assert_eq!(back.and_utc().timestamp_micros(), micros);
        }

        #[test]
        fn integers_agree_with_the_standard_library(text in "[-+]?[0-9]{0,21}") {
            prop_assert_eq!(integer::<i64>(text.as_bytes()), text.parse::<i64>().ok());
            prop_assert_eq!(integer::<i16>(text.as_bytes()), text.parse::<i16>().ok());
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (integer::<i32>(&text), float::<f64>(&text), decimal(&text, 12, 2), boolean(&text));
            let _ = (date(&text), timestamp_micros(&text));
        }
    }
}
