//! The shorthand in which people write a template's fields, and the JSON Schema that it means.
//!
//! ```toml
//! [fields]
//! name = "text*"                      # required
//! contact_method = "email|phone|text" # one of these words
//! [fields.family]                     # an object; "family*" makes it required
//! birthdays = "array[date]"
//! ```
//!
//! Every length is limited and every field is named: one that a template does not know is a typing mistake of its client.

use serde_json::{Map, Value, json};

/// What a caller says of himself in one field.
const MAX_TEXT_CHARS: u32 = 1000;
const MAX_ITEMS: u32 = 100;

/// Why a line of shorthand is not understood. For its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {why}")]
pub struct BadField {
    field: String,
    why: &'static str,
}

const TYPES: &str = "a type is text, int, number, float, boolean, date, amount, words between |, or array[…] of one of them; * behind it \
                     means required";

/// The JSON Schema of an object with these fields.
pub fn schema(fields: &Map<String, Value>) -> Result<Value, BadField> {
    object(fields, "")
}

fn object(fields: &Map<String, Value>, within: &str) -> Result<Value, BadField> {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, meaning) in fields {
        let (name, starred) = starred(key);
        let path = if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
        if !is_name(name) {
            return Err(BadField { field: path, why: "a field's name is up to 60 of a-z, 0-9 and _, a letter first" });
        }
        let (meaning, is_required) = match meaning {
            Value::String(text) => typed(text).ok_or_else(|| BadField { field: path.clone(), why: TYPES })?,
            Value::Object(inner) => (object(inner, &path)?, false),
            _ => return Err(BadField { field: path, why: TYPES }),
        };
        if properties.insert(name.to_owned(), meaning).is_some() {
            return Err(BadField { field: path, why: "it is there twice" });
        }
        if starred || is_required {
            required.push(name.to_owned());
        }
    }
    Ok(json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }))
}

fn starred(text: &str) -> (&str, bool) {
    text.strip_suffix('*').map_or((text, false), |rest| (rest, true))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 60
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A type, and whether the field must be there.
fn typed(text: &str) -> Option<(Value, bool)> {
    let (text, required) = starred(text.trim());
    let item = text.strip_prefix("array[").and_then(|rest| rest.strip_suffix(']'));
    let mut meaning = match item {
        Some(item) => json!({ "type": "array", "maxItems": MAX_ITEMS, "items": single(item.trim())? }),
        None => single(text)?,
    };
    // Who must say his name has not said it with nothing.
    if required && meaning["maxLength"].is_u64() {
        meaning["minLength"] = 1.into();
    }
    Some((meaning, required))
}

fn single(text: &str) -> Option<Value> {
    Some(match text {
        "text" => json!({ "type": "string", "maxLength": MAX_TEXT_CHARS }),
        "int" => json!({ "type": "integer" }),
        "number" | "float" => json!({ "type": "number" }),
        "boolean" => json!({ "type": "boolean" }),
        "date" => json!({ "type": "string", "format": "date" }),
        // Clients write 500000 as well as "$500K".
        "amount" => json!({ "type": ["number", "string"], "maxLength": MAX_TEXT_CHARS }),
        words => json!({ "enum": alternatives(words)? }),
    })
}

fn alternatives(text: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = text.split('|').map(str::trim).collect();
    let good = |word: &&str| (1..=60).contains(&word.len()) && !word.contains(['[', ']', '*']);
    let distinct = words.iter().enumerate().all(|(i, word)| !words[..i].contains(word));
    (words.len() >= 2 && words.iter().all(good) && distinct).then_some(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shape::Shape;

    fn of(text: &str) -> Result<Value, BadField> {
        schema(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn every_type_means_a_schema_that_holds_documents_to_it() {
        let fields = r#"{ "name": "text*", "year": "int", "size": "float", "is_in": "boolean", "since": "date", "budget": "amount",
                          "by": "email|phone", "born": "array[date]", "home*": { "street": "text*", "rooms": "number" } }"#;
        let shape = Shape::compile(&of(fields).unwrap()).unwrap();
        let good = json!({ "name": "x", "year": 1, "size": 1.5, "is_in": true, "since": "2020-02-29", "budget": "$5", "by": "email",
                           "born": ["2001-01-01"], "home": { "street": "y", "rooms": 2 } });
        assert_eq!(shape.faults(&good), []);
        let bad = json!({ "name": "", "year": 1.5, "size": "1", "is_in": "yes", "since": "2021-02-29", "budget": [], "by": "mail",
                          "born": ["x"], "home": { "rooms": "2" }, "more": 1 });
        let places: Vec<String> = shape.faults(&bad).into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(
            places,
            [
                "/born/0",
                "/budget",
                "/by",
                "/home/rooms",
                "/home/street",
                "/is_in",
                "/more",
                "/name",
                "/since",
                "/size",
                "/year"
            ]
        );
        assert_eq!(shape.faults(&json!({})).len(), 2, "name and home");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, field) in [
            (r#"{ "x": "string" }"#, "x"),
            (r#"{ "a": { "b": "array[array[text]]" } }"#, "a.b"),
            (r#"{ "x": 5 }"#, "x"),
            (r#"{ "X": "text" }"#, "X"),
            (r#"{ "x": "a||b" }"#, "x"),
            (r#"{ "x": "a|a" }"#, "x"),
            (r#"{ "x": "text", "x*": "text" }"#, "x"),
            (r#"{ "": "text" }"#, ""),
        ] {
            assert_eq!(of(text).unwrap_err().field, field, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_schema_that_compiles_or_is_refused(name in "[a-z*_A-Z]{0,6}", text in "(text|int|array\\[|\\]|\\*|\\||[a-z]{1,3}){0,6}") {
            let fields = Map::from_iter([(name, Value::from(text))]);
            if let Ok(schema) = schema(&fields) {
                prop_assert!(Shape::compile(&schema).is_ok());
            }
        }

        #[test]
        fn a_words_type_takes_its_words_and_no_other(words in proptest::collection::btree_set("[a-z]{1,8}", 2..6), other in "[A-Z]{1,8}") {
            let words: Vec<String> = words.into_iter().collect();
            let shape = Shape::compile(&schema(&Map::from_iter([("x".to_owned(), words.join("|").into())])).unwrap()).unwrap();
            for word in &words {
                prop_assert_eq!(shape.faults(&json!({ "x": word })), []);
            }
            prop_assert_eq!(shape.faults(&json!({ "x": other })).len(), 1);
        }
    }
}
