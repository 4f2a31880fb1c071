//! Content trust. Nobody verifies signatures here, so whoever asks for that is refused.

use types::Reference;

use crate::failure::Failure;
use crate::parse::Parsed;

/// What is told.
const REFUSAL: &str = "content trust is asked for, and wharf verifies no signatures: unset DOCKER_CONTENT_TRUST, or give \
     --disable-content-trust";

/// Refuses a name whose signature would have to be looked at. A digest says itself what is meant.
///
/// # Errors
/// A sentence that `kind` makes a failure of.
pub(crate) fn refuse(
    parsed: &Parsed,
    reference: &Reference,
    kind: fn(String) -> Failure,
) -> Result<(), Failure> {
    let environment = std::env::var("DOCKER_CONTENT_TRUST").unwrap_or_default();
    let is_asked = is_asked(parsed.one("disable-content-trust"), &environment);
    match is_asked && reference.digest().is_none() {
        true => Err(kind(REFUSAL.to_owned())),
        false => Ok(()),
    }
}

/// As docker reads both: in the environment everything but a false word means that it is wanted.
fn is_asked(flag: Option<&str>, environment: &str) -> bool {
    match flag {
        Some(disabled) => disabled != "true",
        None => !environment.is_empty() && crate::number::boolean(environment).unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment() {
        for (flag, environment, asked) in [
            (None, "", false),
            (None, "1", true),
            (None, "yes", true),
            (None, "0", false),
            (Some("true"), "1", false),
            (Some("false"), "", true),
        ] {
            assert_eq!(
                is_asked(flag, environment),
                asked,
                "{flag:?} {environment:?}"
            );
        }
    }
}
