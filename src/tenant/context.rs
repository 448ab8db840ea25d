//! All that a voice agent needs for its prompt, in one statement.

use serde_json::Value;

use super::{Intent, TenantConn, TenantError};
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
        'agent', jsonb_build_object('agent_name', s.agent_name, 'greeting', s.greeting, 'language', s.language, 'voice', s.voice))
        from settings s left join caller_profiles p on p.user_id = $1";
    Ok(conn.query_one(sql, &[&caller.to_string()]).await?.try_get(0)?)
}
