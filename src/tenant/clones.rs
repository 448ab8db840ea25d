//! What a tenant took from a playbook: read whole, and brought up to date in one statement.
//!
//! Between reading and writing somebody may change an answer. Whatever does renews `knowledge_version`, so a write that still
//! finds the version it was computed from overwrites nothing that nobody has seen, and any other writes nothing at all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError, Write};
use crate::playbook::merge::{Mine, Slot, State};
use crate::playbook::{Content, Scenario, Urgency, Variable};

/// What was cloned, and what it said then.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The playbook's name.
    pub name: String,
    /// Which version of it.
    pub version: i32,
    /// The old side of an update.
    pub content: Content,
}

/// A tenant's side of an update.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Changes with every change to what is answered.
    seen: Uuid,
    /// `None` before the first clone.
    pub origin: Option<Origin>,
    /// What it has.
    pub state: State,
}

/// The state as Postgres says it.
#[derive(Deserialize)]
struct Rows {
    scenarios: Vec<ScenarioRow>,
    fillers: BTreeSet<String>,
    urgency: Vec<Urgency>,
    variables: Vec<VariableRow>,
}

#[derive(Deserialize)]
struct ScenarioRow {
    scenario: Scenario,
    inherited: bool,
    edited: bool,
}

#[derive(Deserialize)]
struct VariableRow {
    name: String,
    definition: Option<Variable>,
    value: Option<String>,
}

impl From<Rows> for State {
    fn from(rows: Rows) -> Self {
        let scenario =
            |ScenarioRow { scenario, inherited, edited }| (scenario.key.clone(), Mine { scenario, inherited, edited });
        let variable = |VariableRow { name, definition, value }| (name, Slot { definition, value });
        Self {
            scenarios: rows.scenarios.into_iter().map(scenario).collect(),
            fillers: rows.fillers,
            urgency: rows.urgency.into_iter().map(|urgency| (urgency.word, urgency.weight)).collect(),
            variables: rows.variables.into_iter().map(variable).collect(),
        }
    }
}

