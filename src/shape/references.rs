//! Writes a schema's references out: what `boon` gets has none.

use serde_json::{Map, Value};

use super::{BadSchema, MAX_DEPTH, MAX_SCHEMA_VALUES};

/// References that nobody needs in a schema that stands alone.
const REFUSED: [&str; 3] = ["$dynamicRef", "$recursiveRef", "$id"];

/// The schema with each `{"$ref": "#/…"}` replaced by what it points to.
pub(super) fn written_out(schema: &Value) -> Result<Value, BadSchema> {
    let mut writer = Writer { whole: schema, left: MAX_SCHEMA_VALUES };
    let mut written = writer.write(schema, 0)?;
    if let Some(object) = written.as_object_mut() {
        object.shift_remove("$defs");
        object.shift_remove("definitions");
    }
    Ok(written)
}

struct Writer<'a> {
    whole: &'a Value,
    left: usize,
}

impl<'a> Writer<'a> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<Value, BadSchema> {
        // A schema goes two levels down for each of its documents'. What leads round in a circle ends here too.
        if depth > 2 * MAX_DEPTH || self.left == 0 {
            return Err(BadSchema::new("the schema is too deep or too large once its references are written out"));
        }
        self.left -= 1;
        match value {
            Value::Array(items) => items.iter().map(|item| self.write(item, depth + 1)).collect(),
            Value::Object(fields) => self.write_object(fields, depth),
            plain => Ok(plain.clone()),
        }
    }

    fn write_object(&mut self, fields: &Map<String, Value>, depth: usize) -> Result<Value, BadSchema> {
        let mut written = Map::new();
        for (name, value) in fields.iter().filter(|(name, value)| !(*name == "$ref" && value.is_string())) {
            if REFUSED.contains(&name.as_str()) && value.is_string() {
                return Err(BadSchema::new(format!("{name} is not taken: a schema stands alone")));
            }
            // Definitions appear where they are referred to.
            if depth == 0 && matches!(name.as_str(), "$defs" | "definitions") {
                continue;
            }
            written.insert(name.clone(), self.write(value, depth + 1)?);
        }
        let Some(reference) = fields.get("$ref").and_then(Value::as_str) else { return Ok(written.into()) };
        let target = self.write(self.find(reference)?, depth + 1)?;
        if written.is_empty() {
            return Ok(target);
        }
        match written.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(all) => all.push(target),
            _ => return Err(BadSchema::new("allOf is a list")),
        }
        Ok(written.into())
    }

    fn find(&self, reference: &str) -> Result<&'a Value, BadSchema> {
        let inside = reference.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        inside.and_then(|pointer| self.whole.pointer(pointer)).ok_or_else(|| {
            BadSchema::new(format!("$ref {reference:?} does not point into the schema itself; nothing is fetched"))
        })
    }
}
