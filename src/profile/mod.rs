//! Profile templates: which facts a trade keeps of a caller, and how a line about the caller is made of them.
//!
//! A leaf, without IO. A template is a file that somebody wrote, in [`shorthand`] or as a JSON Schema, with a [`bio`] rule. The
//! code knows no trade: what an insurance agency or a music shop asks for stands in `ops/profiles/` and in the control
//! database. Whatever was read with [`Template::parse`] can be trusted: it fetches nothing and ends.

pub mod bio;
mod name;
pub mod shorthand;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::shape::{self, BadSchema, Fault, Shape};

pub use name::TemplateName;

/// The longest file.
const MAX_AUTHORED_BYTES: usize = 65_536;
/// What an answer says beside the fields, so that no field can be called so.
pub const RESERVED: [&str; 4] = ["customer_id", "user_id", "quick_bio", "template"];
/// The longest name, as the greeting says it.
const MAX_NAME_CHARS: usize = 200;

/// Why a file is no template. For its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// It is longer than any template needs to be.
    #[error("a template's file has at most {MAX_AUTHORED_BYTES} bytes")]
    TooLong,
    /// It is neither TOML nor JSON, or its parts are not those of a template.
    #[error("{0}")]
    File(String),
    /// A field in shorthand.
    #[error(transparent)]
    Field(#[from] shorthand::BadField),
    /// The JSON Schema.
    #[error(transparent)]
    Schema(#[from] BadSchema),
    /// The quick-bio rule.
    #[error(transparent)]
    Bio(#[from] bio::BadRule),
}

/// What a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    /// For people who choose one.
    #[serde(default)]
    about: String,
    fields: Option<Map<String, Value>>,
    schema: Option<Value>,
    bio: Vec<String>,
}

/// A template, ready to be used.
pub struct Template {
    name: TemplateName,
    about: String,
    authored: String,
    shape: Shape,
    bio: bio::Rule,
}

impl Template {
    /// Reads a file: JSON if it begins with a brace, else TOML.
    pub fn parse(authored: &str) -> Result<Self, BadTemplate> {
        if authored.len() > MAX_AUTHORED_BYTES {
            return Err(BadTemplate::TooLong);
        }
        let file: File = if authored.trim_start().starts_with('{') {
            serde_json::from_str(authored).map_err(|error| BadTemplate::File(error.to_string()))?
        } else {
            toml::from_str(authored).map_err(|error| BadTemplate::File(error.to_string()))?
        };
        let name = file.name.parse().map_err(|error: crate::id::InvalidId| BadTemplate::File(error.to_string()))?;
        let schema = match (file.fields, file.schema) {
            (Some(fields), None) => shorthand::schema(&fields)?,
            (None, Some(schema)) => schema,
            _ => return Err(BadTemplate::File("a template has either [fields] or a schema".to_owned())),
        };
        let shape = Shape::compile(&schema)?;
        if let Some(name) = RESERVED.iter().find(|name| !shape.schema()["properties"][**name].is_null()) {
            return Err(BadTemplate::File(format!(
                "no field can be called {name}: answers say that beside the fields"
            )));
        }
        Ok(Self { name, about: file.about, authored: authored.to_owned(), shape, bio: bio::Rule::parse(file.bio)? })
    }

    /// Its name and version.
    pub fn name(&self) -> &TemplateName {
        &self.name
    }

    /// What it says of itself.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The file it was read from.
    pub fn authored(&self) -> &str {
        &self.authored
    }

    /// The fields as a JSON Schema.
    pub fn schema(&self) -> &Value {
        self.shape.schema()
    }

    /// The parts of its quick-bio rule.
    pub fn bio_rule(&self) -> &[String] {
        self.bio.parts()
    }
}

/// What is kept of a caller: checked, and with the line that was made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What the caller is called, if that is known.
    pub name: Option<String>,
    /// All else.
    pub fields: Value,
    /// The line about the caller.
    pub quick_bio: String,
}

impl Profile {
    /// Checks fields against a tenant's template; without one, only that they are not too large.
    ///
    /// A `null` is a fact that is not known, as if it were not there.
    pub fn check(template: Option<&Template>, fields: Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut whole = Value::Object(fields);
        drop_nulls(&mut whole);
        let mut faults = match template {
            Some(template) => template.shape.faults(&whole),
            None => shape::too_large(&whole).into_iter().collect(),
        };
        let name = match whole.get("name") {
            None => None,
            Some(Value::String(name)) if is_a_name(name) => Some(name.clone()),
            Some(_) if faults.iter().any(|fault| fault.pointer == "/name") => None,
            Some(_) => {
                faults.push(Fault::new(
                    "/name",
                    format!("must be a text of 1 to {MAX_NAME_CHARS} characters, on one line"),
                ));
                None
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let quick_bio = match template {
            Some(template) => template.bio.bio(&whole),
            None => bio::one_line(name.as_deref().unwrap_or_default()),
        };
        if let Some(fields) = whole.as_object_mut() {
            fields.shift_remove("name");
        }
        Ok(Self { name, fields: whole, quick_bio })
    }

    /// The fields with the name among them, as [`Self::check`] takes them.
    pub fn whole(name: Option<&str>, fields: Value) -> Map<String, Value> {
        let mut whole = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        if let Some(name) = name {
            whole.insert("name".to_owned(), name.into());
        }
        whole
    }
}

/// It is said in greetings and stands in prompts.
fn is_a_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
