//! Dates and times as numbers: days since 1970-01-01, in UTC, with the time as a fraction.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

const SECONDS: f64 = 86_400.0;

/// ISO 8601: `2024-05-01`, with a time `T12:30`, `12:30:59.25` after `T` or a space, and `Z` or an
/// offset such as `+02:00`; or a time alone, a fraction of a day.
pub(crate) fn iso(cell: &str) -> Option<f64> {
    let bytes = cell.as_bytes();
    if bytes.get(2) == Some(&b':') {
        return time(cell);
    }
    let date = cell.get(..10)?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let [year, month, day] =
        [&date[..4], &date[5..7], &date[8..]].map(|part| digits(part, part.len()));
    let days = days(NaiveDate::from_ymd_opt(year? as i32, month?, day?)?);
    let Some(rest) = cell.get(11..) else { return (cell.len() == 10).then_some(days) };
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[..at], offset(&rest[at..])?),
        None => (rest, 0.0),
    };
    Some(days + time(clock)? - offset)
}

/// By a format of strftime: of a date with a time, a date, or a time alone.
pub(super) fn formatted(cell: &str, format: &str) -> Option<f64> {
    if let Ok(at) = DateTime::parse_from_str(cell, format) {
        return Some(at.timestamp() as f64 / SECONDS + f64::from(at.nanosecond()) / 1e9 / SECONDS);
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(cell, format) {
        return Some(days(at.date()) + fraction(at.time()));
    }
    let date = NaiveDate::parse_from_str(cell, format).map(days);
    date.or_else(|_| NaiveTime::parse_from_str(cell, format).map(fraction)).ok()
}

/// Whether a format can be one of strftime.
pub(super) fn is_format(format: &str) -> bool {
    let mut items = chrono::format::StrftimeItems::new(format);
    format.contains('%') && items.all(|item| item != chrono::format::Item::Error)
}

fn days(date: NaiveDate) -> f64 {
    f64::from(date.to_epoch_days())
}

fn fraction(time: NaiveTime) -> f64 {
    let seconds = f64::from(time.num_seconds_from_midnight());
    (seconds + f64::from(time.nanosecond()) / 1e9) / SECONDS
}

/// `12:30` or `12:30:59.25`, as a fraction of a day.
fn time(clock: &str) -> Option<f64> {
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':').map_or((rest, None), |(m, s)| (m, Some(s)));
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    let second = match second {
        None => 0.0,
        Some(second) => {
            let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
            digits(whole, 2)?;
            let sound = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
            sound.then(|| second.parse::<f64>().ok())??
        }
    };
    let sound = hour < 24 && minute < 60 && second < 61.0;
    sound.then(|| (f64::from(hour * 3600 + minute * 60) + second) / SECONDS)
}

/// `Z`, `+02:00`, `+0200` or `+02`, as a fraction of a day.
fn offset(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0.0);
    }
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let plain = text[1..].replacen(':', "", 1);
    let (hour, minute) = match plain.len() {
        2 => (digits(&plain, 2)?, 0),
        4 => (digits(&plain[..2], 2)?, digits(&plain[2..], 2)?),
        _ => return None,
    };
    (hour < 24 && minute < 60).then(|| sign * f64::from(hour * 60 + minute) / 1440.0)
}

fn digits(text: &str, len: usize) -> Option<u32> {
    let sound = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_and_times_fractions() {
        assert_eq!(iso("1970-01-01"), Some(0.0));
        assert_eq!(iso("2024-02-29T12:00"), Some(19_782.5));
        assert_eq!(iso("1969-12-31 18:00:00.000"), Some(-0.25));
        assert_eq!(iso("1970-01-02T01:30:00+01:30"), Some(1.0));
        assert_eq!((iso("1970-01-01T06:00Z"), iso("06:00:00")), (Some(0.25), Some(0.25)));
        for wrong in [
            "",
            "2023-02-29",
            "2024-1-01",
            "2024-01-01T",
            "2024-01-01x",
            "24:00",
            "12:60",
            "12",
            "2024-01-01T10:00:00.",
            "2024-01-01T10:00+1",
            "2024-01-01Tnan:00",
            "+024-01-01",
            "日本語日本語",
        ] {
            assert_eq!(iso(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn formats_are_those_of_strftime() {
        assert_eq!(formatted("29.02.2024", "%d.%m.%Y"), Some(19_782.0));
        assert_eq!(formatted("2/29/2024 6:00 PM", "%m/%d/%Y %I:%M %p"), Some(19_782.75));
        assert_eq!(formatted("01.01.1970 02:00 +0200", "%d.%m.%Y %H:%M %z"), Some(0.0));
        assert_eq!(formatted("30.02.2024", "%d.%m.%Y"), None);
        assert!(is_format("%d.%m.%Y") && !is_format("dd.mm") && !is_format("%Q"));
    }
}
