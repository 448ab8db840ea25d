//! What a playbook is called.

use std::fmt;
use std::str::FromStr;

use crate::id::InvalidId;

/// `universal`: lower-case letters, digits and `_`, a letter first, at most 40 of them. `templateId` to clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Name(String);

impl Name {
    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if is_word(text, 40) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId("a playbook's name is a letter a-z, then a-z, 0-9 and _, at most 40 of them"))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names and keys are such words.
pub(super) fn is_word(text: &str, most: usize) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= most
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
