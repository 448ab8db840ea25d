//! Runs that bring the fleet to a schema version, and what became of each tenant in them.
//!
//! `placements.schema_version` is a copy: the history in the tenant's own schema is the truth. Every change of the copy counts
//! the generation up, so servers drop pools and prepared statements of the old version.

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// At work; or its runner died: then its lock is free.
    Running,
    /// Somebody asked it to stop.
    Stopping,
    /// It stopped because it was asked to.
    Stopped,
    /// It came to its end, or to its failure budget, and some tenants failed.
    Failed,
    /// Every tenant is at the target.
    Done,
}

impl RunState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    fn parse(text: &str) -> Result<Self, ControlError> {
        [Self::Running, Self::Stopping, Self::Stopped, Self::Failed, Self::Done]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| ControlError::Unknown(format!("state {text} of a migration run")))
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// The version it brings tenants to.
    pub target: i32,
    /// How, as the fleet runner wrote it down.
    pub options: Value,
    /// Where it stands.
    pub state: RunState,
    /// Who ordered it.
    pub actor: String,
    /// When.
    pub started_at: OffsetDateTime,
    /// When its runner last came to an end.
    pub ended_at: Option<OffsetDateTime>,
}

/// How many tenants of a run are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// At the target.
    pub done: i64,
    /// Not tried yet, or not tried again yet.
    pub waiting: i64,
    /// Tried in vain.
    pub failed: i64,
}

/// A tenant of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Migration {
    /// Which.
    #[serde(rename = "customer_id")]
    pub tenant: TenantId,
    /// In which wave; 0 are the canaries.
    pub wave: i32,
    /// `waiting`, `done` or `failed`.
    pub state: String,
    /// Its version before.
    pub from: i32,
    /// Its version after the last attempt; `None` before the first.
    pub to: Option<i32>,
    /// How long the last attempt took.
    pub ms: Option<i32>,
    /// How often it was tried.
    pub attempts: i32,
    /// Why it failed.
    pub error: Option<String>,
}

/// A tenant that a run is to bring forward.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// Which.
    pub tenant: TenantId,
    /// In which wave.
    pub wave: i32,
    /// Its version, as control has it.
    pub from: i32,
}

/// What an attempt came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whose.
    pub tenant: TenantId,
    /// Its placement's, as it was read under the tenant's lock: with another one since, this is about another place or time.
    pub generation: i64,
    /// Its version, as its own history said.
    pub from: i32,
    /// Its version now.
    pub to: i32,
    /// How long it took.
    pub ms: i32,
    /// Which attempt it was.
    pub attempts: i32,
    /// Why the tenant is not at the target. Never a caller's words.
    pub error: Option<String>,
}

const RUN: &str = "select id, target, options, state, actor, started_at, ended_at from migration_runs";

fn run_from(row: &PgRow) -> Result<Run, ControlError> {
    Ok(Run {
        id: row.try_get("id")?,
        target: row.try_get("target")?,
        options: row.try_get("options")?,
        state: RunState::parse(row.try_get("state")?)?,
        actor: row.try_get("actor")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

/// The run of that number, or the newest.
pub async fn run(control: &Control, id: Option<i64>) -> Result<Option<Run>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{RUN} where id = coalesce($1, (select max(id) from migration_runs))"));
    sqlx::query(sql).bind(id).fetch_optional(control.pool()).await?.as_ref().map(run_from).transpose()
}

/// How many tenants of a run are where.
pub async fn counts(control: &Control, run: i64) -> Result<Counts, ControlError> {
    let sql = "select count(*) filter (where state = 'done'), count(*) filter (where state = 'waiting'),
                      count(*) filter (where state = 'failed') from migrations where run_id = $1";
    let (done, waiting, failed) = sqlx::query_as(sql).bind(run).fetch_one(control.pool()).await?;
    Ok(Counts { done, waiting, failed })
}

/// The tenants of a run in one state, or all.
pub async fn tenants(control: &Control, run: i64, state: Option<&str>) -> Result<Vec<Migration>, ControlError> {
    let sql = "select tenant_id, wave, state, from_version, to_version, ms, attempts, error from migrations
               where run_id = $1 and ($2::text is null or state = $2) order by wave, tenant_id";
    let rows = sqlx::query(sql).bind(run).bind(state).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(Migration {
                tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
                wave: row.try_get("wave")?,
                state: row.try_get("state")?,
                from: row.try_get("from_version")?,
                to: row.try_get("to_version")?,
                ms: row.try_get("ms")?,
                attempts: row.try_get("attempts")?,
                error: row.try_get("error")?,
            })
        })
        .collect()
}

