//! Durable work: promises that outlive the process that made them.
//!
//! The rules that must hold: an item is enqueued before what it came from is acknowledged; it exists once for its source; only
//! who holds its lease says how it ended; a tenant that piles up work waits for itself and not others for it.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{Sealed, WorkPayload};

/// Sessions that claim work carry this and the instance's name as their `application_name`.
pub const WORKER_PREFIX: &str = "work ";

/// How many items of one tenant are worked on at once, on all servers together.
pub const IN_FLIGHT_PER_TENANT: i64 = 2;

/// After so many attempts an item is dead until an operator retries it.
pub const MAX_ATTEMPTS: i32 = 10;

/// How long a lease lasts, in seconds; whoever works on an item gives up before.
pub const LEASE_S: i32 = 120;

/// How long what is done is remembered, so that a late repetition of its source does not begin it anew, in days.
const KEPT_DAYS: i32 = 7;

/// The row that a payload is sealed for.
pub fn row(kind: &str, source_id: &str) -> String {
    format!("{kind} {source_id}")
}

/// Queues an item; one that is there already stays as it is, whatever became of it.
pub async fn enqueue(
    control: &Control,
    tenant: TenantId,
    kind: &str,
    source_id: &str,
    sealed: &Sealed<WorkPayload>,
) -> Result<(), ControlError> {
    let sql = "with turn as (insert into work_turns (tenant_id) values ($1) on conflict do nothing)
               insert into work_items (tenant_id, kind, source_id, sealed) values ($1, $2, $3, $4) on conflict do nothing";
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(kind)
        .bind(source_id)
        .bind(sealed.as_bytes())
        .execute(control.pool())
        .await?;
    Ok(())
}

/// A leased item: proof that its tenant has work, made by [`claim`] alone.
pub struct Claimed {
    id: i64,
    tenant: TenantId,
    /// What kind of work.
    pub kind: String,
    /// What it came from.
    pub source_id: String,
    /// What to do.
    pub sealed: Sealed<WorkPayload>,
    /// This one among them.
    pub attempts: i32,
}

impl Claimed {
    /// Its key, for the log.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }
}

/// Leases the next item of these kinds to `holder`: of the served tenants that have due work and room, the one that waits longest.
pub async fn claim(control: &Control, holder: &str, kinds: &[&str]) -> Result<Option<Claimed>, ControlError> {
    let turn = "select s.tenant_id from work_turns s join tenants t on t.id = s.tenant_id
                where t.state = 'active' and not exists (select from placements p where p.tenant_id = t.id and p.held)
                  and s.tenant_id in (select tenant_id from work_items
                                      where state in ('queued', 'leased') and not_before <= now() and kind = any($2))
                  and $1 > (select count(*) from work_items l
                            where l.tenant_id = s.tenant_id and l.state = 'leased' and l.not_before > now())
                order by s.served_at, s.tenant_id limit 1 for update of s skip locked";
    // A statement of its own: it sees what was claimed by whoever held the turn before us.
    let item = "with served as (update work_turns set served_at = clock_timestamp() where tenant_id = $1)
                update work_items w set state = 'leased', attempts = w.attempts + 1, holder = $2,
                       not_before = now() + make_interval(secs => $3)
                from (select id from work_items
                      where tenant_id = $1 and state in ('queued', 'leased') and not_before <= now() and kind = any($5)
                        and $4 > (select count(*) from work_items l
                                  where l.tenant_id = $1 and l.state = 'leased' and l.not_before > now())
                      order by not_before, id limit 1 for update skip locked) next
                where w.id = next.id
                returning w.id, w.tenant_id, w.kind, w.source_id, w.sealed, w.attempts";
    let mut tx = control.pool().begin().await?;
    let tenant: Option<i32> =
        sqlx::query_scalar(turn).bind(IN_FLIGHT_PER_TENANT).bind(kinds).fetch_optional(&mut *tx).await?;
    let Some(tenant) = tenant else { return Ok(None) };
    let row = sqlx::query(item)
        .bind(tenant)
        .bind(holder)
        .bind(f64::from(LEASE_S))
        .bind(IN_FLIGHT_PER_TENANT)
        .bind(kinds)
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    row.as_ref().map(claimed).transpose()
}

fn claimed(row: &PgRow) -> Result<Claimed, ControlError> {
    Ok(Claimed {
        id: row.try_get("id")?,
        tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
        kind: row.try_get("kind")?,
        source_id: row.try_get("source_id")?,
        sealed: Sealed::from_stored(row.try_get("sealed")?),
        attempts: row.try_get("attempts")?,
    })
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// It is done.
    Done,
    /// It failed, and may do better later.
    Later(String),
    /// The tenant's database is away. That is no fault of the item's, which is not given up for it.
    Away(String),
    /// It cannot succeed.
    Never(String),
}

/// Says how an attempt ended; nothing happens if the lease has passed to another meanwhile.
///
/// After a failure the pause doubles from two seconds up to a quarter of an hour, half as much more or less by chance.
pub async fn end(control: &Control, item: &Claimed, holder: &str, how: &Ended) -> Result<(), ControlError> {
    let (state, reason) = match how {
        Ended::Done => ("done", None),
        Ended::Later(reason) if item.attempts < MAX_ATTEMPTS => ("queued", Some(reason)),
        Ended::Away(reason) => ("queued", Some(reason)),
        Ended::Later(reason) | Ended::Never(reason) => ("dead", Some(reason)),
    };
    // What is queued has one left at least.
    let attempts = if state == "queued" { item.attempts.min(MAX_ATTEMPTS - 1) } else { item.attempts };
    let sql = "update work_items set state = $4, holder = null, reason = $5, attempts = $6,
                      sealed = case when $4 = 'done' then null else sealed end,
                      ended_at = case when $4 = 'queued' then null else now() end,
                      not_before = now() + make_interval(secs => least(900, 2 ^ attempts) * (0.5 + random()))
               where id = $1 and holder = $2 and attempts = $3 and state = 'leased'";
    sqlx::query(sql)
        .bind(item.id)
        .bind(holder)
        .bind(item.attempts)
        .bind(state)
        .bind(reason)
        .bind(attempts)
        .execute(control.pool())
        .await?;
    Ok(())
}

