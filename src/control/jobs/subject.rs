//! What a job is about.

use super::ControlError;
use crate::control::keys::Ring;
use crate::id::TenantId;
use crate::phone::Number;

/// What a job is about; also the name of the lock under which it is carried out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub enum Subject {
    /// One tenant.
    Tenant(TenantId),
    /// One number.
    Number(Number),
    /// A signing key, by its id.
    Key(String),
    /// A ring of master keys.
    Ring(Ring),
    /// A cluster, by its name.
    Cluster(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant {id}"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::Key(kid) => write!(f, "key {kid}"),
            Self::Cluster(name) => write!(f, "cluster {name}"),
            Self::Ring(ring) => write!(f, "ring {}", ring.as_str()),
        }
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl std::str::FromStr for Subject {
    type Err = ControlError;
    fn from_str(text: &str) -> Result<Self, ControlError> {
        let unknown = || ControlError::Unknown(format!("job subject {text}"));
        match text.split_once(' ').ok_or_else(unknown)? {
            ("tenant", id) => Ok(Self::Tenant(id.parse().map_err(|_| unknown())?)),
            ("number", number) => Ok(Self::Number(number.parse().map_err(|_| unknown())?)),
            ("cluster", name) if !name.is_empty() => Ok(Self::Cluster(name.to_owned())),
            ("ring", ring) => Ok(Self::Ring(ring.parse()?)),
            ("key", kid) if !kid.is_empty() => Ok(Self::Key(kid.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl Subject {
    pub(super) fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(id) => Some(*id),
            Self::Number(_) | Self::Key(_) | Self::Ring(_) | Self::Cluster(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn a_subject_is_read_back_as_it_was_written() {
        for text in [
            "tenant 42",
            "number +18005550100",
            "number whatsapp:106540352242922",
            "key ed-1",
            "ring admin",
            "cluster eu-1",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for odd in ["", "tenant", "tenant 0", "tenant x", "number 5", "key ", "ring x", "thing 1"] {
            assert!(odd.parse::<Subject>().is_err(), "{odd}");
        }
    }
}
