//! All that a voice agent needs for its prompt, in one statement.

use serde_json::{Value, json};

use super::{Intent, TenantConn, TenantError};
use crate::persona::{self, Configuration};
use crate::phone::CallerKey;

/// Reads it as JSON, the caller known or not.
pub async fn enriched<I: Intent>(conn: TenantConn<'_, I>, caller: &CallerKey) -> Result<Value, TenantError> {
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
        'personality', coalesce((select averages from personality_averages where user_id = $1), '{}'),
        'agent', c.content), c.version
        from (select version, content from configurations order by version desc limit 1) c
        left join caller_profiles p on p.user_id = $1";
    let row = conn.query_one(sql, &[&caller.to_string()]).await?;
    let mut context: Value = row.try_get(0)?;
    let configuration = Configuration::stored(context["agent"].take());
    let mut agent = json!(configuration);
    agent["version"] = row.try_get::<_, i32>(1)?.into();
    agent["prompt"] = persona::prompt(&configuration).into();
    context["agent"] = agent;
    Ok(context)
}
