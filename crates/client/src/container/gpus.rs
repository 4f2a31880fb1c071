//! `--gpus`: devices that a driver is asked for.

use api_types::DeviceRequest;

use super::environment::pairs;
use super::mounts::fields;

/// Checks a `--gpus` value while the command line is taken apart.
///
/// # Errors
/// As [`request`].
pub(super) fn checked(text: &str) -> Result<String, String> {
    request(text).map(|_| text.to_owned())
}

/// Reads one `--gpus` value: `all`, a number, or `device=…,driver=…,capabilities=…,options=…`.
///
/// # Errors
/// Docker's words.
pub(super) fn request(text: &str) -> Result<DeviceRequest, String> {
    let mut asked = DeviceRequest::default();
    let mut seen: Vec<String> = Vec::new();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        if seen.iter().any(|known| known == key) {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        seen.push(key.to_owned());
        let words = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match (key, value) {
            (number, None) => {
                seen.push("count".to_owned());
                asked.count = count(number)?;
            }
            ("count", Some(value)) => asked.count = count(value)?,
            ("driver", Some(value)) => value.clone_into(&mut asked.driver),
            ("device", Some(value)) => asked.device_ids = Some(words(value)),
            ("capabilities", Some(value)) => {
                let mut all = words(value);
                all.push("gpu".to_owned());
                asked.capabilities = Some(vec![all]);
            }
            ("options", Some(value)) => {
                let options =
                    fields(value).map_err(|why| format!("failed to read gpu options: {why}"))?;
                asked.options = Some(pairs(&options));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.iter().any(|key| key == "count") && asked.device_ids.is_none() {
        asked.count = 1;
    }
    asked.options.get_or_insert_default();
    asked
        .capabilities
        .get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(asked)
}

/// How many; -1 for all.
fn count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        text => text.parse().map_err(|_| {
            format!(
                "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_docker_reads_them() {
        let all = request("all").unwrap();
        assert_eq!(all.count, -1);
        assert_eq!(all.capabilities.unwrap(), [["gpu"]]);
        let some = request("\"device=0,1\",driver=x,capabilities=compute").unwrap();
        assert_eq!((some.count, some.driver.as_str()), (0, "x"));
        assert_eq!(some.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(some.capabilities.unwrap(), [["compute", "gpu"]]);
        assert_eq!(request("driver=x").unwrap().count, 1);
        for (text, why) in [
            (
                "x",
                "invalid count (x): value must be either \"all\" or an integer: invalid syntax",
            ),
            ("a=b", "unexpected key 'a' in 'a=b'"),
            (
                "2,count=3",
                "gpu request key 'count' can be specified only once",
            ),
        ] {
            assert_eq!(request(text).unwrap_err(), why);
        }
    }
}
