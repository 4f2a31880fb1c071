//! Times of the API as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// The first moment of the year 1, Go's time zero, in seconds since 1970.
pub(crate) const ZERO: i64 = -62_135_596_800;

/// Seconds since 1970 of an RFC 3339 time, with its nanoseconds; `None` for other texts.
pub(crate) fn parse(text: &str) -> Option<(i64, u32)> {
    parse_zoned(text).map(|(seconds, nanos, _)| (seconds, nanos))
}

/// The same with the seconds that its zone is ahead.
pub(crate) fn parse_zoned(text: &str) -> Option<(i64, u32, i32)> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    let offset = match zone.strip_prefix('Z') {
        Some(_) => 0,
        None => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if zone.starts_with('-') {
                -seconds
            } else {
                seconds
            }
        }
    };
    Some((
        days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset,
        nanos,
        i32::try_from(offset).ok()?,
    ))
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day at their end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2006-01-02 15:04:05 +0000 UTC`: how Go prints a time, here always in UTC.
pub(crate) fn go(seconds: i64) -> String {
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} +0000 UTC",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// How Go prints a time of a zone: with what is left of a second, and the zone.
pub(crate) fn go_zoned(seconds: i64, nanos: u32, zone: i32) -> String {
    let told = go(seconds + i64::from(zone));
    let clock = told.strip_suffix(" +0000 UTC").unwrap_or(&told);
    let zone = match zone {
        0 => "+0000 UTC".to_owned(),
        zone => format!("{0} {0}", offset(zone, "")),
    };
    format!("{clock}{} {zone}", fraction(nanos))
}

/// The same as JSON has it.
pub(crate) fn rfc3339_zoned(seconds: i64, nanos: u32, zone: i32) -> String {
    let told = rfc3339(seconds + i64::from(zone));
    let clock = told.strip_suffix('Z').unwrap_or(&told);
    let zone = match zone {
        0 => "Z".to_owned(),
        zone => offset(zone, ":"),
    };
    format!("{clock}{}{zone}", fraction(nanos))
}

/// What is left of a second, without zeros at its end; nothing for nothing.
fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// `+0130`, in seconds.
fn offset(zone: i32, between: &str) -> String {
    let (sign, ahead) = if zone < 0 { ('-', -zone) } else { ('+', zone) };
    format!("{sign}{:02}{between}{:02}", ahead / 3600, ahead / 60 % 60)
}

/// A span of time as Go prints it: `1h0m2.5s`.
pub(crate) fn span(nanos: i64) -> String {
    let (sign, left) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let decimals = |whole: u64, unit: u64, name: &str| {
        let rest = format!("{:09}", whole % unit * (1_000_000_000 / unit));
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{}{dot}{rest}{name}", whole / unit)
    };
    let told = match left {
        0 => "0s".to_owned(),
        1..1_000 => format!("{left}ns"),
        1_000..1_000_000 => decimals(left, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimals(left, 1_000_000, "ms"),
        _ => {
            let minutes = left / 60_000_000_000;
            let seconds = decimals(left % 60_000_000_000, 1_000_000_000, "s");
            match minutes {
                0 => seconds,
                1..60 => format!("{minutes}m{seconds}"),
                _ => format!("{}h{}m{seconds}", minutes / 60, minutes % 60),
            }
        }
    };
    format!("{sign}{told}")
}

/// `Mon Jan  2 15:04:05 2006` of an RFC 3339 time, in UTC; other texts stay as they are.
pub(crate) fn ansic(text: &str) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Some((seconds, _)) = parse(text) else {
        return text.to_owned();
    };
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let named = |names: &[&'static str], at: i64| {
        usize::try_from(at)
            .ok()
            .and_then(|at| names.get(at).copied())
    };
    format!(
        "{} {} {day:>2} {:02}:{:02}:{:02} {year}",
        named(&DAYS, days.rem_euclid(7)).unwrap_or_default(),
        named(&MONTHS, month - 1).unwrap_or_default(),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// `2006-01-02T15:04:05Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    go(seconds).replacen(' ', "T", 1).replace(" +0000 UTC", "Z")
}

/// `2006-01-02T15:04:05.000000000Z`.
pub(crate) fn rfc3339_nano(nanos: i64) -> String {
    let seconds = nanos.div_euclid(1_000_000_000);
    let (year, month, day) = date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let rest = nanos.rem_euclid(1_000_000_000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{rest:09}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// How long ago a time was: `3 minutes ago`; `N/A` for the time zero.
pub(crate) fn ago(seconds: i64) -> String {
    if seconds <= 0 {
        "N/A".to_owned()
    } else {
        format!("{} ago", crate::units::duration(now() - seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_builds_are_told_as_docker_does() {
        for (text, told) in [
            (
                "2026-11-27T07:31:19.000000000+00:00",
                "Fri Nov 27 07:31:19 2026",
            ),
            (
                "2025-05-30T12:07:26.000000000+00:00",
                "Fri May 30 12:07:26 2025",
            ),
            ("1970-01-01T00:00:00Z", "Thu Jan  1 00:00:00 1970"),
            ("", ""),
            ("today", "today"),
        ] {
            assert_eq!(ansic(text), told);
        }
    }

    #[test]
    fn times_and_spans_are_told_as_go_tells_them() {
        for (text, told) in [
            (
                "2026-11-27T06:44:47.36Z",
                "2026-11-27 06:44:47.36 +0000 UTC",
            ),
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"),
            (
                "2026-01-01T00:30:00+01:30",
                "2026-01-01 00:30:00 +0130 +0130",
            ),
            (
                "2026-01-01T00:30:00.000000001-05:00",
                "2026-01-01 00:30:00.000000001 -0500 -0500",
            ),
        ] {
            let (seconds, nanos, zone) = parse_zoned(text).unwrap();
            assert_eq!(go_zoned(seconds, nanos, zone), told);
            assert_eq!(rfc3339_zoned(seconds, nanos, zone), text);
        }
        for (nanos, told) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (-90_000_000_000, "-1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(span(nanos), told);
        }
    }

    #[test]
    fn times_go_there_and_back() {
        let (seconds, nanos) = parse("2024-02-29T12:34:56.123456789Z").unwrap();
        assert_eq!(go(seconds), "2024-02-29 12:34:56 +0000 UTC");
        assert_eq!(nanos, 123_456_789);
        assert_eq!(
            rfc3339_nano(seconds * 1_000_000_000 + 5),
            "2024-02-29T12:34:56.000000005Z"
        );
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some((0, 0)));
        assert_eq!(parse("0001-01-01T00:00:00Z").unwrap().0, -62_135_596_800);
        assert_eq!(parse("yesterday"), None);
    }
}
