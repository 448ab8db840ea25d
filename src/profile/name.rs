//! A template's name: what it is of, and its version.

use std::fmt;
use std::str::FromStr;

use crate::id::InvalidId;

/// `insurance_v1`: a template and its version. Versions of one template share what comes before `_v`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateName {
    family: String,
    version: i32,
}

impl TemplateName {
    /// What the versions share.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// 1, 2, 3 …
    pub fn version(&self) -> i32 {
        self.version
    }

    /// From the columns of a table.
    pub fn from_parts(family: &str, version: i32) -> Result<Self, InvalidId> {
        let is_shaped = family.starts_with(|c: char| c.is_ascii_lowercase())
            && family.len() <= 40
            && family.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_shaped && (1..=9999).contains(&version) {
            Ok(Self { family: family.to_owned(), version })
        } else {
            Err(InvalidId("a template's name is as insurance_v1: a-z, 0-9 and _, then _v and a number from 1 to 9999"))
        }
    }
}

impl FromStr for TemplateName {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (family, version) = text.rsplit_once("_v").unwrap_or((text, ""));
        let digits = Some(version).filter(|v| v.bytes().all(|b| b.is_ascii_digit()) && !v.starts_with('0'));
        Self::from_parts(family, digits.and_then(|v| v.parse().ok()).unwrap_or(0))
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_v{}", self.family, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_a_version() {
        for good in ["insurance_v1", "real_estate_v12", "a_v_v9999"] {
            assert_eq!(good.parse::<TemplateName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "insurance",
            "insurance_v",
            "insurance_v0",
            "insurance_v01",
            "_v1",
            "A_v1",
            "a_v10000",
            "a_v-1",
            "a b_v1",
        ] {
            assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
        }
    }
}