/// Writes a new run down, with everything that it is to do.
pub async fn start(
    change: &mut Change,
    target: i32,
    options: &Value,
    planned: &[Planned],
) -> Result<i64, ControlError> {
    let sql = "insert into migration_runs (target, options, state, actor) values ($1, $2, 'running', $3) returning id";
    let actor = change.actor().to_owned();
    let id = sqlx::query_scalar(sql).bind(target).bind(options).bind(actor).fetch_one(change.conn()).await?;
    plan(change, id, planned).await?;
    let detail = json!({ "run": id, "target": target, "tenants": planned.len() });
    change.record("migration.start", None, detail).await?;
    Ok(id)
}

/// Takes a run up again with what is left to do. Whoever is not in `planned` is at the target by now.
pub async fn take_up(change: &mut Change, id: i64, planned: &[Planned]) -> Result<(), ControlError> {
    sqlx::query("update migration_runs set state = 'running', ended_at = null where id = $1")
        .bind(id)
        .execute(change.conn())
        .await?;
    let sql = "update migrations m set state = 'done', error = null, to_version = p.schema_version
               from placements p where m.run_id = $1 and m.state <> 'done' and p.tenant_id = m.tenant_id
                                       and p.schema_version >= (select target from migration_runs where id = $1)";
    sqlx::query(sql).bind(id).execute(change.conn()).await?;
    plan(change, id, planned).await?;
    change.record("migration.take_up", None, json!({ "run": id, "tenants": planned.len() })).await
}

async fn plan(change: &mut Change, id: i64, planned: &[Planned]) -> Result<(), ControlError> {
    let sql = "insert into migrations (run_id, tenant_id, wave, state, from_version)
               select $1, tenant, wave, 'waiting', version
               from unnest($2::int[], $3::int[], $4::int[]) as planned (tenant, wave, version)
               on conflict (run_id, tenant_id) do update set state = 'waiting', error = null";
    sqlx::query(sql)
        .bind(id)
        .bind(planned.iter().map(|p| p.tenant.get()).collect::<Vec<_>>())
        .bind(planned.iter().map(|p| p.wave).collect::<Vec<_>>())
        .bind(planned.iter().map(|p| p.from).collect::<Vec<_>>())
        .execute(change.conn())
        .await?;
    Ok(())
}

