//! Weights and rates of block devices, as `/dev/sda:100` and `/dev/sda:1mb`.

use api_types::{ThrottleDevice, WeightDevice};

use super::values;

/// A weight as Go's flags of type `uint16` are read.
///
/// # Errors
/// Go's words.
pub(crate) fn weight(text: &str) -> Result<u16, String> {
    let fault = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.starts_with(['-', '+']) {
        return Err(fault("invalid syntax"));
    }
    match crate::number::integer(text) {
        Ok(number) => u16::try_from(number).map_err(|_| fault("value out of range")),
        Err(why) if why.ends_with("value out of range") => Err(fault("value out of range")),
        Err(_) => Err(fault("invalid syntax")),
    }
}

/// A device and its weight, 10 to 1,000, or 0 for none of its own.
///
/// # Errors
/// Docker's words.
pub(crate) fn device_weight(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = device(text)?;
    match weight.parse::<u16>() {
        Ok(weight @ (0 | 10..=1000)) if digits(text, path) => Ok(WeightDevice {
            path: path.to_owned(),
            weight,
        }),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// A device and its bytes a second.
///
/// # Errors
/// Docker's words.
pub(crate) fn bytes(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device(text)?;
    let rate = values::bytes(rate).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate: rate.unsigned_abs(),
    })
}

/// A device and its requests a second.
///
/// # Errors
/// Docker's words.
pub(crate) fn requests(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = device(text)?;
    match rate.parse() {
        Ok(rate) if digits(text, path) => Ok(ThrottleDevice {
            path: path.to_owned(),
            rate,
        }),
        _ => Err(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )),
    }
}

fn device(text: &str) -> Result<(&str, &str), String> {
    match text.split_once(':') {
        None | Some(("", _)) => Err(format!("bad format: {text}")),
        Some((path, _)) if !path.starts_with("/dev/") => {
            Err(format!("bad format for device path: {text}"))
        }
        Some(parts) => Ok(parts),
    }
}

/// Whether what follows the path begins with a digit: Go takes no sign where Rust does.
fn digits(text: &str, path: &str) -> bool {
    text[path.len() + 1..].starts_with(|letter: char| letter.is_ascii_digit())
}

/// [`weight`], while the line is read.
pub(crate) fn weight_checked(text: &str) -> Result<String, String> {
    weight(text).map(|_| text.to_owned())
}

/// [`device_weight`], while the line is read.
pub(crate) fn device_weight_checked(text: &str) -> Result<String, String> {
    device_weight(text).map(|_| text.to_owned())
}

/// [`bytes`], while the line is read.
pub(crate) fn bytes_checked(text: &str) -> Result<String, String> {
    bytes(text).map(|_| text.to_owned())
}

/// [`requests`], while the line is read.
pub(crate) fn requests_checked(text: &str) -> Result<String, String> {
    requests(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_a_path_and_a_number() {
        let one = device_weight("/dev/sda:500").unwrap();
        assert_eq!((one.path.as_str(), one.weight), ("/dev/sda", 500));
        assert_eq!(bytes("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(requests("/dev/sda:7").unwrap().rate, 7);
        for (told, words) in [
            (device_weight("500").err(), "bad format: 500"),
            (device_weight(":5").err(), "bad format: :5"),
            (
                device_weight("sda:5").err(),
                "bad format for device path: sda:5",
            ),
            (
                device_weight("/dev/sda:5").err(),
                "invalid weight for device: /dev/sda:5",
            ),
            (
                bytes("/dev/sda:-1").err(),
                "invalid rate for device: /dev/sda:-1.",
            ),
            (
                requests("/dev/sda:1k").err(),
                "invalid rate for device: /dev/sda:1k.",
            ),
            (
                requests("/dev/sda:+1").err(),
                "invalid rate for device: /dev/sda:+1.",
            ),
        ] {
            let told = told.unwrap();
            assert!(told.starts_with(words), "{told}");
        }
        assert_eq!(weight("300"), Ok(300));
        assert_eq!(
            weight("x").unwrap_err(),
            "strconv.ParseUint: parsing \"x\": invalid syntax"
        );
        assert!(weight("65536").unwrap_err().ends_with("value out of range"));
    }
}