/// Forgets what was done long ago; how many.
pub async fn prune(control: &Control) -> Result<u64, ControlError> {
    let sql = "delete from work_items where state = 'done' and ended_at < now() - make_interval(days => $1)";
    Ok(sqlx::query(sql).bind(KEPT_DAYS).execute(control.pool()).await?.rows_affected())
}

/// A tenant whose outbox is to be looked into: made by [`next_to_sweep`] and [`sweep`] alone.
pub struct Swept(TenantId);

impl Swept {
    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.0
    }
}

/// The served tenant whose outbox was looked into longest ago, if that is a day; all servers share the round.
pub async fn next_to_sweep(control: &Control) -> Result<Option<Swept>, ControlError> {
    let sql = "insert into work_turns as s (tenant_id, swept_at)
               select t.id, now() from tenants t left join work_turns o on o.tenant_id = t.id
               where t.state = 'active' and (o.swept_at is null or o.swept_at < now() - interval '1 day')
               order by o.swept_at nulls first, t.id limit 1
               on conflict (tenant_id) do update set swept_at = now()
               returning tenant_id";
    let id: Option<i32> = sqlx::query_scalar(sql).fetch_optional(control.pool()).await?;
    Ok(id.map(TenantId::try_from).transpose()?.map(Swept))
}

/// A tenant out of turn, if it is served.
pub async fn sweep(control: &Control, tenant: TenantId) -> Result<Option<Swept>, ControlError> {
    let sql =
        "insert into work_turns (tenant_id, swept_at) select id, now() from tenants where id = $1 and state = 'active'
               on conflict (tenant_id) do update set swept_at = now() returning tenant_id";
    let id: Option<i32> = sqlx::query_scalar(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    Ok(id.map(TenantId::try_from).transpose()?.map(Swept))
}

/// An item as an operator sees it. What it says is not shown: it may be a caller's words.
#[derive(Debug, serde::Serialize)]
pub struct Item {
    /// Its key.
    pub id: i64,
    /// Whose.
    pub customer_id: TenantId,
    /// What kind of work.
    pub kind: String,
    /// What it came from.
    pub source_id: String,
    /// `queued`, `leased`, `done` or `dead`.
    pub state: String,
    /// So far.
    pub attempts: i32,
    /// When it may be claimed, or its lease ends.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// The server that works on it.
    pub holder: Option<String>,
    /// Why it last failed.
    pub reason: Option<String>,
    /// When it was promised.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The states that an item can be listed by.
pub const STATES: [&str; 4] = ["queued", "leased", "done", "dead"];

const SELECT: &str =
    "select id, tenant_id, kind, source_id, state, attempts, not_before, holder, reason, created_at from work_items";

fn item(row: &PgRow) -> Result<Item, ControlError> {
    Ok(Item {
        id: row.try_get("id")?,
        customer_id: row.try_get::<i32, _>("tenant_id")?.try_into()?,
        kind: row.try_get("kind")?,
        source_id: row.try_get("source_id")?,
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        not_before: row.try_get("not_before")?,
        holder: row.try_get("holder")?,
        reason: row.try_get("reason")?,
        created_at: row.try_get("created_at")?,
    })
}

/// The newest items.
pub async fn list(
    control: &Control,
    tenant: Option<TenantId>,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<Item>, ControlError> {
    let sql = format!(
        "{SELECT} where ($1::int is null or tenant_id = $1) and ($2::text is null or state = $2) order by id desc limit $3"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant.map(TenantId::get)).bind(state).bind(limit);
    query.fetch_all(control.pool()).await?.iter().map(item).collect()
}

/// One item.
pub async fn get(control: &Control, id: i64) -> Result<Option<Item>, ControlError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} where id = $1"))).bind(id);
    query.fetch_optional(control.pool()).await?.as_ref().map(item).transpose()
}

/// Queues dead items once more: one, or all of them. How many.
pub async fn retry(change: &mut Change, id: Option<i64>) -> Result<u64, ControlError> {
    let sql = "update work_items set state = 'queued', attempts = 0, not_before = now(), ended_at = null
               where state = 'dead' and ($1::bigint is null or id = $1) returning tenant_id";
    touch(change, "work.retry", sql, id).await
}

/// Forgets a dead item: what was promised will not be done.
pub async fn drop_dead(change: &mut Change, id: i64) -> Result<u64, ControlError> {
    touch(change, "work.drop", "delete from work_items where state = 'dead' and id = $1 returning tenant_id", Some(id))
        .await
}

async fn touch(change: &mut Change, action: &str, sql: &'static str, id: Option<i64>) -> Result<u64, ControlError> {
    let tenants: Vec<i32> = sqlx::query_scalar(sql).bind(id).fetch_all(change.conn()).await?;
    let tenant = id.and(tenants.first().copied()).map(TenantId::try_from).transpose()?;
    change.record(action, tenant, serde_json::json!({ "work": id, "items": tenants.len() })).await?;
    Ok(tenants.len() as u64)
}
