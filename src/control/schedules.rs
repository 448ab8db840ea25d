//! Schedules of backups: who is backed up how often, who is due, and what a worker is to do about it.
//!
//! When a tenant is due is said in one place, the view `scheduled_backups`: by the age of its last good backup, never by what was tried.

use serde_json::json;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// How many backups of each day, week and month are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Keep {
    /// Days.
    pub daily: u32,
    /// Weeks, by ISO 8601.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

/// How often somebody is to be backed up.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Seconds from one backup to the next.
    pub every_s: i64,
    /// The first of the times that are whole intervals apart; `None`: when the last backup is that old.
    pub first_at: Option<OffsetDateTime>,
    /// What is kept after each; `None`: everything.
    pub keep: Option<Keep>,
}

/// A schedule, and how those whom it covers are.
#[derive(Debug, Clone)]
pub struct Row {
    /// Whose it is; `None`: everybody's who has none of their own.
    pub tenant: Option<TenantId>,
    /// What it says.
    pub schedule: Schedule,
    /// How many tenants it covers now.
    pub tenants: i64,
    /// How many of them have no backup.
    pub never: i64,
    /// The oldest of their last good backups.
    pub oldest: Option<OffsetDateTime>,
    /// When the next of them is due.
    pub next: Option<OffsetDateTime>,
}

/// A tenant whose last good backup is older than its schedule allows.
#[derive(Debug, Clone)]
pub struct Late {
    /// Which.
    pub tenant: TenantId,
    /// How often it is to be backed up.
    pub every_s: i64,
    /// Its last good backup.
    pub last_at: Option<OffsetDateTime>,
    /// Since when it is due.
    pub due_at: OffsetDateTime,
}

/// Gives a tenant a schedule, or all that have none of their own; in the place of the one there was.
pub async fn set(change: &mut Change, tenant: Option<TenantId>, new: &Schedule) -> Result<(), ControlError> {
    let sql = "insert into backup_schedules (tenant_id, every_s, first_at, keep_daily, keep_weekly, keep_monthly)
               values ($1, $2, $3, $4, $5, $6)
               on conflict (tenant_id) do update
               set every_s = excluded.every_s, first_at = excluded.first_at, keep_daily = excluded.keep_daily,
                   keep_weekly = excluded.keep_weekly, keep_monthly = excluded.keep_monthly, created_at = now()";
    let signed = |count: fn(&Keep) -> u32| new.keep.as_ref().map(|keep| i32::try_from(count(keep)).unwrap_or(i32::MAX));
    sqlx::query(sql)
        .bind(tenant.map(TenantId::get))
        .bind(new.every_s)
        .bind(new.first_at)
        .bind(signed(|keep| keep.daily))
        .bind(signed(|keep| keep.weekly))
        .bind(signed(|keep| keep.monthly))
        .execute(change.conn())
        .await?;
    let first = new.first_at.map(|at| at.to_string());
    let detail = json!({ "all": tenant.is_none(), "every_s": new.every_s, "first_at": first, "keep": new.keep });
    change.record("backup.schedule", tenant, detail).await
}

/// Takes a schedule away; whether there was one. Backups stay.
pub async fn remove(change: &mut Change, tenant: Option<TenantId>) -> Result<bool, ControlError> {
    let sql = "delete from backup_schedules where tenant_id is not distinct from $1";
    let done = sqlx::query(sql).bind(tenant.map(TenantId::get)).execute(change.conn()).await?;
    change.record("backup.unschedule", tenant, json!({ "all": tenant.is_none() })).await?;
    Ok(done.rows_affected() > 0)
}

/// All schedules, everybody's first.
pub async fn list(control: &Control) -> Result<Vec<Row>, ControlError> {
    let sql = "select s.*, d.* from backup_schedules s
               cross join lateral (
                   select count(*) as tenants, count(*) filter (where last_at is null) as never,
                          min(last_at) as oldest, min(due_at) as next
                   from scheduled_backups b
                   where case when s.tenant_id is null then not b.own else b.own and b.tenant_id = s.tenant_id end) d
               order by s.tenant_id nulls first";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            let tenant = row.try_get::<Option<i32>, _>("tenant_id")?.map(TryInto::try_into).transpose()?;
            let schedule =
                Schedule { every_s: row.try_get("every_s")?, first_at: row.try_get("first_at")?, keep: keep(row)? };
            Ok(Row {
                tenant,
                schedule,
                tenants: row.try_get("tenants")?,
                never: row.try_get("never")?,
                oldest: row.try_get("oldest")?,
                next: row.try_get("next")?,
            })
        })
        .collect()
}

