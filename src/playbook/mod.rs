//! What a playbook says: the scenarios, filler words, urgency keywords and variables that a business clones and makes its own.
//!
//! The same types are read from a playbook's file ([`Playbook`]), kept with a clone for three-way updates ([`merge`]), and spoken by
//! the routes of a company. A leaf: it knows what is said, not where it is stored.

mod check;
mod file;
pub mod limits;
pub mod merge;
mod name;
pub mod placeholders;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use file::{BadPlaybook, Playbook};
pub use name::Name;

/// The content of one version of a playbook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Answers to what callers may want.
    #[serde(default)]
    pub scenarios: Vec<Scenario>,
    /// Words and groups of words that mean nothing.
    #[serde(default)]
    pub fillers: Vec<String>,
    /// Words that make a call urgent.
    #[serde(default)]
    pub urgency: Vec<Urgency>,
    /// What replies are filled with.
    #[serde(default)]
    pub variables: Vec<Variable>,
}

/// One thing that callers may want, how they say it, and what they hear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Names it in its playbook, for good: an update is matched by it.
    pub key: String,
    /// For people.
    pub name: String,
    /// Groups scenarios for people.
    #[serde(default)]
    pub category: String,
    /// How callers say it.
    pub phrases: Vec<String>,
    /// What they hear: the first whose variables are all defined.
    pub replies: Vec<String>,
    /// Asked after the reply.
    #[serde(default, alias = "follow_up", skip_serializing_if = "Option::is_none")]
    pub follow_up: Option<String>,
    /// How it is said, for a model that words the reply anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<String>,
    /// What happens after the reply.
    #[serde(default)]
    pub hook: Hook,
    /// The higher one is taken of two that fit equally well.
    #[serde(default)]
    pub priority: i32,
    /// Whether it is answered at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// What happens after a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// The caller speaks next.
    #[default]
    None,
    /// The call goes to a person.
    Escalate,
    /// Times are offered.
    OfferScheduling,
    /// The caller's words are taken down.
    TakeMessage,
    /// The call ends.
    HangUp,
}

impl Hook {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Escalate => "escalate",
            Self::OfferScheduling => "offer_scheduling",
            Self::TakeMessage => "take_message",
            Self::HangUp => "hang_up",
        }
    }
}

/// A word or group of words that makes a call urgent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Urgency {
    /// The word.
    pub word: String,
    /// How much, 0 to 1.
    pub weight: f64,
}

/// A value that a business fills in once and replies name as `{name}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Letters, digits and `_`.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub label: String,
    /// What a value must look like.
    #[serde(default, rename = "type")]
    pub kind: VariableKind,
    /// Whether the business can go live without it.
    #[serde(default)]
    pub required: bool,
    /// Used until a value is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What a variable's value must look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableKind {
    /// Anything that can be said.
    #[default]
    Text,
    /// A decimal number, such as a price without its currency.
    Number,
    /// E.164 or a local form.
    Phone,
    /// `https://…`.
    Url,
    /// `name@host`.
    Email,
}

impl VariableKind {
    /// Whether `value` looks like one. An empty value is none.
    pub fn admits(self, value: &str) -> bool {
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        match self {
            Self::Text => true,
            Self::Number => value.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Phone => (5..=15).contains(&digits) && value.chars().all(|c| "+0123456789 ()-./".contains(c)),
            Self::Url => ["https://", "http://"].iter().any(|s| value.strip_prefix(s).is_some_and(|v| v.len() > 2)),
            Self::Email => value.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.')),
        }
    }
}

/// Whether `name` can be a variable's, and written as `{name}`.
pub fn is_variable(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
