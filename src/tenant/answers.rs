//! All that a tenant can answer, read at once.

use std::collections::HashMap;

use serde::Deserialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError};
use crate::playbook::{Scenario, Urgency};

/// What is enabled of it.
#[derive(Debug, Deserialize)]
pub struct Corpus {
    /// The receptionist's configuration, as stored.
    pub configuration: serde_json::Value,
    /// The tenant's own.
    pub knowledge: Vec<Question>,
    /// From a playbook, or its own.
    pub scenarios: Vec<Identified>,
    /// Inherited and custom.
    pub fillers: Vec<String>,
    /// Inherited and custom; of a word with two weights the tenant's own.
    pub urgency: Vec<Urgency>,
    /// Values by name, blank ones left out.
    pub variables: HashMap<String, String>,
}

/// A question as it is compared.
#[derive(Debug, Deserialize)]
pub struct Question {
    /// Which.
    pub id: Uuid,
    /// The question first.
    pub phrases: Vec<String>,
    /// What is answered.
    pub answer: String,
    /// See [`crate::selector::Entry`].
    pub priority: i32,
}

/// A scenario and its id.
#[derive(Debug, Deserialize)]
pub struct Identified {
    /// Which.
    pub id: Uuid,
    /// What it says.
    pub scenario: Scenario,
}

/// A corpus as of these: of what is answered, and of how the receptionist is configured.
pub type Version = (Uuid, i32);

/// The version, and the corpus itself unless it is the `known` one. One statement, so the two belong together.
pub async fn load<I: Intent>(
    conn: TenantConn<'_, I>,
    known: Option<Version>,
) -> Result<(Version, Option<Corpus>), TenantError> {
    let sql =
        "select k.version, c.version, case when k.version is distinct from $1 or c.version is distinct from $2 then jsonb_build_object(
        'configuration', c.content,
        'knowledge', coalesce((select jsonb_agg(jsonb_build_object('id', id, 'phrases', array[question] || variants,
            'answer', answer, 'priority', priority)) from knowledge where enabled), '[]'),
        'scenarios', coalesce((select jsonb_agg(jsonb_build_object('id', id, 'scenario', jsonb_build_object(
            'key', key, 'name', name, 'category', category, 'phrases', phrases, 'replies', replies,
            'followUp', follow_up, 'behavior', behavior, 'hook', hook, 'priority', priority)))
            from scenarios where enabled), '[]'),
        'fillers', coalesce((select jsonb_agg(distinct word) from fillers), '[]'),
        'urgency', coalesce((select jsonb_agg(to_jsonb(u)) from (
            select distinct on (word) word, weight from urgency order by word, origin) u), '[]'),
        'variables', coalesce((select jsonb_object_agg(name, coalesce(nullif(btrim(value), ''), default_value))
            from variables where coalesce(nullif(btrim(value), ''), default_value) is not null), '{}')) end
        from knowledge_version k, (select version, content from configurations order by version desc limit 1) c";
    let (knowledge, configuration) = known.unzip();
    let row = conn.query_one(sql, &[&knowledge, &configuration]).await?;
    let corpus: Option<Json<Corpus>> = row.try_get(2)?;
    Ok(((row.try_get(0)?, row.try_get(1)?), corpus.map(|Json(corpus)| corpus)))
}
