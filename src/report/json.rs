//! Reports as JSON: the shapes in `report`, as they are. The schemas are published under `docs/reference/`.

use serde::Serialize;

/// Renders data as indented JSON with a final line end.
///
/// # Errors
/// The serializer's, for data that JSON cannot hold.
pub fn render<T: Serialize>(data: &T) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(data)?;
    text.push('\n');
    Ok(text)
}
