//! Moments as people give them (`2013-01-02T15:04`, `10m`), read as docker's client does; faults are in the words of Go's
//! `time.Parse`.

use crate::duration::nanoseconds;
use crate::time;

/// A moment as the API takes it: seconds and nanoseconds since 1970. Spans count back from now; a date may lack its end,
/// and is one of UTC without a zone.
///
/// # Errors
/// What is wrong, in Go's words.
pub(crate) fn timestamp(text: &str) -> Result<String, String> {
    if let Some(nanos) = nanoseconds(text).ok().filter(|_| text != "0") {
        let nanos = time::now() as i128 * 1_000_000_000 - nanos as i128;
        return Ok(format!(
            "{}.{:09}",
            nanos.div_euclid(1_000_000_000),
            nanos.rem_euclid(1_000_000_000)
        ));
    }
    match read(text, &layout(text)) {
        Ok((seconds, nanos)) => Ok(format!("{seconds}.{nanos:09}")),
        Err(why) if text.contains('-') => Err(why),
        Err(_) if is_number(text) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "failed to parse value as time or duration: {text:?}"
        )),
    }
}

/// Seconds since 1970, with or without a fraction.
fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// One element of a layout: as Go writes it.
const YEAR: &str = "2006";
const MONTH: &str = "01";
const DAY: &str = "02";
const HOUR: &str = "15";
const MINUTE: &str = "04";
const SECOND: &str = "05";
const FRACTION: &str = ".999999999";
const ZONE: &str = "Z07:00";

/// The layout in which a text is read.
fn layout(text: &str) -> Vec<&'static str> {
    let zoned = text.contains(['z', 'Z', '+']) || text.matches('-').count() == 3;
    let mut layout = vec![YEAR, "-", MONTH, "-", DAY];
    if text.contains('.') {
        layout.extend(["T", HOUR, ":", MINUTE, ":", SECOND, FRACTION]);
    } else if text.contains('T') {
        let colons = text.matches(':').count();
        // One of them is the zone's.
        let of_zone = zoned && !text.contains(['z', 'Z']);
        layout.extend(["T", HOUR]);
        let clock = [":", MINUTE, ":", SECOND];
        let told = colons.saturating_sub(usize::from(of_zone)).min(2) * 2;
        layout.extend(&clock[..told]);
    }
    if zoned {
        layout.push(ZONE);
    }
    layout
}

/// Reads a text by its layout: seconds since 1970, and nanoseconds.
fn read(text: &str, layout: &[&str]) -> Result<(i64, u32), String> {
    let out_of_range = |what: &str| Err(format!("parsing time {text:?}: {what} out of range"));
    let mut rest = text;
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut minute, mut second, mut nanos, mut ahead) = (0, 0, 0, 0u32, 0);
    for element in layout {
        let bad = || {
            Err(format!(
                "parsing time {text:?} as {:?}: cannot parse {rest:?} as {element:?}",
                layout.concat()
            ))
        };
        let (least, most) = match *element {
            YEAR => (4, 4),
            HOUR => (1, 2),
            FRACTION => {
                (nanos, rest) = fraction(rest);
                continue;
            }
            ZONE => {
                match zone(rest) {
                    Ok(Some((seconds, behind))) => (ahead, rest) = (seconds, behind),
                    Ok(None) => return bad(),
                    Err(what) => return out_of_range(what),
                }
                continue;
            }
            MONTH | DAY | MINUTE | SECOND => (2, 2),
            literal => {
                match rest.strip_prefix(literal) {
                    Some(behind) => rest = behind,
                    None => return bad(),
                }
                continue;
            }
        };
        let Some((number, behind)) = digits(rest, least, most) else {
            return bad();
        };
        rest = behind;
        match *element {
            YEAR => year = number,
            MONTH if !(1..=12).contains(&number) => return out_of_range("month"),
            MONTH => month = number,
            DAY => day = number,
            HOUR if number > 23 => return out_of_range("hour"),
            HOUR => hour = number,
            MINUTE if number > 59 => return out_of_range("minute"),
            MINUTE => minute = number,
            _ if number > 59 => return out_of_range("second"),
            _ => second = number,
        }
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    if !(1..=days_in(year, month)).contains(&day) {
        return out_of_range("day");
    }
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    match time::parse(&date) {
        Some((seconds, _)) => Ok((seconds - ahead, nanos)),
        None => out_of_range("year"),
    }
}

