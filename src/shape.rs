//! What a JSON document must look like: a JSON Schema, made safe to take from somebody else.
//!
//! The validator is `boon`; this module decides what reaches it. Nothing is ever fetched: references point into the schema
//! itself, and are written out before it is compiled, so that one that leads round in a circle or grows without end is
//! refused and not followed. Regular expressions are those of the `regex` crate, which take time proportional to the text, and their
//! compiled size is limited. Documents are limited in size and depth.
//!
//! A newcomer's mistake is to print `boon`'s messages: they quote the document. Ours name the place and the rule.

mod faults;
mod references;

use boon::{Compiler, Draft, SchemaIndex, Schemas, UrlLoader};
use serde_json::Value;

pub use faults::Fault;

/// A schema with its references written out has at most so many values.
const MAX_SCHEMA_VALUES: usize = 4096;
/// Neither a schema nor a document is deeper.
pub const MAX_DEPTH: usize = 16;
/// The longest document, as compact JSON.
pub const MAX_DOCUMENT_BYTES: usize = 65_536;
/// A compiled regular expression: a few hundred characters of ordinary ones.
const MAX_PATTERN_BYTES: usize = 65_536;

/// Why a schema is not taken. For its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(String);

impl BadSchema {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A compiled schema.
pub struct Shape {
    schema: Value,
    compiled: Schemas,
    root: SchemaIndex,
}

impl Shape {
    /// Compiles a JSON Schema (draft 2020-12 unless it says another).
    pub fn compile(schema: &Value) -> Result<Self, BadSchema> {
        let schema = references::written_out(schema)?;
        check_patterns(&schema)?;
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler.use_loader(Box::new(Nothing));
        let (at, mut compiled) = ("urn:strowger:schema", Schemas::new());
        let said = |error: boon::CompileError| BadSchema(format!("not a JSON Schema: {error:#}"));
        compiler.add_resource(at, schema.clone()).map_err(said)?;
        let root = compiler.compile(at, &mut compiled).map_err(said)?;
        Ok(Self { schema, compiled, root })
    }

    /// The schema, its references written out.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Everything that is wrong with a document, each fault once and in the order of places; nothing if it fits.
    pub fn faults(&self, document: &Value) -> Vec<Fault> {
        if let Some(fault) = too_large(document) {
            return vec![fault];
        }
        match self.compiled.validate(document, self.root) {
            Ok(()) => Vec::new(),
            Err(error) => faults::of(&error),
        }
    }
}

/// What no document may be, whatever its schema; also for those without one.
pub fn too_large(document: &Value) -> Option<Fault> {
    if depth(document) > MAX_DEPTH {
        return Some(Fault::new("", format!("is nested deeper than {MAX_DEPTH}")));
    }
    let is_long = serde_json::to_vec(document).is_ok_and(|bytes| bytes.len() > MAX_DOCUMENT_BYTES);
    is_long.then(|| Fault::new("", format!("is longer than {MAX_DOCUMENT_BYTES} bytes")))
}

/// `boon` asks here for what it was not given.
struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, _: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err("nothing is fetched".into())
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Object(fields) => Box::new(fields.values()),
        Value::Array(items) => Box::new(items.iter()),
        _ => Box::new(std::iter::empty()),
    }
}

/// serde_json reads nothing deeper than 128, so recursion ends.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(_) | Value::Array(_) => 1 + children(value).map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn check_patterns(schema: &Value) -> Result<(), BadSchema> {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        check_pattern(pattern)?;
    }
    if let Some(Value::Object(patterns)) = schema.get("patternProperties") {
        patterns.keys().try_for_each(|pattern| check_pattern(pattern))?;
    }
    children(schema).try_for_each(check_patterns)
}

fn check_pattern(pattern: &str) -> Result<(), BadSchema> {
    let built = regex::RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
    built.map(drop).map_err(|error| BadSchema(format!("the pattern {pattern:?} is not taken: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> String {
        Shape::compile(schema).err().expect("it is refused").to_string()
    }

    #[test]
    fn faults_name_the_place_and_never_quote_the_document() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["name"],
            "properties": {
                "name": { "type": "string" }, "year": { "type": "integer" }, "side": { "enum": ["left", "right"] },
                "home": { "type": "object", "required": ["street"], "properties": { "built": { "type": "string", "format": "date" } } },
                "code": { "pattern": "^[a-z]+$" }
            }
        });
        let document =
            json!({ "year": "SECRET", "side": "SECRET", "home": { "built": "SECRET" }, "code": "SECRET", "x/y": 1 });
        let faults = Shape::compile(&schema).unwrap().faults(&document);
        let places: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/code", "/home/built", "/home/street", "/name", "/side", "/x~1y", "/year"], "{faults:?}");
        assert!(!format!("{faults:?}").contains("SECRET"), "{faults:?}");
    }

    #[test]
    fn references_are_local_and_end() {
        let local = json!({ "$defs": { "car": { "type": "object", "properties": { "year": { "type": "integer" } } } },
                            "properties": { "first": { "$ref": "#/$defs/car" }, "second": { "$ref": "#/$defs/car" } } });
        let faults =
            Shape::compile(&local).unwrap().faults(&json!({ "first": { "year": 1 }, "second": { "year": "x" } }));
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].pointer, "/second/year");
        for reference in ["https://example.com/schema", "file:///etc/passwd", "other.json", "#anchor", "#/$defs/none"] {
            refused(&json!({ "properties": { "x": { "$ref": reference } } }));
        }
        refused(&json!({ "properties": { "x": { "$ref": "#" } } }));
        refused(&json!({ "$schema": "https://example.com/meta" }));
        refused(&json!({ "$dynamicRef": "#x" }));
    }

    #[test]
    fn a_schema_that_grows_without_end_is_refused() {
        let mut defs = json!({ "d0": { "type": "string" } });
        for n in 1..30 {
            let below = json!({ "$ref": format!("#/$defs/d{}", n - 1) });
            defs[format!("d{n}")] = json!({ "properties": { "a": below, "b": below } });
        }
        refused(&json!({ "$defs": defs, "$ref": "#/$defs/d29" }));
        refused(&json!({ "properties": { "x": { "pattern": "(a{1000}){1000}" } } }));
        refused(&json!({ "patternProperties": { "(?=look)": {} } }));
    }

    #[test]
    fn documents_are_limited_whatever_the_schema() {
        let any = Shape::compile(&json!({})).unwrap();
        let deep = (0..=MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(any.faults(&deep).len(), 1);
        assert_eq!(any.faults(&json!({ "x": "x".repeat(MAX_DOCUMENT_BYTES) })).len(), 1);
        assert_eq!(any.faults(&json!({ "x": "x".repeat(MAX_DOCUMENT_BYTES - 8) })), []);
    }
}
