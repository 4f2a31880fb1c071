//! Values of flags as docker reads them: sizes, CPUs, limits.

use api_types::Ulimit;

/// Bytes as `512`, `64k`, `1.5g`, `2gb` or `1gib`; powers of 1024 all of them.
///
/// # Errors
/// Docker's words.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let size = number * 1024f64.powi(power);
    // A float holds every size that memory can have; the cast saturates.
    if size.is_finite() && size >= 0.0 {
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

/// A decimal number of CPUs, as billionths.
///
/// # Errors
/// Docker's words.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (negative, whole) = whole
        .strip_prefix('-')
        .map_or((false, whole), |whole| (true, whole));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(invalid());
    }
    if fraction.trim_end_matches('0').len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let nanos: i64 = format!("{:0<9.9}", fraction)
        .parse()
        .map_err(|_| invalid())?;
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let value = whole
        .checked_mul(1_000_000_000)
        .and_then(|value| value.checked_add(nanos))
        .ok_or_else(invalid)?;
    Ok(if negative { -value } else { value })
}

/// A whole number.
///
/// # Errors
/// Go's words.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

/// `name=soft[:hard]`.
///
/// # Errors
/// Docker's words.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits
        .split_once(':')
        .map_or((limits, None), |(soft, hard)| (soft, Some(hard)));
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    };
    let soft = number(soft)?;
    let hard = hard.map_or(Ok(soft), number)?;
    if hard >= 0 && (soft == -1 || soft > hard) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
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
        assert!(bytes("1x").is_err() && bytes("").is_err());
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn cpus() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(nano_cpus("-1"), Ok(-1_000_000_000));
        assert!(
            nano_cpus("abc").is_err()
                && nano_cpus("1.0000000001").is_err()
                && nano_cpus("").is_err()
        );
    }

    #[test]
    fn ulimits() {
        assert_eq!(
            ulimit("nofile=10:20"),
            Ok(Ulimit {
                name: "nofile".to_owned(),
                soft: 10,
                hard: 20
            })
        );
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        assert_eq!(ulimit("x"), Err("invalid ulimit argument: x".to_owned()));
        assert!(ulimit("nofile=20:10").is_err() && ulimit("what=1").is_err());
    }
}
