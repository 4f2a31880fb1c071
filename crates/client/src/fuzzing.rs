//! Doors to what only this crate knows, for the fuzz targets in `fuzz/`.

use std::collections::BTreeMap;

use crate::container::{mounts, ports, values};
use crate::frames::Frames;
use crate::template::{Template, Type, Value, schema};

/// Reads a flag's value in every way that a flag has.
pub fn value(text: &str) {
    let _ = values::bytes(text);
    let _ = values::bytes_or_unlimited(text);
    let _ = values::nano_cpus(text);
    let _ = values::ulimit(text);
    let _ = mounts::mount(text);
    let _ = mounts::volume_flag(text);
    let _ = mounts::tmpfs_flag(&[text.to_owned()]);
    let _ = ports::publish(text, &mut BTreeMap::new(), &mut Default::default());
    let _ = ports::expose(text, &mut BTreeMap::new());
    let _ = crate::time::parse(text);
}

/// What a stream in frames has for standard output and error when it arrives in pieces of `size` bytes, and whether it was
/// one to its end.
pub fn frames(stream: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let (mut frames, mut out, mut err) = (Frames::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(size.max(1)) {
        if frames.write(piece, &mut out, &mut err).is_err() {
            return (out, err, false);
        }
    }
    (out, err, true)
}

/// Renders a template over a value.
pub fn template(text: &str, data: &serde_json::Value) {
    if let Ok(template) = Template::parse(text) {
        let _ = template.render_raw(data);
        let _ = template.render_heading(data);
        for strict in [false, true] {
            let _ = template.render(&Value::read(data, &schema::container::INSPECT), strict);
            let _ = template.render(&Value::row(data, &Type::Row("row")), strict);
        }
    }
}

/// Reads the keys that leave a terminal.
pub fn keys(text: &str) {
    let _ = crate::detach::scanner(text);
}
