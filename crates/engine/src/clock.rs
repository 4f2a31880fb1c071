//! Times as nanoseconds since 1970 and as the texts that docker writes.

use std::time::{SystemTime, UNIX_EPOCH};

/// Go's zero time, which stands for "never" in docker's answers.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Now, nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

/// RFC 3339 with nanoseconds, trailing zeros of the fraction removed, in UTC; [`NEVER`] for 0.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return NEVER.to_owned();
    }
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let time = seconds.rem_euclid(86_400);
    let mut text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        time / 3600,
        time / 60 % 60,
        time % 60
    );
    let fraction = nanoseconds.rem_euclid(1_000_000_000);
    if fraction != 0 {
        text.push_str(format!(".{fraction:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// A file's time as [`rfc3339`] writes it; 1970 is a time like any other.
pub(crate) fn of_file(seconds: i64, nanoseconds: u64) -> String {
    let nanoseconds = i64::try_from(nanoseconds).unwrap_or(0);
    match seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
    {
        0 => "1970-01-01T00:00:00Z".to_owned(),
        time => rfc3339(time),
    }
}

/// RFC 3339 with all nine digits of the fraction, as docker prefixes lines of a log.
pub(crate) fn fixed_rfc3339(nanoseconds: i64) -> String {
    let seconds = nanoseconds - nanoseconds.rem_euclid(1_000_000_000);
    let text = if seconds == 0 {
        "1970-01-01T00:00:00Z".to_owned()
    } else {
        rfc3339(seconds)
    };
    format!(
        "{}.{:09}Z",
        text.trim_end_matches('Z'),
        nanoseconds.rem_euclid(1_000_000_000)
    )
}

/// Reads RFC 3339, with any offset, into nanoseconds since 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let (year, month, day): (i64, i64, i64) = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, tail) = rest.split_at_checked(8)?;
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let (fraction, zone) = match tail.strip_prefix('.') {
        Some(tail) => {
            let end = tail.find(|c: char| !c.is_ascii_digit())?;
            let digits: String = tail[..end]
                .chars()
                .chain(std::iter::repeat('0'))
                .take(9)
                .collect();
            (digits.parse::<i64>().ok()?, &tail[end..])
        }
        None => (0, tail),
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60)
        }
    };
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
}

/// Days since 1970 to year, month, day (Gregorian).
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// How long ago or how long, in docker's words (`About a minute`, `2 hours`).
pub(crate) fn human_duration(nanoseconds: i64) -> String {
    let seconds = nanoseconds.max(0) / 1_000_000_000;
    let minutes = seconds / 60;
    // Rounded to the nearest hour, as docker does.
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (nanoseconds, text) in [
            (1_000_000_000, "1970-01-01T00:00:01Z"),
            (951_782_400_123_000_000, "2000-02-29T00:00:00.123Z"),
            (1_764_033_735_000_000_001, "2025-11-25T01:22:15.000000001Z"),
        ] {
            assert_eq!(rfc3339(nanoseconds), text);
            assert_eq!(parse_rfc3339(text), Some(nanoseconds));
        }
        assert_eq!(
            parse_rfc3339("2025-11-25T02:22:15+01:00"),
            Some(1_764_033_735_000_000_000)
        );
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(
            fixed_rfc3339(1_500_000_000),
            "1970-01-01T00:00:01.500000000Z"
        );
    }

    #[test]
    fn durations_are_told_as_docker_tells_them() {
        let second = 1_000_000_000;
        for (nanoseconds, text) in [
            (0, "Less than a second"),
            (59 * second, "59 seconds"),
            (61 * second, "About a minute"),
            (3 * 3600 * second, "3 hours"),
            (5 * 86_400 * second, "5 days"),
        ] {
            assert_eq!(human_duration(nanoseconds), text);
        }
    }
}
