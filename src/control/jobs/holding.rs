//! Carrying a job out: claimed, held, ended, given up.

use super::{COLUMNS, Job, State, from_row};
use crate::control::{Change, Control, ControlError};

/// A holder's sessions carry this and its name as their `application_name`.
pub const HOLDER_PREFIX: &str = "strowgerctl ";

/// How long a holder that says nothing keeps a job.
pub(super) const LEASE: &str = "interval '30 seconds'";

/// A job that keeps its tenant from being served in full: a move that holds it, or a restore past its first step, which shuts nobody out.
/// Only going on with it serves the tenant again, so neither its attempts nor its deadline ends it.
const KEEPS_OUT: &str =
    "(kind = 'move' and exists (select from placements p where p.tenant_id = jobs.tenant_id and p.held)
                          or kind = 'restore' and steps_done > 0)";

/// Which job is to be claimed.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// This one.
    One(i64),
    /// Whichever.
    Any,
    /// Whichever that no schedule asked for.
    Unscheduled,
}

/// Takes a job that is due, or whose holder is gone: that one, or the oldest. Any number of processes may ask at once. One that
/// failed and is wanted is taken before it is due again; one that was put off is not.
/// An erasure never is: its grace is a promise.
///
/// Sessions of a holder that let its lease run out are ended: it may hang with the subject's lock in its hands. Not our own: a job that
/// we hold without knowing, because the answer to our claim was lost, is claimed again; who is at a job counts its attempts.
pub async fn claim(control: &Control, holder: &str, wanted: Wanted) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "with taken as (
             select id as job, holder as former from jobs
             where ($3::bigint is null or id = $3) and ($4 or not params ? 'scheduled')
               and (deadline > now() or {KEEPS_OUT})
               and (state = 'queued' and ($3 is not null and attempts > 0 and kind <> 'erase' or not_before <= now())
                    or state = 'running' and (lease_until < now() or not exists (
                        select from pg_stat_activity where usename = current_user and application_name = $2 || holder)))
             order by id limit 1 for update skip locked),
         ended as (
             select pg_terminate_backend(pid) from pg_stat_activity join taken on application_name = $2 || former
             where usename = current_user and former <> $1)
         update jobs set state = 'running', holder = $1, lease_until = now() + {LEASE}, attempts = attempts + 1
         from taken where id = job
         returning {COLUMNS}, (select count(*) from ended)"
    ));
    let (one, scheduled) = match wanted {
        Wanted::One(id) => (Some(id), true),
        Wanted::Any => (None, true),
        Wanted::Unscheduled => (None, false),
    };
    let row = sqlx::query(sql)
        .bind(holder)
        .bind(HOLDER_PREFIX)
        .bind(one)
        .bind(scheduled)
        .fetch_optional(control.pool())
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// Says which step comes next and that its holder is alive; `None` when the job is no longer the holder's.
pub async fn checkpoint(
    control: &Control,
    job: &Job,
    holder: &str,
    step: &str,
    done: usize,
    total: usize,
) -> Result<Option<Job>, ControlError> {
    // Not waited for until it is on disk: a step is carried out again without harm if this is lost.
    let sql = sqlx::AssertSqlSafe(format!(
        "with quick as materialized (select set_config('synchronous_commit', 'off', true))
         update jobs set step = $3, detail = null, steps_done = $4, steps_total = $5, lease_until = now() + {LEASE}
         from quick where id = $1 and holder = $2 and attempts = $6 and state = 'running' returning {COLUMNS}"
    ));
    let row = sqlx::query(sql)
        .bind(job.id)
        .bind(holder)
        .bind(step)
        .bind(i32::try_from(done).unwrap_or(i32::MAX))
        .bind(i32::try_from(total).unwrap_or(i32::MAX))
        .bind(job.attempts)
        .fetch_optional(control.pool())
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// Says that its holder is alive and how far it is; the job as it stands now, `None` when it is no longer the holder's. One that this
/// attempt has just done, in the change that made its last step true, has no holder and is not lost.
pub async fn beat(
    control: &Control,
    job: &Job,
    holder: &str,
    detail: Option<&str>,
) -> Result<Option<Job>, ControlError> {
    // Not waited for until it is on disk: the next one says the same.
    let sql = sqlx::AssertSqlSafe(format!(
        "with quick as materialized (select set_config('synchronous_commit', 'off', true))
         update jobs set lease_until = case when holder is not null then now() + {LEASE} end, detail = case when holder is not null then $4 end
         from quick where id = $1 and attempts = $3 and (holder = $2 or state = 'done')
         returning {COLUMNS}"
    ));
    let row = sqlx::query(sql).bind(job.id).bind(holder).bind(job.attempts).bind(detail);
    row.fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// Keeps a job the holder's until the change ends; `false` when it is not the holder's any more, or was cancelled while it is carried out.
pub async fn keep(change: &mut Change, job: &Job, holder: &str) -> Result<bool, ControlError> {
    let sql = "select 1 from jobs where id = $1 and holder = $2 and attempts = $3 and undo = $4 and state = 'running' for update";
    let row = sqlx::query(sql).bind(job.id).bind(holder).bind(job.attempts).bind(job.undo);
    Ok(row.fetch_optional(change.conn()).await?.is_some())
}

/// The job as it stands now, if somebody has cancelled it while its holder carries it out.
pub async fn cancelled(control: &Control, job: &Job, holder: &str) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from jobs
         where id = $1 and holder = $2 and attempts = $3 and state = 'running' and undo and not $4"
    ));
    let row = sqlx::query(sql).bind(job.id).bind(holder).bind(job.attempts).bind(job.undo);
    row.fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// Ends a job that its holder has brought to an end.
