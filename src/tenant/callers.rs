//! What a tenant knows of the people who call it.

use super::{TenantConn, TenantError, Write};
use crate::phone::CallerKey;

/// Sets a caller's name and the line that a voice agent is told first.
pub async fn put(
    conn: TenantConn<'_, Write>,
    caller: &CallerKey,
    name: &str,
    quick_bio: &str,
) -> Result<(), TenantError> {
    let sql = "insert into caller_profiles (user_id, name, quick_bio) values ($1, $2, $3)
               on conflict (user_id) do update set name = excluded.name, quick_bio = excluded.quick_bio, updated_at = now()";
    conn.execute(sql, &[&caller.to_string(), &name, &quick_bio]).await?;
    Ok(())
}
