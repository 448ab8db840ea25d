//! The provisioner's long work.

use sqlx::Row as _;

use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Finishes making a tenant.
    Create,
    /// Puts a tenant's roles, settings, grants and passwords back to what control says.
    Repair,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Repair => "repair",
        }
    }
}

/// A queued job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its key.
    pub id: i64,
    /// What to do.
    pub kind: Kind,
    /// To whom.
    pub tenant: TenantId,
    /// How often it has failed.
    pub attempts: i32,
}

/// Asks for a repair, as the server may. A tenant that has one waiting, or is not active, gets none.
pub async fn request_repair(control: &Control, tenant: TenantId) -> Result<(), ControlError> {
    sqlx::query("select request_repair($1)").bind(tenant.get()).execute(control.pool()).await?;
    Ok(())
}

/// Queues a job within a change; `false` if one is waiting already.
pub async fn enqueue(change: &mut Change, kind: Kind, tenant: TenantId) -> Result<bool, ControlError> {
    let done = sqlx::query("insert into jobs (kind, tenant_id) values ($1, $2) on conflict do nothing")
        .bind(kind.as_str())
        .bind(tenant.get())
        .execute(change.conn())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Closes a tenant's open job of a kind within the change that made it true.
pub async fn finish(change: &mut Change, kind: Kind, tenant: TenantId) -> Result<(), ControlError> {
    let sql = "update jobs set state = 'done', error = null, ended_at = now()
               where kind = $1 and tenant_id = $2 and state = 'queued'";
    sqlx::query(sql).bind(kind.as_str()).bind(tenant.get()).execute(change.conn()).await?;
    Ok(())
}

/// Jobs that are due, oldest first.
pub async fn due(control: &Control) -> Result<Vec<Job>, ControlError> {
    let sql = "select id, kind, tenant_id, attempts from jobs where state = 'queued' and not_before <= now()
               order by id limit 100";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            let kind = match row.try_get::<&str, _>("kind")? {
                "create" => Kind::Create,
                "repair" => Kind::Repair,
                other => return Err(ControlError::Unknown(format!("job kind {other}"))),
            };
            Ok(Job {
                id: row.try_get("id")?,
                kind,
                tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
                attempts: row.try_get("attempts")?,
            })
        })
        .collect()
}

/// Notes a failure and when to try again: later each time, at most every five minutes.
pub async fn postpone(control: &Control, job: i64, error: &str) -> Result<(), ControlError> {
    let sql = "update jobs set attempts = attempts + 1, error = $2,
                      not_before = now() + least(300, power(2, least(attempts, 9))) * interval '1 second'
               where id = $1";
    sqlx::query(sql).bind(job).bind(error).execute(control.pool()).await?;
    Ok(())
}
