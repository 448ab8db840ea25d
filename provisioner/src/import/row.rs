//! One row of the source, judged: what it becomes, or why it cannot.
//!
//! Pure, so that whoever reads the same row comes to the same result: the pass that looks for doubles, the one that writes, and
//! the one that compares.

use aws_lc_rs::digest::{SHA256, digest};
use strowger::id::Region;
use strowger::phone::CallerKey;
use strowger::tenant::imports::{Absent, Field, Kind, Target};
use tokio_postgres::Row;
use uuid::{Builder, Uuid};

/// A row as it was read.
pub(super) struct Raw {
    /// What the tenant column says, if there is one.
    pub(super) tenant: Option<String>,
    /// Where it stands in the source, as long as the snapshot is open.
    pub(super) place: String,
    /// Its checksum.
    pub(super) sum: i64,
    /// Its fields, in the target's order.
    pub(super) values: Vec<Option<String>>,
}

impl Raw {
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            tenant: row.try_get(0)?,
            place: row.try_get(1)?,
            sum: row.try_get(2)?,
            values: (3..row.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>()?,
        })
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        self.values.iter().flatten().map(String::len).sum()
    }

    /// What people call the row by: its id, or else its caller.
    pub(super) fn name(&self) -> Option<&str> {
        self.values.first().and_then(|value| value.as_deref())
    }
}

/// What ids made of serial numbers depend on besides the number: the installation, the platform, the table.
pub(super) struct Origin<'a> {
    pub(super) installation: &'a str,
    pub(super) platform: &'a str,
    pub(super) table: &'a str,
}

/// The values as they are written, or why they cannot be.
pub(super) fn judge(
    target: &Target,
    raw: &Raw,
    origin: &Origin<'_>,
    region: Region,
) -> Result<Vec<Option<String>>, String> {
    target.fields.iter().zip(&raw.values).map(|(field, value)| one(field, value.as_deref(), origin, region)).collect()
}

fn one(field: &Field, value: Option<&str>, origin: &Origin<'_>, region: Region) -> Result<Option<String>, String> {
    let Some(value) = value else {
        return if field.absent == Absent::Refused { Err(format!("{} is empty", field.name)) } else { Ok(None) };
    };
    let good = match field.kind {
        Kind::Id => id(value, origin).to_string(),
        Kind::Caller => {
            CallerKey::parse(value, region).map_err(|error| format!("{}: {error}", field.name))?.to_string()
        }
        Kind::Text(Some(most)) if value.chars().count() > most => {
            return Err(format!("{} is longer than {most} characters", field.name));
        }
        Kind::Count => match value.parse::<i32>() {
            Ok(count) if count >= 0 => count.to_string(),
            _ => return Err(format!("{} is not a count", field.name)),
        },
        Kind::Moment if !is_of_calendar(value) => {
            return Err(format!("{} is no moment of the years up to 9999", field.name));
        }
        Kind::Text(_) | Kind::Moment | Kind::Object | Kind::Texts => value.to_owned(),
    };
    Ok(Some(good))
}

/// Whether a moment is one that the API can write. Infinity is none, nor what comes after the year 9999.
fn is_of_calendar(moment: &str) -> bool {
    moment.find('-') == Some(4)
}

/// A UUID is kept. Anything else becomes one that is the same whenever the same row is imported: version 8, made of a SHA-256.
fn id(value: &str, origin: &Origin<'_>) -> Uuid {
    if let Ok(uuid) = Uuid::parse_str(value) {
        return uuid;
    }
    let text = [origin.installation, origin.platform, origin.table, value].join("\n");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The combinations of values of which a tenant can have one, as fingerprints.
pub(super) fn identities(target: &Target, values: &[Option<String>]) -> Vec<u128> {
    let of = |name: &&str| {
        let at = target.fields.iter().position(|field| field.name == *name)?;
        values[at].as_deref()
    };
    let one = |names: &&[&str]| {
        let parts: Option<Vec<&str>> = names.iter().map(of).collect();
        Some(fingerprint(&format!("{}\n{}", names.join("\t"), parts?.join("\n"))))
    };
    target.unique.iter().filter_map(one).collect()
}

fn fingerprint(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    u128::from_be_bytes(bytes)
}

/// How new a row is: of two, the one with the greater answer stays. Among rows of one moment the higher id is the newer one.
pub(super) fn age(target: &Target, raw: &Raw) -> (String, usize, String, String) {
    let at = target.fields.iter().position(|field| field.name == target.newest);
    let moment = at.and_then(|at| raw.values[at].clone()).unwrap_or_default();
    let name = raw.name().unwrap_or_default();
    (moment, name.len(), name.to_owned(), raw.place.clone())
}

#[cfg(test)]
mod tests {
    use strowger::tenant::imports::TARGETS;

    use super::*;

    const MOMENT: &str = "2024-01-01T00:00:00.000000Z";
    const ORIGIN: Origin<'_> = Origin { installation: "sw", platform: "old", table: "public.memories" };

    fn raw(values: [Option<&str>; 6]) -> Raw {
        let values = values.map(|value| value.map(str::to_owned)).into();
        Raw { tenant: None, place: "1 (0,1)".into(), sum: 1, values }
    }

    fn judged(values: [Option<&str>; 6]) -> Result<Vec<Option<String>>, String> {
        judge(&TARGETS[0], &raw(values), &ORIGIN, "US".parse().unwrap())
    }

    #[test]
    fn what_cannot_be_imported_says_why() {
        let good = [Some("7"), Some("(555) 123-4567"), Some("general"), None, Some("x"), Some(MOMENT)];
        let row = judged(good).unwrap();
        assert_eq!(row[1].as_deref(), Some("+15551234567"));
        assert_eq!(row, judged(good).unwrap(), "the same row has the same id");
        let long = "x".repeat(65);
        for (at, value, said) in [
            (0, None, "id is empty"),
            (1, None, "user_id is empty"),
            (1, Some("anonymous"), "user_id: not a phone number"),
            (2, Some(long.as_str()), "type is longer than 64"),
            (4, None, "content is empty"),
            (5, Some("infinity"), "created_at is no moment"),
            (5, Some("-infinity"), "created_at is no moment"),
            (5, Some("10000-01-01T00:00:00.000000Z"), "created_at is no moment"),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert!(judged(bad).unwrap_err().starts_with(said), "{said}");
        }
    }

    #[test]
    fn ids_depend_on_where_they_come_from() {
        let other = Origin { platform: "other", ..ORIGIN };
        assert_ne!(id("7", &ORIGIN), id("7", &other));
        assert_ne!(id("7", &ORIGIN), id("8", &ORIGIN));
        assert_eq!(id("7", &ORIGIN).get_version_num(), 8);
        let kept = "9b2f0e0c-5a35-4f4c-8c8a-3f1f6f2a7c11";
        assert_eq!(id(kept, &ORIGIN).to_string(), kept);
    }

    #[test]
    fn callers_written_differently_are_one() {
        let of = |user, key| {
            let row = judged([Some("7"), Some(user), Some("t"), key, Some("x"), Some(MOMENT)]).unwrap();
            identities(&TARGETS[0], &row)
        };
        assert_eq!(of("5551234567", Some("k")), of("+1 555 123 4567", Some("k")));
        assert_ne!(of("5551234567", Some("k"))[1], of("5551234567", Some("l"))[1]);
        assert_eq!(of("5551234567", None).len(), 1, "without a key, only its id");
    }
}
