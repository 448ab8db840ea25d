//! Phone numbers and caller keys.
//!
//! The key is *structural* E.164: `+`, 7 to 15 digits, the first not 0. It is not a numbering-plan check, which would
//! refuse `+15551234567`. Numbers written the local way need the tenant's region; the `phonenumber` crate supplies each
//! region's country code, trunk prefix and lengths, and nothing else of it is used: its parser takes letters for digits.

use std::fmt;
use std::str::FromStr;

use phonenumber::metadata::DATABASE;

use crate::id::{InvalidId, Region};

const NOT_E164: InvalidId = InvalidId("not a phone number in E.164: + and 7 to 15 digits, as in +18005550100");
const NOT_A_NUMBER: InvalidId =
    InvalidId("not a phone number: + and 7 to 15 digits, or a local number of the tenant's region");

/// Loads the numbering plans now rather than with the first local number.
pub fn load() {
    let _ = DATABASE.by_id("US");
}

/// A phone number in E.164, such as `+18005550100`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// The text with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits without the `+`, as in a thread id.
    pub fn digits(&self) -> &str {
        self.0.trim_start_matches('+')
    }

    /// Reads a number as people of `region` write it, or in international form.
    ///
    /// Without a `+`: the trunk prefix and a national number (`0702245555` in KE, `15551234567` in US), or a national
    /// number of at most ten digits; everything else is an international number whose `+` was left out, as WhatsApp
    /// does (`254702245555`).
    pub fn parse(raw: &str, region: Region) -> Result<Self, InvalidId> {
        let raw = raw.trim();
        let raw = raw.strip_prefix("whatsapp:").unwrap_or(raw);
        if let Some(rest) = raw.strip_prefix('+') {
            return Self::international(&digits(rest)?);
        }
        let digits = digits(raw)?;
        let Some(plan) = DATABASE.by_id(region.as_str()) else { return Self::international(&digits) };
        let country = plan.country_code().to_string();
        let plans = [plan.descriptors().fixed_line(), plan.descriptors().mobile()];
        let national = |s: &str| {
            u16::try_from(s.len()).is_ok_and(|n| plans.iter().flatten().any(|plan| plan.possible_length().contains(&n)))
        };
        let bare_national = digits.len() <= 10 && national(&digits);
        let with_country = digits.strip_prefix(&country).is_some_and(national);
        match plan.national_prefix().filter(|trunk| !trunk.is_empty()) {
            Some(trunk) => {
                if let Some(rest) = digits.strip_prefix(trunk).filter(|rest| national(rest)) {
                    return Self::international(&format!("{country}{rest}"));
                }
                if bare_national && !with_country {
                    return Self::international(&format!("{country}{digits}"));
                }
            }
            // Where nothing is dialled before a national number, one may begin like the country's code.
            None if bare_national => return Self::international(&format!("{country}{digits}")),
            None => {}
        }
        Self::international(&digits)
    }

    fn international(digits: &str) -> Result<Self, InvalidId> {
        if (7..=15).contains(&digits.len()) && !digits.starts_with('0') {
            Ok(Self(format!("+{digits}")))
        } else {
            Err(NOT_A_NUMBER)
        }
    }
}

impl FromStr for PhoneNumber {
    type Err = InvalidId;
    /// Only the strict form: `+` and digits, nothing between.
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let digits = s.strip_prefix('+').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit())).ok_or(NOT_E164)?;
        Self::international(digits).map_err(|_| NOT_E164)
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Drops the separators people write between digits; anything else is refused, letters above all.
fn digits(raw: &str) -> Result<String, InvalidId> {
    raw.chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}'))
        .map(|c| if c.is_ascii_digit() { Ok(c) } else { Err(NOT_A_NUMBER) })
        .collect()
}

/// What carriers and Twilio put in the place of a withheld number: words as a keypad spells them, here RESTRICTED,
/// ANONYMOUS, BLOCKED, UNKNOWN, UNAVAILABLE and PRIVATE. In E.164's shape, and nobody's number.
const WITHHELD: [&str; 6] = ["+7378742833", "+266696687", "+2562533", "+8656696", "+86282452253", "+7748283"];

/// Who calls or writes, known per tenant: `user_id` on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CallerKey {
    /// A phone number.
    Phone(PhoneNumber),
    /// A WhatsApp user without a visible number, `wa:<user id>`.
    WhatsApp(String),
}