/// The name of the playbook that was cloned last.
pub async fn name<I: Intent>(conn: TenantConn<'_, I>) -> Result<Option<String>, TenantError> {
    let row = conn.query_opt("select template_id from cloned_from", &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// All of it, in one round trip.
pub async fn load<I: Intent>(conn: TenantConn<'_, I>) -> Result<Taken, TenantError> {
    let sql = "select k.version, c.template_id, c.version, c.content, jsonb_build_object(
        'scenarios', coalesce((select jsonb_agg(jsonb_build_object('inherited', origin = 'inherited', 'edited', edited,
            'scenario', jsonb_build_object('key', key, 'name', name, 'category', category, 'phrases', phrases,
                'replies', replies, 'followUp', follow_up, 'behavior', behavior, 'hook', hook, 'priority', priority,
                'enabled', enabled))) from scenarios), '[]'),
        'fillers', coalesce((select jsonb_agg(word) from fillers where origin = 'inherited'), '[]'),
        'urgency', coalesce((select jsonb_agg(jsonb_build_object('word', word, 'weight', weight))
            from urgency where origin = 'inherited'), '[]'),
        'variables', coalesce((select jsonb_agg(jsonb_build_object('name', name, 'value', value,
            'definition', case origin when 'inherited' then jsonb_build_object('name', name, 'label', label, 'type', kind,
                'required', required, 'default', default_value) end)) from variables), '[]'))
        from knowledge_version k left join cloned_from c on true";
    let row = conn.query_one(sql, &[]).await?;
    let name: Option<String> = row.try_get(1)?;
    let origin = match name {
        Some(name) => {
            let Json(content) = row.try_get(3)?;
            Some(Origin { name, version: row.try_get(2)?, content })
        }
        None => None,
    };
    let Json(rows) = row.try_get::<_, Json<Rows>>(4)?;
    Ok(Taken { seen: row.try_get(0)?, origin, state: rows.into() })
}

/// Makes `after` of what was read, cloned from `from`; `false` if anything was changed meanwhile.
pub async fn store(
    conn: TenantConn<'_, Write>,
    read: &Taken,
    from: &Origin,
    after: &State,
) -> Result<bool, TenantError> {
    let (put, gone) = (put(&read.state, after), gone(&read.state, after));
    let row =
        conn.query_one(STORE, &[&read.seen, &from.name, &from.version, &json!(from.content), &put, &gone]).await?;
    Ok(row.try_get(0)?)
}

/// Whoever holds `renewed` is the only one who changes what is answered.
const STORE: &str = "
    with renewed as (
        update knowledge_version set version = gen_random_uuid() where version = $1 returning 1
    ), origin as (
        insert into cloned_from (template_id, version, content) select $2, $3, $4 from renewed
        on conflict (one_row) do update
        set template_id = excluded.template_id, version = excluded.version, content = excluded.content, cloned_at = now()
    ), fewer_scenarios as (
        delete from scenarios using renewed where key in (select jsonb_array_elements_text($6::jsonb->'scenarios'))
    ), more_scenarios as (
        insert into scenarios (key, name, category, phrases, replies, follow_up, behavior, hook, priority, enabled, origin, edited)
        select s.* from renewed, jsonb_to_recordset($5::jsonb->'scenarios') as s (key text, name text, category text,
            phrases text[], replies text[], \"followUp\" text, behavior text, hook text, priority integer, enabled boolean,
            origin text, edited boolean)
        on conflict (key) do update
        set name = excluded.name, category = excluded.category, phrases = excluded.phrases, replies = excluded.replies,
            follow_up = excluded.follow_up, behavior = excluded.behavior, hook = excluded.hook, priority = excluded.priority,
            enabled = excluded.enabled, origin = excluded.origin, edited = excluded.edited, updated_at = now()
    ), fewer_fillers as (
        delete from fillers using renewed
        where origin = 'inherited' and word in (select jsonb_array_elements_text($6::jsonb->'fillers'))
    ), more_fillers as (
        insert into fillers (word, origin)
        select word, 'inherited' from renewed, jsonb_array_elements_text($5::jsonb->'fillers') as word
    ), less_urgency as (
        delete from urgency using renewed
        where origin = 'inherited' and word in (select jsonb_array_elements_text($6::jsonb->'urgency'))
    ), more_urgency as (
        insert into urgency (word, weight, origin)
        select u.word, u.weight, 'inherited'
        from renewed, jsonb_to_recordset($5::jsonb->'urgency') as u (word text, weight double precision)
        on conflict (word, origin) do update set weight = excluded.weight
    ), fewer_variables as (
        delete from variables using renewed where name in (select jsonb_array_elements_text($6::jsonb->'variables'))
    ), more_variables as (
        insert into variables (name, label, kind, required, default_value, value, origin)
        select v.* from renewed, jsonb_to_recordset($5::jsonb->'variables') as v (name text, label text, type text,
            required boolean, \"default\" text, value text, origin text)
        on conflict (name) do update
        set label = excluded.label, kind = excluded.kind, required = excluded.required, default_value = excluded.default_value,
            value = excluded.value, origin = excluded.origin, updated_at = now()
    )
    select exists (select from renewed)";

fn origin(inherited: bool) -> &'static str {
    if inherited { "inherited" } else { "custom" }
}

/// Rows that are new or other than before.
fn put(before: &State, after: &State) -> Value {
    let scenarios = other(&before.scenarios, &after.scenarios).map(|(_, mine)| {
        let mut row = json!(mine.scenario);
        row["origin"] = origin(mine.inherited).into();
        row["edited"] = mine.edited.into();
        row
    });
    let variables = other(&before.variables, &after.variables).map(|(name, slot)| {
        let own = Variable { name: name.clone(), ..Variable::default() };
        let mut row = json!(slot.definition.as_ref().unwrap_or(&own));
        row["value"] = json!(slot.value);
        row["origin"] = origin(slot.definition.is_some()).into();
        row
    });
    json!({
        "scenarios": scenarios.collect::<Vec<_>>(),
        "fillers": after.fillers.difference(&before.fillers).collect::<Vec<_>>(),
        "urgency": other(&before.urgency, &after.urgency)
            .map(|(word, weight)| json!({ "word": word, "weight": weight })).collect::<Vec<_>>(),
        "variables": variables.collect::<Vec<_>>(),
    })
}

fn other<'s, T: PartialEq>(
    before: &'s BTreeMap<String, T>,
    after: &'s BTreeMap<String, T>,
) -> impl Iterator<Item = (&'s String, &'s T)> {
    after.iter().filter(|(name, one)| before.get(*name) != Some(one))
}

/// The names of rows that are no more.
fn gone(before: &State, after: &State) -> Value {
    fn less<'s, T>(before: &'s BTreeMap<String, T>, after: &BTreeMap<String, T>) -> Vec<&'s String> {
        before.keys().filter(|name| !after.contains_key(*name)).collect()
    }
    json!({
        "scenarios": less(&before.scenarios, &after.scenarios),
        "fillers": before.fillers.difference(&after.fillers).collect::<Vec<_>>(),
        "urgency": less(&before.urgency, &after.urgency),
        "variables": less(&before.variables, &after.variables),
    })
}
