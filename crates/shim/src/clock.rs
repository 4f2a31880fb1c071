//! Points in time: nanoseconds since 1970, and their text as Go's RFC3339Nano writes it.

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Nanoseconds since 1970; a clock that is set before it counts as 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Appends the time in UTC: zeros at the end of the fraction are left out, and with them the point.
pub(crate) fn write_rfc3339(time: u64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (time / SECOND, time % SECOND);
    let (days, in_day) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    digits(year, 4, out);
    for (sign, value) in [
        (b'-', month),
        (b'-', day),
        (b'T', in_day / 3600),
        (b':', in_day / 60 % 60),
        (b':', in_day % 60),
    ] {
        out.push(sign);
        digits(value, 2, out);
    }
    if fraction != 0 {
        out.push(b'.');
        digits(fraction, 9, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

/// Appends the time in UTC with so many digits of the fraction.
pub(crate) fn write_rfc3339_with(time: u64, fraction: u32, out: &mut Vec<u8>) {
    write_rfc3339(time - time % SECOND, out);
    if fraction != 0 {
        out.pop();
        out.push(b'.');
        digits(
            time % SECOND / 10u64.pow(9 - fraction.min(9)),
            fraction.min(9),
            out,
        );
        out.push(b'Z');
    }
}

/// Appends the time in UTC as syslog(3) writes it: `Jan  2 15:04:05`.
pub(crate) fn write_stamp(time: u64, out: &mut Vec<u8>) {
    const MONTHS: [&[u8]; 12] = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
        b"Nov ", b"Dec ",
    ];
    let (days, in_day) = (time / SECOND / DAY, time / SECOND % DAY);
    let (_, month, day) = civil(days);
    // Months are from 1 to 12.
    out.extend_from_slice(MONTHS[(month as usize - 1) % 12]);
    if day < 10 {
        out.push(b' ');
        digits(day, 1, out);
    } else {
        digits(day, 2, out);
    }
    for (sign, value) in [
        (b' ', in_day / 3600),
        (b':', in_day / 60 % 60),
        (b':', in_day % 60),
    ] {
        out.push(sign);
        digits(value, 2, out);
    }
}

fn digits(value: u64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        // A remainder of ten fits a byte.
        out.push(b'0' + (value / 10u64.pow(place) % 10) as u8);
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar: years are counted from the first of
/// March, in eras of 400 years, so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Day since 1970 of a date; the reverse of [`civil`].
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// Reads what [`write_rfc3339`] writes, or the same with a numeric offset from UTC.
pub(crate) fn parse_rfc3339(text: &[u8]) -> Option<u64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let &[
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T' | b't' | b' ',
        h0,
        h1,
        b':',
        i0,
        i1,
        b':',
        s0,
        s1,
    ] = date_time
    else {
        return None;
    };
    let (year, month, day) = (
        number(&[y0, y1, y2, y3])?,
        number(&[m0, m1])?,
        number(&[d0, d1])?,
    );
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[i0, i1])?, number(&[s0, s1])?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (fraction, zone) = fraction(rest)?;
    let seconds = days_of(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let seconds = i64::try_from(seconds).ok()?.checked_sub(offset(zone)?)?;
    u64::try_from(seconds)
        .ok()?
        .checked_mul(SECOND)?
        .checked_add(fraction)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum: u64, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// Nanoseconds of a fraction, if there is one, and what follows it.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let used = digits.get(..9).unwrap_or(digits);
    let missing = u32::try_from(9 - used.len()).ok()?;
    Some((number(used)? * 10u64.pow(missing), rest))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let seconds =
                i64::try_from(number(&[h0, h1])? * 3600 + number(&[m0, m1])? * 60).ok()?;
            Some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(time: u64) -> String {
        let mut out = Vec::new();
        write_rfc3339(time, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(
            text(1_764_034_937_123_450_000),
            "2025-11-25T01:42:17.12345Z"
        );
        assert_eq!(
            text(4_107_542_399_000_000_001),
            "2100-02-28T23:59:59.000000001Z"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        for time in (0..4_200_000_000_000_000_000).step_by(7_777_777_777_777_777) {
            assert_eq!(parse_rfc3339(text(time).as_bytes()), Some(time));
        }
        let same = [
            &b"2025-11-25T01:42:17.5Z"[..],
            b"2025-11-25T03:42:17.500+02:00",
        ];
        assert_eq!(parse_rfc3339(same[0]), parse_rfc3339(same[1]));
        for wrong in [
            "",
            "2025-11-25",
            "2025-13-25T01:42:17Z",
            "2025-11-25T01:42:17",
            "x025-11-25T01:42:17Z",
        ] {
            assert_eq!(parse_rfc3339(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