fn keep(row: &PgRow) -> Result<Option<Keep>, ControlError> {
    let count = |name: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i32>, _>(name)?.map(i32::unsigned_abs));
    let [daily, weekly, monthly] = [count("keep_daily")?, count("keep_weekly")?, count("keep_monthly")?];
    Ok(daily.zip(weekly).zip(monthly).map(|((daily, weekly), monthly)| Keep { daily, weekly, monthly }))
}

/// The tenants that have been due for more than an hour, the longest first: by then a worker would have been there.
pub async fn late(control: &Control) -> Result<Vec<Late>, ControlError> {
    let sql = "select tenant_id, every_s, last_at, due_at from scheduled_backups
               where due_at < now() - interval '1 hour' order by due_at, tenant_id";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(Late {
                tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
                every_s: row.try_get("every_s")?,
                last_at: row.try_get("last_at")?,
                due_at: row.try_get("due_at")?,
            })
        })
        .collect()
}

/// Whether a tenant is due now.
pub async fn is_due(control: &Control, tenant: TenantId) -> Result<bool, ControlError> {
    let sql = "select exists (select from scheduled_backups where tenant_id = $1 and due_at <= now())";
    Ok(sqlx::query_scalar(sql).bind(tenant.get()).fetch_one(control.pool()).await?)
}

/// What is kept of a tenant's backups; `None` when its schedule does not say, or it has none.
pub async fn kept(control: &Control, tenant: TenantId) -> Result<Option<Keep>, ControlError> {
    let sql = "select keep_daily, keep_weekly, keep_monthly from scheduled_backups where tenant_id = $1";
    let row = sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    row.map_or(Ok(None), |row| keep(&row))
}

/// Queues the backups of those that have been due the longest: on each cluster no more than so many are open at once, whoever asked
/// for them. How many it queued.
///
/// A tenant whose last one failed waits, twice as long each time and at most an hour, and takes nobody's place meanwhile;
/// one whose last one was cancelled waits an hour.
pub async fn queue(change: &mut Change, at_once: i64) -> Result<usize, ControlError> {
    // One worker at a time, so that two do not count the same place as free.
    sqlx::query("lock table backup_schedules in share row exclusive mode").execute(change.conn()).await?;
    let sql = "with open as (
                   select p.cluster_id, count(*) as jobs from jobs j join placements p using (tenant_id)
                   where j.kind = 'backup' and j.state in ('queued', 'running') group by 1),
               due as (
                   select b.tenant_id, f.id as failed, b.cluster_id,
                          row_number() over (partition by b.cluster_id order by b.due_at, b.tenant_id) as place
                   from scheduled_backups b
                   left join lateral (
                       select j.id, j.state, j.ended_at, j.attempts, j.params from jobs j
                       where j.tenant_id = b.tenant_id and j.kind = 'backup' order by j.id desc limit 1) f
                       on f.state in ('failed', 'cancelled')
                   where b.due_at <= now()
                     and not exists (select from jobs j where j.kind = 'backup' and j.subject = 'tenant ' || b.tenant_id
                                     and j.state in ('waiting', 'queued', 'running'))
                     and (f.id is null
                          or f.ended_at < now() - case f.state when 'cancelled' then 3600
                                                  else least(3600, 30 * power(2, least(f.attempts, 7))) end * interval '1 second')),
               chosen as (
                   select d.tenant_id, d.failed from due d left join open o using (cluster_id)
                   where d.place + coalesce(o.jobs, 0) <= $1),
               again as (
                   update jobs j set state = 'queued', undo = false, step = null, not_before = now(), ended_at = null,
                                     deadline = now() + interval '1 day'
                   from chosen c where j.id = c.failed and j.state = 'failed' and j.params ? 'scheduled'
                   returning j.tenant_id),
               new as (
                   insert into jobs (kind, subject, tenant_id, params, asked_by)
                   select 'backup', 'tenant ' || tenant_id, tenant_id, '{\"scheduled\": true}', $2 from chosen
                   where tenant_id not in (select tenant_id from again)
                   on conflict do nothing returning tenant_id)
               select tenant_id from again union all select tenant_id from new";
    let queued: Vec<i32> =
        sqlx::query_scalar(sql).bind(at_once).bind(change.actor().to_owned()).fetch_all(change.conn()).await?;
    for tenant in &queued {
        change.record("backup.due", Some((*tenant).try_into()?), json!({})).await?;
    }
    Ok(queued.len())
}
