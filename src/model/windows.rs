//! Which layers see only a window of tokens, as config.json says.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "config.json comes from anywhere"
)]

use serde_json::Value;

use super::fields::Fields;
use crate::error::Result;

/// `sliding_window`, which may be null; `default` where it is missing.
pub(super) fn window(fields: &Fields, default: Option<usize>) -> Result<Option<usize>> {
    match fields.0.get("sliding_window") {
        None => Ok(default),
        Some(Value::Null) => Ok(None),
        Some(_) => fields.count("sliding_window", 1 << 31).map(Some),
    }
}

/// The window of each layer, where `use_sliding_window` says that there is one.
pub(super) fn windows(
    fields: &Fields,
    layers: usize,
    window: Option<usize>,
    is_sliding: &dyn Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    let window = if fields.flag_or("use_sliding_window", false)? { window } else { None };
    windows_by_type(fields, layers, window, is_sliding)
}

/// The window of each layer. `layer_types` names the layers that have it; without that, `is_sliding` knows them.
pub(super) fn windows_by_type(
    fields: &Fields,
    layers: usize,
    window: Option<usize>,
    is_sliding: &dyn Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    let Some(types) = fields.get("layer_types") else {
        return Ok((0..layers).map(|layer| window.filter(|_| is_sliding(layer))).collect());
    };
    let types = types.as_array().map(Vec::as_slice).unwrap_or_default();
    fields.check("layer_types", types.len() == layers, "expected a name for each of `num_hidden_layers`")?;
    let of = |name: &Value| match name.as_str() {
        Some("full_attention") => Ok(None),
        Some("sliding_attention") => {
            let reason = "it names sliding layers, but `sliding_window` or `use_sliding_window` gives them no window";
            fields.check("layer_types", window.is_some(), reason)?;
            Ok(window)
        }
        _ => Err(Fields::unsupported("layer_types", name)),
    };
    types.iter().map(of).collect()
}