pub async fn end(control: &Control, job: &Job, holder: &str, state: State) -> Result<(), ControlError> {
    let sql =
        "update jobs set state = $3, detail = null, holder = null, lease_until = null, ended_at = now(), steps_done = steps_total
               where id = $1 and holder = $2 and attempts = $4";
    sqlx::query(sql).bind(job.id).bind(holder).bind(state.as_str()).bind(job.attempts).execute(control.pool()).await?;
    Ok(())
}

/// Ends a job within the change that made its last step true.
pub async fn done(change: &mut Change, job: i64) -> Result<(), ControlError> {
    let sql =
        "update jobs set state = 'done', holder = null, lease_until = null, ended_at = now(), steps_done = steps_total
               where id = $1";
    sqlx::query(sql).bind(job).execute(change.conn()).await?;
    Ok(())
}

/// Notes a failed attempt. It is tried again later each time, at most every five minutes, unless it is given up.
pub async fn fail(control: &Control, job: &Job, holder: &str, error: &str, give_up: bool) -> Result<(), ControlError> {
    let sql = "update jobs set holder = null, lease_until = null, detail = null,
                      state = case when not $3 then 'queued' when undo then 'recovery_failed' else 'failed' end,
                      ended_at = case when $3 then now() end,
                      not_before = now() + least(300, power(2, least(attempts - 1, 9))) * interval '1 second',
                      errors = jsonb_path_query_array(errors, '$[last - 18 to last]')
                               || jsonb_build_array(jsonb_build_object('at', now(), 'attempt', attempts, 'step', step, 'error', $4::text))
               where id = $1 and holder = $2 and attempts = $5";
    sqlx::query(sql)
        .bind(job.id)
        .bind(holder)
        .bind(give_up)
        .bind(error)
        .bind(job.attempts)
        .execute(control.pool())
        .await?;
    Ok(())
}

/// Whether a job keeps its tenant from being served in full.
pub async fn keeps_tenant_out(control: &Control, job: i64) -> Result<bool, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select exists (select from jobs where id = $1 and {KEEPS_OUT})"));
    Ok(sqlx::query_scalar(sql).bind(job).fetch_one(control.pool()).await?)
}

/// Gives up what was not done by its deadline and keeps nobody out; how many.
pub async fn expire(control: &Control) -> Result<u64, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "update jobs set state = case when undo then 'recovery_failed' else 'failed' end, ended_at = now(),
                holder = null, lease_until = null,
                errors = errors || jsonb_build_array(jsonb_build_object('at', now(), 'attempt', attempts, 'step', step,
                                                                        'error', 'not done by its deadline'))
         where deadline <= now() and (state = 'queued' or state = 'running' and lease_until < now()) and not {KEEPS_OUT}"
    ));
    Ok(sqlx::query(sql).execute(control.pool()).await?.rows_affected())
}
