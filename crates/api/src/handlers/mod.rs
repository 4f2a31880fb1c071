//! What each route does: read the request, ask the engine, shape the answer. No decisions.

pub(crate) mod absent;
pub(crate) mod archive;
pub(crate) mod containers;
pub(crate) mod exec;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod system;
pub(crate) mod volumes;

use crate::call::Call;
use crate::failure::Failure;
use crate::reply::Reply;

/// What every handler returns.
pub(crate) type Handled = Result<Reply, Failure>;

/// Rows and columns of a terminal, from the query.
fn terminal_size(call: &Call) -> Result<(u16, u16), Failure> {
    let side = |name: &str| -> Result<u16, Failure> {
        let text = call.query.get(name).unwrap_or("");
        let invalid = |reason: &str| {
            Failure::bad_request(format!(
                "invalid resize {} {text:?}: {reason}",
                if name == "h" { "height" } else { "width" }
            ))
        };
        match text.parse::<i64>() {
            Ok(number) if u32::try_from(number).is_ok() => {
                // The kernel's sizes have 16 bits.
                Ok(u16::try_from(number).unwrap_or(u16::MAX))
            }
            Ok(_) => Err(invalid("value out of range")),
            Err(error) if is_overflow(&error) => Err(invalid("value out of range")),
            Err(_) => Err(invalid("invalid syntax")),
        }
    };
    Ok((side("h")?, side("w")?))
}

fn is_overflow(error: &std::num::ParseIntError) -> bool {
    use std::num::IntErrorKind;
    matches!(
        error.kind(),
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow
    )
}

/// Rows and columns as a body has them; zeros mean that they are not known.
fn console_size(size: Option<[u32; 2]>) -> Option<(u16, u16)> {
    let [rows, columns] = size?;
    let size = (u16::try_from(rows).ok()?, u16::try_from(columns).ok()?);
    (size != (0, 0)).then_some(size)
}
