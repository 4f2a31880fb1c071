//! Sizes and times as people read them, in docker's words.

/// A size with four significant digits and powers of 1000: `1.23MB`.
pub(crate) fn size(bytes: f64) -> String {
    size_with(bytes, 4)
}

/// A size with so many significant digits.
pub(crate) fn size_with(bytes: f64, digits: usize) -> String {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// A size with powers of 1024: `23.54GiB`.
pub(crate) fn binary_size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 || unit == "TiB" {
            let digits = if value >= 100.0 {
                1
            } else if value >= 10.0 {
                2
            } else {
                3
            };
            let text = format!("{value:.digits$}");
            return format!(
                "{}{unit}",
                if text.contains('.') {
                    text.trim_end_matches('0').trim_end_matches('.')
                } else {
                    &text
                }
            );
        }
        value /= 1024.0;
    }
    String::new()
}

/// Go's `%.Ng`: N significant digits, no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let whole = value.abs().log10().floor() as i32 + 1;
    let decimals = (digits as i32 - whole).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A span of time: `Less than a second`, `About a minute`, `3 weeks`.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded to the nearest hour.
    let hours = (seconds + 1800) / 3600;
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
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_significant_digits() {
        assert_eq!(size(0.0), "0B");
        assert_eq!(size(999.0), "999B");
        assert_eq!(size(1_234_567.0), "1.235MB");
        assert_eq!(size_with(7_790_000.0, 3), "7.79MB");
        assert_eq!(size_with(117_000_000.0, 3), "117MB");
        assert_eq!(size_with(1_000.0, 3), "1kB");
    }

    #[test]
    fn durations_are_in_words() {
        assert_eq!(duration(0), "Less than a second");
        assert_eq!(duration(59), "59 seconds");
        assert_eq!(duration(90), "About a minute");
        assert_eq!(duration(3600), "About an hour");
        assert_eq!(duration(2 * 3600), "2 hours");
        assert_eq!(duration(72 * 3600), "3 days");
        assert_eq!(duration(20 * 24 * 3600), "2 weeks");
        assert_eq!(duration(100 * 24 * 3600), "3 months");
        assert_eq!(duration(800 * 24 * 3600), "2 years");
    }
}