impl CallerKey {
    /// Reads what a client sent as `user_id`; a value that is neither a number nor another caller key is refused.
    pub fn parse(raw: &str, region: Region) -> Result<Self, InvalidId> {
        match raw.trim().strip_prefix("wa:") {
            Some(id)
                if (1..=64).contains(&id.len())
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) =>
            {
                Ok(Self::WhatsApp(id.to_owned()))
            }
            Some(_) => {
                Err(InvalidId("a WhatsApp caller is wa: and 1 to 64 letters, digits, dots, dashes or underscores"))
            }
            None => PhoneNumber::parse(raw, region).map(Self::Phone),
        }
    }

    /// The caller of a voice call, `None` for `anonymous`, `RESTRICTED`, `client:…`, `sip:…` and what spells them on a
    /// keypad: those are no shared key.
    pub fn from_voice(from: &str) -> Option<Self> {
        let number: PhoneNumber = from.parse().ok()?;
        (!WITHHELD.contains(&number.as_str())).then_some(Self::Phone(number))
    }
}

impl fmt::Display for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(number) => number.fmt(f),
            Self::WhatsApp(id) => write!(f, "wa:{id}"),
        }
    }
}

/// Where callers reach a tenant. Written `+18005550100`, or `whatsapp:106540352242922` on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Number {
    /// A dialled number.
    Phone(PhoneNumber),
    /// A `phone_number_id` of the WhatsApp Cloud API.
    WhatsApp(String),
}

impl Number {
    /// `phone` or `whatsapp`, as stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Phone(_) => "phone",
            Self::WhatsApp(_) => "whatsapp",
        }
    }

    /// The number or id, as stored.
    pub fn value(&self) -> &str {
        match self {
            Self::Phone(number) => number.as_str(),
            Self::WhatsApp(id) => id,
        }
    }

    /// Puts the two stored columns together again.
    pub fn from_parts(kind: &str, value: &str) -> Result<Self, InvalidId> {
        match kind {
            "phone" => value.parse().map(Self::Phone),
            "whatsapp" if (1..=32).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self::WhatsApp(value.to_owned()))
            }
            _ => Err(InvalidId("a number is +E.164, or whatsapp: and a phone_number_id of digits")),
        }
    }
}

impl FromStr for Number {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        match s.strip_prefix("whatsapp:") {
            Some(id) => Self::from_parts("whatsapp", id),
            None => Self::from_parts("phone", s),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(number) => number.fmt(f),
            Self::WhatsApp(id) => write!(f, "whatsapp:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str, region: &str) -> Option<String> {
        PhoneNumber::parse(raw, region.parse().unwrap()).ok().map(|n| n.to_string())
    }

    #[test]
    fn numbers_as_people_write_them() {
        for (raw, region, expected) in [
            ("(555) 123-4567", "US", "+15551234567"),
            ("15551234567", "US", "+15551234567"),
            ("+1 555 123 4567", "KE", "+15551234567"),
            ("0702245555", "KE", "+254702245555"),
            ("254702245555", "KE", "+254702245555"),
            ("254702245555", "US", "+254702245555"),
            ("whatsapp:+254702245555", "US", "+254702245555"),
            ("06 6982", "IT", "+39066982"),
            ("+39 06 6982", "US", "+39066982"),
            ("030 901820", "DE", "+4930901820"),
            ("3912345678", "IT", "+393912345678"),
            ("15551234567", "DE", "+15551234567"),
            ("612345678", "ES", "+34612345678"),
        ] {
            assert_eq!(parse(raw, region).as_deref(), Some(expected), "{raw} in {region}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for raw in [
            "",
            "+",
            "anonymous",
            "RESTRICTED",
            "client:bob",
            "+0123456789",
            "1-800-FLOWERS",
            "+1234567890123456",
            "12",
            "+1５551234567",
        ] {
            assert_eq!(parse(raw, "US"), None, "{raw}");
        }
        assert!("+1 555 123 4567".parse::<PhoneNumber>().is_err(), "the strict form has no separators");
        assert!(CallerKey::parse("wa:", "US".parse().unwrap()).is_err());
        assert!(CallerKey::parse("wa:a b", "US".parse().unwrap()).is_err());
        for withheld in ["anonymous", "RESTRICTED", "client:bob", "sip:a@b.example", "", "+266696687", "+7378742833"] {
            assert!(CallerKey::from_voice(withheld).is_none(), "{withheld}");
        }
        assert!(CallerKey::from_voice("+15551234567").is_some());
        assert!("whatsapp:12a".parse::<Number>().is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(raw in "\\PC{0,24}", region in "[A-Z]{2}") {
            let region: Region = region.parse().unwrap();
            if let Ok(number) = PhoneNumber::parse(&raw, region) {
                prop_assert_eq!(number.as_str().parse::<PhoneNumber>().unwrap(), number.clone());
                prop_assert_eq!(PhoneNumber::parse(number.as_str(), region).unwrap(), number);
            }
        }
    }
}
