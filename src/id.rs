//! Identifiers, parsed once at the edge.
//!
//! A value of one of these types has been checked; nothing further in asks again. None of them derefs to a string, and
//! none can be made from one without parsing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it was taken for. Safe to show to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub(crate) &'static str);

/// One business: a positive `i32`, `customer_id` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct TenantId(i32);

impl TenantId {
    /// The number itself, for SQL parameters and JSON.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for TenantId {
    type Error = InvalidId;
    fn try_from(value: i32) -> Result<Self, InvalidId> {
        if value > 0 { Ok(Self(value)) } else { Err(InvalidId("a tenant id is a positive 32-bit integer")) }
    }
}

impl From<TenantId> for i32 {
    fn from(id: TenantId) -> i32 {
        id.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        s.parse::<i32>()
            .ok()
            .and_then(|n| n.try_into().ok())
            .ok_or(InvalidId("a tenant id is a positive 32-bit integer"))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 3166 region (`US`, `KE`): how a tenant's callers write local phone numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region([u8; 2]);

impl Region {
    /// The two capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

impl FromStr for Region {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        match s.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
            _ => Err(InvalidId("a region is two capital letters, as in US or KE")),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A provider's name for an account: `AC` and 32 hexadecimal digits at Twilio.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountSid(String);

impl AccountSid {
    /// The text as the provider writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountSid {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let tail = s.strip_prefix("AC").unwrap_or_default();
        if tail.len() == 32 && tail.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(s.to_owned()))
        } else {
            Err(InvalidId("a Twilio account is AC followed by 32 hexadecimal digits"))
        }
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The prefix that one installation puts before its role and database names.
///
/// Roles are cluster-wide and two installations may share a server, so every name in Postgres is made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The bare prefix, as stored in the control database.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// `sw_admin` and the like: a name of the installation, not of a tenant.
    pub fn name(&self, what: &str) -> String {
        format!("{}_{what}", self.0)
    }
    /// `sw_t42_a` and the like.
    pub fn tenant(&self, tenant: TenantId, what: &str) -> String {
        format!("{}_t{tenant}_{what}", self.0)
    }
    /// `sw_t42`: the database of a tenant that has one of its own.
    pub fn tenant_database(&self, tenant: TenantId) -> String {
        format!("{}_t{tenant}", self.0)
    }
}

impl FromStr for Prefix {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let good = s.len() <= 20
            && s.starts_with(|c: char| c.is_ascii_lowercase())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if good {
            Ok(Self(s.to_owned()))
        } else {
            Err(InvalidId("a prefix is up to 20 of a-z, 0-9, _ and starts with a letter"))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_positive() {
        for bad in ["0", "-1", "2147483648", "", "1 ", "x", "1.0"] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        assert_eq!("2147483647".parse::<TenantId>().unwrap().get(), i32::MAX);
    }

    #[test]
    fn names_in_postgres_begin_with_the_prefix() {
        let prefix: Prefix = "sw".parse().unwrap();
        let tenant: TenantId = "42".parse().unwrap();
        assert_eq!(prefix.tenant(tenant, "a"), "sw_t42_a");
        assert_eq!(prefix.tenant_database(tenant), "sw_t42");
        assert!("Sw".parse::<Prefix>().is_err() && "1a".parse::<Prefix>().is_err() && "a-b".parse::<Prefix>().is_err());
    }

    #[test]
    fn account_sids_have_their_shape() {
        assert!("AC00000000000000000000000000000001".parse::<AccountSid>().is_ok());
        assert!("AC1".parse::<AccountSid>().is_err());
        assert!("XX00000000000000000000000000000001".parse::<AccountSid>().is_err());
    }
}
