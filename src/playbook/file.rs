//! A playbook's file, as its author writes it.

use serde::Deserialize;

use super::{Content, Name, Scenario, Urgency, Variable, check};
use crate::id::InvalidId;
use crate::shape::Fault;

/// The longest file.
const MAX_AUTHORED_BYTES: usize = 1_048_576;

/// Why a file is no playbook. For its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlaybook {
    /// It is longer than any playbook needs to be.
    #[error("a playbook's file has at most {MAX_AUTHORED_BYTES} bytes")]
    TooLong,
    /// It is no TOML, or its parts are not those of a playbook.
    #[error("{0}")]
    File(String),
    /// What it is called.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// What it says, place by place.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
}

/// What a file says. The fields after `about` are [`Content`]'s: serde cannot flatten and refuse what it does not know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    /// For people who choose one.
    #[serde(default)]
    about: String,
    scenarios: Vec<Scenario>,
    #[serde(default)]
    fillers: Vec<String>,
    #[serde(default)]
    urgency: Vec<Urgency>,
    #[serde(default)]
    variables: Vec<Variable>,
}

/// A playbook without a fault.
#[derive(Debug, Clone)]
pub struct Playbook {
    name: Name,
    about: String,
    authored: String,
    content: Content,
}

impl Playbook {
    /// Reads a TOML file and checks all of it.
    pub fn parse(authored: &str) -> Result<Self, BadPlaybook> {
        if authored.len() > MAX_AUTHORED_BYTES {
            return Err(BadPlaybook::TooLong);
        }
        let file: File = toml::from_str(authored).map_err(|error| BadPlaybook::File(error.to_string()))?;
        let File { name, about, scenarios, fillers, urgency, variables } = file;
        let content = Content { scenarios, fillers, urgency, variables };
        let faults = check::faults(&about, &content);
        if !faults.is_empty() {
            return Err(BadPlaybook::Faults(faults));
        }
        Ok(Self { name: name.parse()?, about, authored: authored.to_owned(), content })
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// For people who choose one.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The file.
    pub fn authored(&self) -> &str {
        &self.authored
    }

    /// What tenants clone.
    pub fn content(&self) -> &Content {
        &self.content
    }
}
