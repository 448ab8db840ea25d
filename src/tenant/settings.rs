//! How a tenant's receptionist introduces itself.

use super::{TenantConn, TenantError, Write};

/// The settings that the first turn of a call needs.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it calls itself.
    pub agent_name: String,
    /// Said to unknown callers; `{agent_name}` is filled in.
    pub greeting: String,
    /// Said to known callers; `{caller_name}` too.
    pub greeting_known: String,
    /// BCP 47, as the provider wants it.
    #[serde(default = "english")]
    pub language: String,
    /// The provider's name of a voice; empty for its default.
    #[serde(default)]
    pub voice: String,
}

fn english() -> String {
    "en-US".to_owned()
}

/// Replaces them.
pub async fn put(conn: TenantConn<'_, Write>, new: &Settings) -> Result<(), TenantError> {
    let sql = "update settings set agent_name = $1, greeting = $2, greeting_known = $3, language = $4, voice = $5, updated_at = now()";
    conn.execute(sql, &[&new.agent_name, &new.greeting, &new.greeting_known, &new.language, &new.voice]).await?;
    Ok(())
}
