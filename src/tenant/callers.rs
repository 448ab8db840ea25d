//! What a tenant knows of the people who call it.

use serde_json::Value;

use super::{Intent, TenantConn, TenantError, Write};
use crate::phone::CallerKey;
use crate::profile::Profile;

fn from_row(row: &tokio_postgres::Row) -> Result<Profile, TenantError> {
    Ok(Profile { name: row.try_get("name")?, fields: row.try_get("fields")?, quick_bio: row.try_get("quick_bio")? })
}

/// A caller's profile; `None` for somebody who is not known.
pub async fn get<I: Intent>(conn: TenantConn<'_, I>, caller: &CallerKey) -> Result<Option<Profile>, TenantError> {
    let sql = "select name, fields, quick_bio from caller_profiles where user_id = $1";
    conn.query_opt(sql, &[&caller.to_string()]).await?.as_ref().map(from_row).transpose()
}

/// Replaces a caller's profile: name, fields and the line made of them at once.
pub async fn put(conn: TenantConn<'_, Write>, caller: &CallerKey, profile: &Profile) -> Result<(), TenantError> {
    let sql = "insert into caller_profiles (user_id, name, fields, quick_bio) values ($1, $2, $3, $4)
               on conflict (user_id) do update set name = excluded.name, fields = excluded.fields,
                   quick_bio = excluded.quick_bio, updated_at = now()";
    conn.execute(sql, &[&caller.to_string(), &profile.name, &profile.fields, &profile.quick_bio]).await?;
    Ok(())
}

/// Profiles by their callers' keys, in the order of these, after one of them.
pub async fn page<I: Intent>(
    conn: TenantConn<'_, I>,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, Profile)>, TenantError> {
    let sql =
        "select user_id, name, fields, quick_bio from caller_profiles where user_id > $1 order by user_id limit $2";
    let rows = conn.query(sql, &[&after, &limit]).await?;
    rows.iter().map(|row| Ok((row.try_get("user_id")?, from_row(row)?))).collect()
}

/// Writes the line about a caller anew, if the facts are still those that it was made of.
pub async fn set_bio(conn: TenantConn<'_, Write>, user_id: &str, of: &Profile) -> Result<(), TenantError> {
    let sql = "update caller_profiles set quick_bio = $4, updated_at = now()
               where user_id = $1 and name is not distinct from $2 and fields = $3 and quick_bio <> $4";
    let fields: &Value = &of.fields;
    conn.execute(sql, &[&user_id, &of.name, fields, &of.quick_bio]).await?;
    Ok(())
}
