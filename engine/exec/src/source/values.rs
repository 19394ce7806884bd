//! Text to values: one strict, allocation-free function per type. None means that the text is not of the type.
//! Spaces around a value are ignored by callers, not here.

/// A whole number that fits `T`.
pub(crate) fn integer<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    let (negative, digits) = unsigned(text);
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

/// A whole number that fits `T`, which may be written with a fraction or an exponent: `5.0`, `1e3`.
pub(crate) fn whole<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    /// Below this, each whole number is a floating point number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_exact = |value: &f64| value.fract() == 0.0 && value.abs() < EXACT;
    integer(text).or_else(|| T::try_from(float::<f64>(text).filter(is_exact)? as i64).ok())
}

/// Whether `text` is digits and nothing else, but for a sign, and how many.
pub(crate) fn digit_count(text: &[u8]) -> Option<usize> {
    let digits = unsigned(text).1;
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(digits.len())
}

/// A floating point number, `inf` and `nan` included.
pub(crate) fn float<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A decimal number, with an exponent or without, as a count of its last places. Further digits are rounded, halves away
/// from zero; a number with more than `precision` digits is none.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, number) = unsigned(text);
    let (number, exponent) = match memchr::memchr2(b'e', b'E', number) {
        Some(at) => (&number[..at], integer::<i16>(&number[at + 1..])?),
        None => (number, 0),
    };
    let (whole, fraction) = match memchr::memchr(b'.', number) {
        Some(point) => (&number[..point], &number[point + 1..]),
        None => (number, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits = whole.iter().chain(fraction);
    // How many digits come before the end of the last place; less than none when the first is beyond it.
    let kept = isize::try_from(whole.len()).ok()? + isize::from(exponent) + isize::from(scale);
    let mut value: i128 = 0;
    for _ in 0..kept {
        let next = digits.next().map_or(Some(0), |&byte| digit(byte))?;
        value = value.checked_mul(10)?.checked_add(i128::from(next))?;
    }
    let mut next = digit(*digits.next().unwrap_or(&b'0'))?;
    if digits.any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    if kept < 0 {
        next = 0;
    }
    if next >= 5 {
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

/// Whether `text` begins with a minus, and what follows its sign.
fn unsigned(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    }
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
    fn whole_numbers_may_be_written_otherwise() {
        assert_eq!(whole::<i32>(b"5.0"), Some(5));
        assert_eq!(whole::<i64>(b"-1.5e3"), Some(-1_500));
        assert_eq!(whole::<i64>(b"9223372036854775807"), Some(i64::MAX));
        for text in ["1.5", "9007199254740993.0", "1e30", "nan", "x", ""] {
            assert_eq!(whole::<i64>(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(whole::<i8>(b"128.0"), None);
        assert_eq!(
            (digit_count(b"-12345678901234567890"), digit_count(b"1.0"), digit_count(b"-")),
            (Some(20), None, None)
        );
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
            ("1.005x", None),
            ("12.5e2", Some(125_000)),
            ("1e-2", Some(1)),
            ("5e-3", Some(1)),
            ("9e-4", Some(0)),
            ("1234.5E-2", Some(1_235)),
            ("1e5", None),
            ("0e99999", None),
            ("0e9999", Some(0)),
            ("1e-9999", Some(0)),
            ("e5", None),
            ("1e", None),
            ("1e5.0", None),
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
            let _ = (whole::<i64>(&text), digit_count(&text));
            let _ = (date(&text), timestamp_micros(&text));
        }
    }
}