/// Writes down what attempts came to. Says where the run stands, since somebody may have asked it to stop, and whose attempts it wrote down.
///
/// A tenant whose placement has changed since it was read is left as it is: whoever tried may have lost its lock without knowing.
pub async fn note(
    change: &mut Change,
    run: i64,
    outcomes: &[Outcome],
) -> Result<(RunState, Vec<TenantId>), ControlError> {
    let sql = "update placements p set schema_version = reached.version,
                      generation = p.generation + (p.schema_version <> reached.version)::int
               from unnest($1::int[], $2::int[], $3::bigint[]) as reached (tenant, version, generation)
               where p.tenant_id = reached.tenant and p.generation = reached.generation
               returning p.tenant_id";
    let unchanged: Vec<i32> = sqlx::query_scalar(sql)
        .bind(outcomes.iter().map(|o| o.tenant.get()).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|o| o.to).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|o| o.generation).collect::<Vec<_>>())
        .fetch_all(change.conn())
        .await?;
    let noted: Vec<&Outcome> = outcomes.iter().filter(|o| unchanged.contains(&o.tenant.get())).collect();
    let sql = "update migrations m
               set state = case when o.error is null then 'done' else 'failed' end, error = o.error,
                   from_version = o.before, to_version = o.after, ms = o.ms, attempts = m.attempts + o.attempts
               from unnest($2::int[], $3::int[], $4::int[], $5::int[], $6::int[], $7::text[])
                    as o (tenant, before, after, ms, attempts, error)
               where m.run_id = $1 and m.tenant_id = o.tenant";
    sqlx::query(sql)
        .bind(run)
        .bind(noted.iter().map(|o| o.tenant.get()).collect::<Vec<_>>())
        .bind(noted.iter().map(|o| o.from).collect::<Vec<_>>())
        .bind(noted.iter().map(|o| o.to).collect::<Vec<_>>())
        .bind(noted.iter().map(|o| o.ms).collect::<Vec<_>>())
        .bind(noted.iter().map(|o| o.attempts).collect::<Vec<_>>())
        .bind(noted.iter().map(|o| o.error.clone()).collect::<Vec<_>>())
        .execute(change.conn())
        .await?;
    for outcome in &noted {
        let detail = json!({ "run": run, "from": outcome.from, "to": outcome.to, "failed": outcome.error.is_some() });
        change.record("tenant.migrate", Some(outcome.tenant), detail).await?;
    }
    let state: String =
        sqlx::query_scalar("select state from migration_runs where id = $1").bind(run).fetch_one(change.conn()).await?;
    Ok((RunState::parse(&state)?, noted.iter().map(|outcome| outcome.tenant).collect()))
}

/// Where a run stands.
pub async fn state(control: &Control, run: i64) -> Result<RunState, ControlError> {
    let sql = "select state from migration_runs where id = $1";
    RunState::parse(&sqlx::query_scalar::<_, String>(sql).bind(run).fetch_one(control.pool()).await?)
}

/// Asks a run that is at work to stop; `false` if it was not at work.
pub async fn ask_to_stop(change: &mut Change, run: i64) -> Result<bool, ControlError> {
    let sql = "update migration_runs set state = 'stopping' where id = $1 and state in ('running', 'stopping')";
    let done = sqlx::query(sql).bind(run).execute(change.conn()).await?;
    change.record("migration.stop", None, json!({ "run": run })).await?;
    Ok(done.rows_affected() > 0)
}

/// Says how a run ended.
pub async fn finish(change: &mut Change, run: i64, state: RunState) -> Result<(), ControlError> {
    sqlx::query("update migration_runs set state = $2, ended_at = now() where id = $1")
        .bind(run)
        .bind(state.as_str())
        .execute(change.conn())
        .await?;
    if state == RunState::Done {
        // They were moved out of the fleet while it was at work: deleted, for instance.
        let sql = "delete from migrations where run_id = $1 and state = 'waiting'";
        sqlx::query(sql).bind(run).execute(change.conn()).await?;
    }
    change.record("migration.end", None, json!({ "run": run, "state": state })).await
}

/// Corrects the copy of a tenant's version, unless its placement has changed since it was read; `false` then.
pub async fn correct(
    change: &mut Change,
    tenant: TenantId,
    generation: i64,
    from: i32,
    to: i32,
) -> Result<bool, ControlError> {
    let sql = "update placements set schema_version = $3, generation = generation + 1
               where tenant_id = $1 and generation = $2";
    let done = sqlx::query(sql).bind(tenant.get()).bind(generation).bind(to).execute(change.conn()).await?;
    change.record("tenant.schema_version", Some(tenant), json!({ "said": from, "is": to })).await?;
    Ok(done.rows_affected() > 0)
}
