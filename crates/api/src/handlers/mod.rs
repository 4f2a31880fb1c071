//! What each route does: read the request, ask the engine, shape the answer. No decisions.

pub(crate) mod absent;
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
        text.parse().map_err(|_| {
            Failure::bad_request(format!(
                "invalid resize {} {text:?}",
                if name == "h" { "height" } else { "width" }
            ))
        })
    };
    Ok((side("h")?, side("w")?))
}

/// Rows and columns as a body has them; zeros mean that they are not known.
fn console_size(size: Option<[u32; 2]>) -> Option<(u16, u16)> {
    let [rows, columns] = size?;
    let size = (u16::try_from(rows).ok()?, u16::try_from(columns).ok()?);
    (size != (0, 0)).then_some(size)
}
