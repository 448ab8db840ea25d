//! Asking for a job, and what an operator says of one: approved, once more, back.

use serde_json::{Value, json};

use super::holding::LEASE;
use super::{COLUMNS, Job, Kind, Subject, from_row};
use crate::control::{Change, Control, ControlError};
use crate::id::TenantId;

/// Asks for a job, as the server may: a repair is carried out; what destroys waits for an operator.
pub async fn request(control: &Control, kind: Kind, tenant: TenantId) -> Result<(), ControlError> {
    sqlx::query("select request_job($1, $2)").bind(kind.as_str()).bind(tenant.get()).execute(control.pool()).await?;
    Ok(())
}

/// Who begins a job, and how.
#[derive(Debug, Clone, Copy)]
pub enum Begin<'a> {
    /// The holder of the subject's lock carries it out itself.
    Here(&'a str),
    /// Whoever claims it, not before so many seconds have passed.
    Later(i64),
}

/// Writes a job down within a change, in the place of an open one of the same kind and subject.
///
/// Whoever holds the subject's lock may do so: nobody else can be at work on that one.
pub async fn begin(
    change: &mut Change,
    kind: Kind,
    subject: &Subject,
    params: &Value,
    begin: Begin<'_>,
) -> Result<Job, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "insert into jobs (kind, subject, tenant_id, params, asked_by, state, holder, lease_until, attempts, not_before,
                           deadline)
         values ($1, $2, $3, $4, $5, case when $6::text is null then 'queued' else 'running' end, $6,
                 case when $6::text is not null then now() + {LEASE} end, case when $6::text is null then 0 else 1 end,
                 now() + $7 * interval '1 second', now() + $7 * interval '1 second' + case $1 when 'erase' then interval '30 days' else interval '1 day' end)
         on conflict (kind, subject) where state in ('waiting', 'queued', 'running') do update
         set params = excluded.params, asked_by = excluded.asked_by, state = excluded.state, holder = excluded.holder,
             lease_until = excluded.lease_until, attempts = excluded.attempts, not_before = excluded.not_before,
             deadline = excluded.deadline, undo = false, approval = null,
             step = case when jobs.params = excluded.params then jobs.step end
         returning {COLUMNS}"
    ));
    let (holder, delay) = match begin {
        Begin::Here(holder) => (Some(holder), 0),
        Begin::Later(seconds) => (None, seconds),
    };
    let row = sqlx::query(sql)
        .bind(kind.as_str())
        .bind(subject.to_string())
        .bind(subject.tenant().map(TenantId::get))
        .bind(params)
        .bind(change.actor())
        .bind(holder)
        .bind(delay)
        .fetch_one(change.conn())
        .await?;
    let job = from_row(&row)?;
    let detail = json!({ "job": job.id, "kind": kind, "subject": subject, "params": params });
    change.record("job.begin", subject.tenant(), detail).await?;
    Ok(job)
}

/// Queues a job within a change, unless one of the same kind and subject is open already.
pub async fn queue(change: &mut Change, kind: Kind, subject: &Subject) -> Result<bool, ControlError> {
    let sql = "insert into jobs (kind, subject, tenant_id, asked_by) values ($1, $2, $3, $4) on conflict do nothing";
    let done = sqlx::query(sql)
        .bind(kind.as_str())
        .bind(subject.to_string())
        .bind(subject.tenant().map(TenantId::get))
        .bind(change.actor())
        .execute(change.conn())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Stores an operator's approval within a change; a job that waited for it is carried out.
pub async fn approve(change: &mut Change, job: &Job, approval: &[u8]) -> Result<(), ControlError> {
    let sql =
        "update jobs set approval = $2, state = case state when 'waiting' then 'queued' else state end where id = $1";
    sqlx::query(sql).bind(job.id).bind(approval).execute(change.conn()).await?;
    let detail = json!({ "job": job.id, "kind": job.kind, "subject": job.subject, "params": job.params });
    change.record("job.approve", job.subject.tenant(), detail).await
}

/// Ends other open jobs of a subject that a new one contradicts: a suspension ends a waiting resumption.
pub async fn supersede(change: &mut Change, by: &Job, kinds: &[Kind]) -> Result<(), ControlError> {
    if kinds.is_empty() {
        return Ok(());
    }
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let sql = "update jobs set state = 'cancelled', holder = null, lease_until = null, ended_at = now(),
                      errors = errors || jsonb_build_array(jsonb_build_object('at', now(), 'error', 'superseded by job ' || $3))
               where subject = $1 and id <> $3 and kind = any($2) and state in ('waiting', 'queued', 'running')";
    sqlx::query(sql).bind(by.subject.to_string()).bind(kinds).bind(by.id).execute(change.conn()).await?;
    Ok(())
}

/// Queues a job that was given up once more, forward or back.
pub async fn retry(change: &mut Change, job: &Job) -> Result<(), ControlError> {
    let sql = "update jobs set state = 'queued', attempts = 0, not_before = now(), ended_at = null, deadline = now() + interval '1 day'
               where id = $1 and state in ('failed', 'recovery_failed')
                 and not exists (select from jobs o where o.kind = jobs.kind and o.subject = jobs.subject
                                 and o.state in ('waiting', 'queued', 'running'))";
    if sqlx::query(sql).bind(job.id).execute(change.conn()).await?.rows_affected() == 0 {
        let text = format!(
            "job {} is {} or another one like it is open: see `strowgerctl job list`",
            job.id,
            job.state.as_str()
        );
        return Err(ControlError::Conflict(text));
    }
    change.record("job.retry", job.subject.tenant(), json!({ "job": job.id, "kind": job.kind })).await
}

/// Has a job taken back by whoever carries it out, or by the next to claim it.
pub async fn cancel(change: &mut Change, job: &Job) -> Result<(), ControlError> {
    let sql = "update jobs set undo = true, attempts = case state when 'running' then attempts else 0 end, not_before = now(), deadline = now() + interval '1 day', ended_at = null,
                      state = case state when 'running' then 'running' when 'waiting' then 'cancelled' else 'queued' end
               where id = $1 and state in ('waiting', 'queued', 'running', 'failed')";
    if sqlx::query(sql).bind(job.id).execute(change.conn()).await?.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!(
            "job {} is {} and cannot be cancelled",
            job.id,
            job.state.as_str()
        )));
    }
    change.record("job.cancel", job.subject.tenant(), json!({ "job": job.id, "kind": job.kind })).await
}
