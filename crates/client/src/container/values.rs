//! Values of flags as docker reads them: sizes, CPUs, limits.

use api_types::Ulimit;

use crate::duration::nanoseconds;

/// Bytes as `512`, `64k`, `1.5g`, `2gb` or `1gib`; powers of 1024 all of them.
///
/// # Errors
/// Docker's words.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text
        .rfind(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == ' ')
        .ok_or_else(invalid)?;
    let unit = text[last + 1..].to_ascii_lowercase();
    let number = text[..=last].strip_suffix(' ').unwrap_or(&text[..=last]);
    let value: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if value < 0.0 {
        return Err(invalid());
    }
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let size = value * 1024f64.powi(power);
    // A float holds every size that memory can have; the cast saturates.
    if size.is_finite() {
        Ok(size as i64)
    } else {
        Err(invalid())
    }
}

/// Bytes, or -1 for without limit.
///
/// # Errors
/// Docker's words.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// A number of CPUs, as billionths: `1.5`, `3/2` or `15e-1`.
///
/// # Errors
/// Docker's words.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (numerator, denominator) = match text.split_once('/') {
        Some((numerator, denominator)) => (
            (numerator.parse().map_err(|_| invalid())?, 0),
            denominator.parse::<i128>().map_err(|_| invalid())?,
        ),
        None => (decimal(text).ok_or_else(invalid)?, 1),
    };
    let (digits, exponent): (i128, i32) = numerator;
    let exponent = exponent + 9;
    let scale = 10i128.checked_pow(exponent.unsigned_abs());
    let scale = scale.ok_or_else(|| "value is too precise".to_owned())?;
    let (above, below) = if exponent >= 0 {
        (digits.checked_mul(scale), Some(denominator))
    } else {
        (Some(digits), denominator.checked_mul(scale))
    };
    let (above, below) = above
        .zip(below)
        .filter(|(_, below)| *below != 0)
        .ok_or_else(invalid)?;
    if above % below != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(above / below).map_err(|_| invalid())
}

/// Digits and the power of ten behind them: `-1.25e3` is -125 and 1.
fn decimal(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(fraction) || !mantissa.contains(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let digits = if matches!(digits.as_str(), "" | "-" | "+") {
        "0"
    } else {
        &digits
    };
    let behind = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    Some((digits.parse().ok()?, behind.clamp(-100, 100)))
}

/// `name=soft[:hard]`.
///
/// # Errors
/// Docker's words.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    Ulimit::parse(text)
}

/// The checks of flags with these values: the text stays as it is.
macro_rules! checks {
    ($($name:ident: $read:ident),*) => { $(
        pub(crate) fn $name(text: &str) -> Result<String, String> {
            $read(text).map(|_| text.to_owned())
        }
    )* };
}

checks! {
    bytes_checked: bytes, bytes_or_unlimited_checked: bytes_or_unlimited, nano_cpus_checked: nano_cpus,
    ulimit_checked: ulimit, duration_checked: nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("64k"), Ok(65536));
        assert_eq!(bytes("1.5g"), Ok(1_610_612_736));
        assert_eq!(bytes("2GB"), Ok(2 << 30));
        assert_eq!(bytes("2MiB"), Ok(2 << 20));
        assert_eq!(bytes("abc"), Err("invalid size: 'abc'".to_owned()));
        assert_eq!((bytes("1 g"), bytes("1e3")), (Ok(1 << 30), Ok(1000)));
        assert_eq!(bytes("-1"), Err("invalid size: '-1'".to_owned()));
        assert!(bytes("1x").is_err() && bytes("").is_err() && bytes("1,5g").is_err());
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn cpus() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(nano_cpus("-1"), Ok(-1_000_000_000));
        assert_eq!(nano_cpus("1/2"), Ok(500_000_000));
        assert_eq!(nano_cpus("1e2"), Ok(100_000_000_000));
        assert_eq!(nano_cpus("-.5"), Ok(-500_000_000));
        assert!(nano_cpus("1/0").is_err() && nano_cpus("1/3").is_err() && nano_cpus(".").is_err());
        assert!(
            nano_cpus("abc").is_err()
                && nano_cpus("1.0000000001").is_err()
                && nano_cpus("").is_err()
        );
    }
}
