//! All that a voice agent needs for its prompt, in one statement.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use super::{Intent, TenantConn, TenantError};
use crate::persona::{self, Configuration};
use crate::phone::CallerKey;

/// A caller, known or not, and the receptionist that answers.
#[derive(Debug, Serialize)]
pub struct Enriched {
    #[serde(flatten)]
    caller: Caller,
    agent: Agent,
}

/// As Postgres wrote it: nobody reads it on the way to the client.
#[derive(Debug, Serialize, Deserialize)]
struct Caller {
    user_id: Box<RawValue>,
    known: Box<RawValue>,
    quick_bio: Box<RawValue>,
    profile: Box<RawValue>,
    summaries: Box<RawValue>,
    memories: Box<RawValue>,
    personality: Box<RawValue>,
}

#[derive(Debug, Serialize)]
struct Agent {
    #[serde(flatten)]
    configuration: Configuration,
    version: i32,
    /// What the configuration comes to for a language model.
    prompt: String,
}

/// Reads it.
pub async fn enriched<I: Intent>(conn: TenantConn<'_, I>, caller: &CallerKey) -> Result<Enriched, TenantError> {
    let sql = "select jsonb_build_object(
        'user_id', $1::text,
        'known', p.user_id is not null,
        'quick_bio', coalesce(p.quick_bio, ''),
        'profile', coalesce(p.fields, '{}') || jsonb_build_object('name', p.name),
        'summaries', coalesce((select jsonb_agg(to_jsonb(x)) from (
            select id, summary, key_topics, created_at from call_summaries
            where user_id = $1 order by created_at desc, id desc limit 5) x), '[]'),
        'memories', coalesce((select jsonb_agg(to_jsonb(x)) from (
            select id, type, key, content, created_at from memories
            where user_id = $1 order by created_at desc, id desc limit 20) x), '[]'),
        'personality', coalesce((select averages from personality_averages where user_id = $1), '{}')), c.content, c.version
        from (select version, content from configurations order by version desc limit 1) c
        left join caller_profiles p on p.user_id = $1";
    let row = conn.query_one(sql, &[&caller.to_string()]).await?;
    let Json(caller) = row.try_get::<_, Json<Caller>>(0)?;
    let configuration = Configuration::stored(row.try_get::<_, Value>(1)?);
    let (version, prompt) = (row.try_get(2)?, persona::prompt(&configuration));
    Ok(Enriched { caller, agent: Agent { configuration, version, prompt } })
}
