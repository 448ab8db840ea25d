//! What several domains ask of a field.

use super::error::Problem;
use crate::phone::CallerKey;
use crate::tenant::page::{Cursor, Key};
use crate::tenant::{Intent, TenantDb};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;

/// Reads a `user_id` as people of the tenant's region write numbers.
pub(super) fn caller<I: Intent>(db: &TenantDb<I>, raw: &str) -> Result<CallerKey, Problem> {
    CallerKey::parse(raw, db.region()).map_err(|error| Problem::invalid(format!("user_id: {error}.")))
}

/// The longest page wanted.
pub(super) fn limit(wanted: Option<i64>) -> Result<i64, Problem> {
    let limit = wanted.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(Problem::invalid("limit: 1 to 500.")) }
}

/// Where the page before ended.
pub(super) fn cursor<K: Key>(text: Option<&str>) -> Result<Option<Cursor<K>>, Problem> {
    text.map(|text| Cursor::parse(text).ok_or_else(|| Problem::invalid("cursor: not one of ours."))).transpose()
}

/// 1 to `longest` characters.
pub(super) fn within(name: &str, text: &str, longest: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=longest).contains(&length) {
        Ok(())
    } else {
        Err(Problem::invalid(format!("{name}: 1 to {longest} characters.")))
    }
}