/// A number of so many digits, and what is behind it.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let end = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    (end >= least).then_some((text[..end].parse().ok()?, &text[end..]))
}

/// What is left of a second, in nanoseconds; none when there is none.
fn fraction(text: &str) -> (u32, &str) {
    let Some(behind) = text.strip_prefix(['.', ',']) else {
        return (0, text);
    };
    let end = behind.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return (0, text);
    }
    let nanos = format!("{:0<9.9}", &behind[..end]);
    (nanos.parse().unwrap_or(0), &behind[end..])
}

/// How many seconds a zone is ahead; `None` for what is none, and what of it is too large.
fn zone(text: &str) -> Result<Option<(i64, &str)>, &'static str> {
    if let Some(behind) = text.strip_prefix('Z') {
        return Ok(Some((0, behind)));
    }
    let sign = match text.bytes().next() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Ok(None),
    };
    let parts = digits(&text[1..], 2, 2).and_then(|(hours, behind)| {
        let (minutes, behind) = digits(behind.strip_prefix(':')?, 2, 2)?;
        Some((hours, minutes, behind))
    });
    match parts {
        None => Ok(None),
        Some((_, minutes, _)) if minutes > 60 => Err("time zone offset minute"),
        Some((hours, ..)) if hours > 24 => Err("time zone offset hour"),
        Some((hours, minutes, behind)) => Ok(Some((sign * (hours * 3600 + minutes * 60), behind))),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_and_without_their_end() {
        for (text, read) in [
            ("2024-01-02T03:04:05Z", "1704164645.000000000"),
            ("2024-01-02T03:04", "1704164640.000000000"),
            ("2024-01-02T03", "1704164400.000000000"),
            ("2024-01-02", "1704153600.000000000"),
            ("2024-01-02Z", "1704153600.000000000"),
            ("2024-01-02T03:04:05.5+01:00", "1704161045.500000000"),
            ("2024-01-02T03:04:05.000000001", "1704164645.000000001"),
            ("1704164645.5", "1704164645.5"),
            ("0", "0"),
        ] {
            assert_eq!(timestamp(text).as_deref(), Ok(read), "{text}");
        }
    }

    /// What docker's client 28.2 says.
    #[test]
    fn faults_are_gos() {
        for (text, told) in [
            (
                "2020-13-01",
                "parsing time \"2020-13-01\": month out of range",
            ),
            (
                "2020-02-30",
                "parsing time \"2020-02-30\": day out of range",
            ),
            (
                "2020-01-01T25:00:00Z",
                "parsing time \"2020-01-01T25:00:00Z\": hour out of range",
            ),
            (
                "2020-01-01T10:61",
                "parsing time \"2020-01-01T10:61\": minute out of range",
            ),
            (
                "2020-01-01T10:00:61Z",
                "parsing time \"2020-01-01T10:00:61Z\": second out of range",
            ),
            (
                "2020-01-01T10:00:00+99:99",
                "parsing time \"2020-01-01T10:00:00+99:99\": time zone offset minute out of range",
            ),
            (
                "x-y",
                "parsing time \"x-y\" as \"2006-01-02\": cannot parse \"x-y\" as \"2006\"",
            ),
            (
                "2020-1-1",
                "parsing time \"2020-1-1\" as \"2006-01-02\": cannot parse \"1-1\" as \"01\"",
            ),
            (
                "2020-01-01T",
                "parsing time \"2020-01-01T\" as \"2006-01-02T15\": cannot parse \"\" as \"15\"",
            ),
            (
                "-5",
                "parsing time \"-5\" as \"2006-01-02\": cannot parse \"-5\" as \"2006\"",
            ),
            (
                "2020-01-01 10:00",
                "parsing time \"2020-01-01 10:00\": extra text: \" 10:00\"",
            ),
            (
                "2020-01-01T10:00:00.x",
                "parsing time \"2020-01-01T10:00:00.x\": extra text: \".x\"",
            ),
            (
                "yesterday",
                "failed to parse value as time or duration: \"yesterday\"",
            ),
        ] {
            assert_eq!(timestamp(text).unwrap_err(), told);
        }
    }
}
