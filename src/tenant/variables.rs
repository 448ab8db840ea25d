//! What a tenant's replies are filled with, and the rest of what it took from a playbook.

use serde_json::Value;

use super::{Intent, TenantConn, TenantError, Write};
use crate::playbook::{Variable, VariableKind};

/// The definitions of some variables; those that are not defined are left out.
pub async fn definitions<I: Intent>(conn: TenantConn<'_, I>, names: &[&str]) -> Result<Vec<Variable>, TenantError> {
    let sql = "select jsonb_build_object('name', name, 'label', label, 'type', kind, 'required', required,
                      'default', default_value) from variables where name = any($1)";
    let rows = conn.query(sql, &[&names]).await?;
    let parsed = rows.iter().map(|row| row.try_get::<_, tokio_postgres::types::Json<Variable>>(0).map(|json| json.0));
    Ok(parsed.collect::<Result<_, _>>()?)
}

/// Sets values; `None` takes one away. A name that is not defined yet becomes a text of the tenant's own.
pub async fn set(conn: TenantConn<'_, Write>, values: &[(&str, Option<&str>)]) -> Result<(), TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid() returning 1)
               insert into variables (name, value)
               select name, value from renewed, unnest($1::text[], $2::text[]) as new (name, value)
               on conflict (name) do update set value = excluded.value, updated_at = now()";
    let (names, values): (Vec<_>, Vec<_>) = values.iter().copied().unzip();
    conn.execute(sql, &[&names, &values]).await?;
    Ok(())
}

/// All of it but questions and scenarios, as clients read it.
pub async fn configuration<I: Intent>(conn: TenantConn<'_, I>) -> Result<Value, TenantError> {
    let sql = "select jsonb_build_object(
        'companyName', (select coalesce(value, default_value) from variables where name = 'companyName'),
        'templateId', (select template_id from cloned_from),
        'clonedFrom', (select template_id from cloned_from),
        'clonedVersion', (select version from cloned_from),
        'clonedAt', (select cloned_at from cloned_from),
        'variables', coalesce((select jsonb_object_agg(name, value) from variables where value is not null), '{}'),
        'variableDefinitions', coalesce((select jsonb_agg(jsonb_build_object('name', name, 'label', label, 'type', kind,
            'required', required, 'default', default_value, 'origin', origin) order by name) from variables), '[]'),
        'fillerWords', (select jsonb_build_object(
            'inherited', coalesce(jsonb_agg(word order by word) filter (where origin = 'inherited'), '[]'),
            'custom', coalesce(jsonb_agg(word order by word) filter (where origin = 'custom'), '[]')) from fillers),
        'urgencyKeywords', (select jsonb_build_object(
            'inherited', coalesce(jsonb_agg(jsonb_build_object('word', word, 'weight', weight) order by word)
                                  filter (where origin = 'inherited'), '[]'),
            'custom', coalesce(jsonb_agg(jsonb_build_object('word', word, 'weight', weight) order by word)
                               filter (where origin = 'custom'), '[]')) from urgency),
        'scenarios', (select count(*) from scenarios),
        'knowledge', (select count(*) from knowledge))";
    Ok(conn.query_one(sql, &[]).await?.try_get(0)?)
}

/// What a tenant has and lacks before callers are let in.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Required variables without a value.
    pub missing_variables: Vec<String>,
    /// Whether a number leads here.
    pub has_number: bool,
    /// Whether somebody has said how the receptionist introduces itself: its first configuration is everybody's.
    pub has_greeting: bool,
    /// Whether anything can be answered.
    pub has_knowledge: bool,
}

/// In one round trip.
pub async fn standing<I: Intent>(conn: TenantConn<'_, I>) -> Result<Standing, TenantError> {
    let sql = "select coalesce((select array_agg(name order by name) from variables
                                where required and coalesce(nullif(btrim(value), ''), default_value) is null), '{}'),
                      exists (select from numbers),
                      exists (select from configurations where version > 1),
                      exists (select from knowledge where enabled) or exists (select from scenarios where enabled)";
    let row = conn.query_one(sql, &[]).await?;
    Ok(Standing {
        missing_variables: row.try_get(0)?,
        has_number: row.try_get(1)?,
        has_greeting: row.try_get(2)?,
        has_knowledge: row.try_get(3)?,
    })
}

/// Whether a value fits what its variable is; undefined variables are texts.
pub fn fits(defined: &[Variable], name: &str, value: &str) -> bool {
    let kind = defined.iter().find(|variable| variable.name == name).map_or(VariableKind::Text, |v| v.kind);
    kind.admits(value)
}
