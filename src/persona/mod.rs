//! How a tenant's receptionist introduces itself and speaks: its configuration, and the prompt that comes of it.
//!
//! A leaf, without IO. [`Configuration::check`] is the only way in for what a client wrote, and names every field that is wrong. What
//! was stored is read leniently: a field that another build added says nothing here, one that it did not know has its default.

mod hours;
mod patch;
mod prompt;
mod sliders;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::shape::{Fault, Shape};

pub use hours::{Exception, Hours, Span};
pub use patch::merge;
pub use prompt::prompt;
pub use sliders::{MIDDLE, SLIDERS, Slider, Sliders};

/// All that a tenant decides about its receptionist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// What it calls itself.
    pub agent_name: String,
    /// Said to unknown callers; `{agent_name}` is filled in.
    pub greeting: String,
    /// Said to known callers; `{caller_name}` too.
    pub greeting_known: String,
    /// BCP 47, as the provider wants it.
    pub language: String,
    /// Further languages that it may turn to.
    pub languages: Vec<String>,
    /// The provider's name of a voice; empty for its default.
    pub voice: String,
    /// Who it is, in the tenant's own words, for the model.
    pub personality: String,
    /// Its manner.
    pub sliders: Sliders,
    /// When the business is open; `None`: always.
    pub hours: Option<Hours>,
    /// Where a caller is connected with a person, E.164.
    pub escalation_number: Option<String>,
    /// Said when nothing else answers.
    pub fallback: String,
    /// Said outside of the hours instead of the greeting; empty: the greeting.
    pub after_hours: String,
    /// Whether a language model may be asked.
    pub model_allowed: bool,
    /// Whether callers only hear [`Self::disabled_sentence`].
    pub disabled: bool,
    /// Said while disabled; empty: the platform's sentence.
    pub disabled_sentence: String,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            agent_name: "your assistant".to_owned(),
            greeting: "Hello, this is {agent_name}. How can I help you?".to_owned(),
            greeting_known: "Hello {caller_name}, this is {agent_name}. How can I help you today?".to_owned(),
            language: "en-US".to_owned(),
            languages: Vec::new(),
            voice: String::new(),
            personality: String::new(),
            sliders: Sliders::default(),
            hours: None,
            escalation_number: None,
            fallback: "I'll connect you with someone who can help.".to_owned(),
            after_hours: String::new(),
            model_allowed: true,
            disabled: false,
            disabled_sentence: String::new(),
        }
    }
}

/// Compiled when first used. A test sees to it that it compiles.
static SHAPE: LazyLock<Option<Shape>> = LazyLock::new(|| Shape::compile(&schema()).ok());

/// The tenant's own word that a language model may be told what its callers say. Only a [`Configuration`] gives it, so nobody asks
/// a model without having read one.
#[derive(Debug, Clone, Copy)]
pub struct Consent(());

impl Configuration {
    /// Whether a language model may be told what callers say; `None`: it may not.
    pub fn consent(&self) -> Option<Consent> {
        self.model_allowed.then_some(Consent(()))
    }

    /// Reads what a client wrote, naming every field that is wrong. What is not said, or is `null`, has its default.
    pub fn check(mut document: Map<String, Value>) -> Result<Self, Vec<Fault>> {
        document.retain(|_, value| !value.is_null());
        let document = Value::Object(document);
        let cannot = || vec![Fault::new("", "cannot be checked")];
        let faults = SHAPE.as_ref().map_or_else(cannot, |shape| shape.faults(&document));
        if !faults.is_empty() {
            return Err(faults);
        }
        let read: Self =
            serde_json::from_value(document).map_err(|_| vec![Fault::new("", "does not fit a configuration")])?;
        let faults = read.hours.as_ref().map(Hours::faults).unwrap_or_default();
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// Reads what is stored.
    pub fn stored(document: Value) -> Self {
        serde_json::from_value(document).unwrap_or_default()
    }

    /// What a caller hears first at a moment; `None`: the platform's sentence, and nothing else.
    pub fn first_words(&self, caller_name: Option<&str>, at: OffsetDateTime) -> Option<String> {
        let is_closed = self.hours.as_ref().is_some_and(|hours| !hours.is_open(at));
        let text = match caller_name {
            _ if self.disabled => Some(&self.disabled_sentence).filter(|sentence| !sentence.is_empty())?.clone(),
            _ if is_closed && !self.after_hours.is_empty() => self.after_hours.clone(),
            Some(name) => self.greeting_known.replace("{caller_name}", name),
            None => self.greeting.clone(),
        };
        Some(text.replace("{agent_name}", &self.agent_name))
    }
}

/// What a configuration must look like, as a JSON Schema.
pub fn schema() -> Value {
    let text = |min: u32, max: u32| json!({ "type": "string", "minLength": min, "maxLength": max, "pattern": "^[^\\x00-\\x08\\x0b-\\x1f\\x7f]*$" });
    let language = json!({ "type": "string", "pattern": "^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}$" });
    let clock = json!({ "type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" });
    let closed = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let span = closed(json!({ "from": clock, "to": clock }), &["from", "to"]);
    let spans = json!({ "type": "array", "maxItems": 12, "items": span });
    let days: Map<String, Value> = hours::WEEKDAYS.map(|day| (day.to_owned(), spans.clone())).into_iter().collect();
    let exception = closed(json!({ "date": { "type": "string", "format": "date" }, "spans": spans }), &["date"]);
    let hours = closed(
        json!({ "time_zone": text(1, 64), "weekly": closed(days.into(), &[]),
                "exceptions": { "type": "array", "maxItems": 100, "items": exception } }),
        &["time_zone"],
    );
    let slider = json!({ "type": "integer", "minimum": 0, "maximum": 100 });
    let sliders: Map<String, Value> = SLIDERS.iter().map(|s| (s.name.to_owned(), slider.clone())).collect();
    let switch = json!({ "type": "boolean" });
    closed(
        json!({
            "agent_name": text(1, 100), "greeting": text(1, 1000), "greeting_known": text(1, 1000),
            "language": language, "languages": { "type": "array", "maxItems": 20, "uniqueItems": true, "items": language },
            "voice": text(0, 200), "personality": text(0, 8000), "sliders": closed(sliders.into(), &[]), "hours": hours,
            "escalation_number": { "type": "string", "pattern": "^\\+[1-9][0-9]{6,14}$" }, "fallback": text(1, 1000),
            "after_hours": text(0, 1000), "model_allowed": switch, "disabled": switch, "disabled_sentence": text(0, 1000)
        }),
        &[],
    )
}

#[cfg(test)]
mod tests;
