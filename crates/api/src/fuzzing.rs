//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use crate::filters;
use crate::query::{Query, decode};

/// Reads what stands behind a path's question mark, and the path itself.
pub fn query(text: &str) {
    let query = Query::parse(Some(text));
    for name in ["filters", "t", "since", "all"] {
        let _ = (query.flag(name), query.number(name), query.time(name));
        if let Some(value) = query.get(name) {
            let _ = filters::parse(value);
        }
    }
    let _ = decode(text, false);
    let _ = filters::parse(text);
}
