//! The provisioner's long work: what was asked for, who is at it, how far it is, and what went wrong.
//!
//! A job is carried out by one process at a time, its holder. A holder is alive while a session of the control database
//! bears its name, so a killed one is followed at once; one that hangs is followed when its lease ends.

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::keys::Ring;
use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::phone::Number;

/// A holder's sessions carry this and its name as their `application_name`.
pub const HOLDER_PREFIX: &str = "strowgerctl ";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What a job does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $($(#[$doc])* $name,)* }
        impl Kind {
            /// As stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
        impl std::str::FromStr for Kind {
            type Err = ControlError;
            fn from_str(text: &str) -> Result<Self, ControlError> {
                match text {
                    $($text => Ok(Self::$name),)*
                    other => Err(ControlError::Unknown(format!("job kind {other}"))),
                }
            }
        }
    };
}
kinds! {
    /// Makes a reserved tenant.
    Create = "create";
    /// Puts a tenant's roles, settings, grants and passwords back to what control says.
    Repair = "repair";
    /// Shuts a tenant out, to be resumed.
    Suspend = "suspend";
    /// Serves a tenant for reading only; Postgres itself refuses its writes.
    ReadOnly = "read-only";
    /// Serves a suspended or read-only tenant again in full.
    Resume = "resume";
    /// Shuts a tenant out for good and keeps everything.
    Delete = "delete";
    /// Serves a deleted tenant again, while its grace lasts.
    Undelete = "undelete";
    /// Leaves nothing of a tenant but its id and a signed receipt.
    Erase = "erase";
    /// Gives a number to a tenant, or to nobody.
    HandOver = "hand-over";
    /// Has a tenant's two logins change turns, the new one with a new password.
    RotateLogin = "rotate-login";
    /// Retires a signing key once its successor has been in use for long enough.
    RetireKey = "retire-key";
    /// Wraps all data keys of a ring with one of its master keys.
    Rewrap = "rewrap";
    /// Has the provisioner's two logins on a cluster change turns, the new one with a new password.
    RotateAdmin = "rotate-admin";
}

impl Kind {
    /// Whether it is carried out only with an operator's approval.
    pub fn destroys(self) -> bool {
        matches!(self, Self::Delete | Self::Erase)
    }
}

/// What a job is about; also the name of the lock under which it is carried out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub enum Subject {
    /// One tenant.
    Tenant(TenantId),
    /// One number.
    Number(Number),
    /// A signing key, by its id.
    Key(String),
    /// A ring of master keys.
    Ring(Ring),
    /// A cluster, by its name.
    Cluster(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant {id}"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::Key(kid) => write!(f, "key {kid}"),
            Self::Cluster(name) => write!(f, "cluster {name}"),
            Self::Ring(ring) => write!(f, "ring {}", ring.as_str()),
        }
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl std::str::FromStr for Subject {
    type Err = ControlError;
    fn from_str(text: &str) -> Result<Self, ControlError> {
        let unknown = || ControlError::Unknown(format!("job subject {text}"));
        match text.split_once(' ').ok_or_else(unknown)? {
            ("tenant", id) => Ok(Self::Tenant(id.parse().map_err(|_| unknown())?)),
            ("number", number) => Ok(Self::Number(number.parse().map_err(|_| unknown())?)),
            ("cluster", name) if !name.is_empty() => Ok(Self::Cluster(name.to_owned())),
            ("ring", ring) => Ok(Self::Ring(ring.parse()?)),
            ("key", kid) if !kid.is_empty() => Ok(Self::Key(kid.to_owned())),
            _ => Err(unknown()),
        }
    }
}

impl Subject {
    fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(id) => Some(*id),
            Self::Number(_) | Self::Key(_) | Self::Ring(_) | Self::Cluster(_) => None,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// For an operator's approval.
    Waiting,
    /// To be carried out when it is due.
    Queued,
    /// Being carried out.
    Running,
    /// It is so.
    Done,
    /// Given up; an operator retries or cancels it.
    Failed,
    /// Taken back.
    Cancelled,
    /// Given up while taking it back; an operator retries it.
    RecoveryFailed,
}

impl State {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RecoveryFailed => "recovery_failed",
        }
    }

    /// Whether somebody or something will still act on it without being told to.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Queued | Self::Running)
    }
}

impl std::str::FromStr for State {
    type Err = ControlError;
    fn from_str(text: &str) -> Result<Self, ControlError> {
        use State::{Cancelled, Done, Failed, Queued, RecoveryFailed, Running, Waiting};
        [Waiting, Queued, Running, Done, Failed, Cancelled, RecoveryFailed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| ControlError::Unknown(format!("job state {text}")))
    }
}

/// A job.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Job {
    /// Its key.
    pub id: i64,
    /// What to do.
    pub kind: Kind,
    /// To what.
    pub subject: Subject,
    /// Where it stands.
    pub state: State,
    /// Whether it is being taken back.
    pub undo: bool,
    /// The step that is being carried out, or was last.
    pub step: Option<String>,
    /// How many steps are done.
    pub steps_done: i32,
    /// Of how many.
    pub steps_total: i32,
    /// How often it was tried.
    pub attempts: i32,
    /// What else was asked for.
    pub params: Value,
    /// What went wrong, oldest first.
    pub errors: Value,
    /// Who asked.
    pub asked_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Not tried before this.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Not tried after this.
    #[serde(with = "time::serde::rfc3339")]
    pub deadline: OffsetDateTime,
    /// An operator's word for it, if its kind needs one.
    #[serde(skip)]
    pub approval: Option<Vec<u8>>,
    /// The parameters exactly as stored, for the approval.
    #[serde(skip)]
    pub params_text: String,
}

impl Job {
    /// What an approval is for: this job and no other, with these parameters.
    pub fn approved_as(&self) -> String {
        format!("{} {} {} {}", self.id, self.kind.as_str(), self.subject, self.params_text)
    }

    /// The last error.
    pub fn error(&self) -> Option<&str> {
        self.errors.as_array()?.last()?["error"].as_str()
    }
}

const COLUMNS: &str =
    "id, kind, subject, state, undo, step, steps_done, steps_total, attempts, params, params::text as params_text,
                       errors, asked_by, created_at, not_before, deadline, approval";

fn from_row(row: &PgRow) -> Result<Job, ControlError> {
    Ok(Job {
        id: row.try_get("id")?,
        kind: row.try_get::<&str, _>("kind")?.parse()?,
        subject: row.try_get::<&str, _>("subject")?.parse()?,
        state: row.try_get::<&str, _>("state")?.parse()?,
        undo: row.try_get("undo")?,
        step: row.try_get("step")?,
        steps_done: row.try_get("steps_done")?,
        steps_total: row.try_get("steps_total")?,
        attempts: row.try_get("attempts")?,
        params: row.try_get("params")?,
        params_text: row.try_get("params_text")?,
        errors: row.try_get("errors")?,
        asked_by: row.try_get("asked_by")?,
        created_at: row.try_get("created_at")?,
        not_before: row.try_get("not_before")?,
        deadline: row.try_get("deadline")?,
        approval: row.try_get("approval")?,
    })
}

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
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let sql = "update jobs set state = 'cancelled', holder = null, lease_until = null, ended_at = now(),
                      errors = errors || jsonb_build_array(jsonb_build_object('at', now(), 'error', 'superseded by job ' || $3))
               where subject = $1 and id <> $3 and kind = any($2) and state in ('waiting', 'queued', 'running')";
    sqlx::query(sql).bind(by.subject.to_string()).bind(kinds).bind(by.id).execute(change.conn()).await?;
    Ok(())
}

/// How long a holder that says nothing keeps a job.
const LEASE: &str = "interval '30 seconds'";

/// Takes a job that is due, or whose holder is gone: that one, or the oldest. Any number of processes may ask at once. One that
/// failed and is wanted is taken before it is due again; one that was put off is not.
/// An erasure never is: its grace is a promise.
///
/// Sessions of a holder that let its lease run out are ended: it may hang with the subject's lock in its hands. Not our own: a job that
/// we hold without knowing, because the answer to our claim was lost, is claimed again; who is at a job counts its attempts.
pub async fn claim(control: &Control, holder: &str, wanted: Option<i64>) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "with taken as (
             select id as job, holder as former from jobs
             where ($3::bigint is null or id = $3) and deadline > now()
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
    let row = sqlx::query(sql).bind(holder).bind(HOLDER_PREFIX).bind(wanted).fetch_optional(control.pool()).await?;
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
         update jobs set step = $3, steps_done = $4, steps_total = $5, lease_until = now() + {LEASE}
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

/// Says that its holder is alive; `false` when the job is no longer the holder's.
pub async fn beat(control: &Control, job: &Job, holder: &str) -> Result<bool, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "update jobs set lease_until = now() + {LEASE} where id = $1 and holder = $2 and attempts = $3"
    ));
    Ok(sqlx::query(sql).bind(job.id).bind(holder).bind(job.attempts).execute(control.pool()).await?.rows_affected() > 0)
}

/// Ends a job that its holder has brought to an end.
pub async fn end(control: &Control, job: &Job, holder: &str, state: State) -> Result<(), ControlError> {
    let sql =
        "update jobs set state = $3, holder = null, lease_until = null, ended_at = now(), steps_done = steps_total
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
    let sql = "update jobs set holder = null, lease_until = null,
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

/// Gives up what was not done by its deadline; how many.
pub async fn expire(control: &Control) -> Result<u64, ControlError> {
    let sql = "update jobs set state = case when undo then 'recovery_failed' else 'failed' end, ended_at = now(),
                      holder = null, lease_until = null,
                      errors = errors || jsonb_build_array(jsonb_build_object('at', now(), 'attempt', attempts, 'step', step,
                                                                              'error', 'not done by its deadline'))
               where deadline <= now() and (state = 'queued' or state = 'running' and lease_until < now())";
    Ok(sqlx::query(sql).execute(control.pool()).await?.rows_affected())
}

/// The erasure of a tenant that is open or was given up, newest first; `None` when none was begun or the last one ended.
pub async fn erasure(control: &Control, tenant: TenantId) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from jobs where kind = 'erase' and tenant_id = $1 and state in ('queued', 'running', 'failed')
         order by id desc limit 1"
    ));
    sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
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

/// One job.
pub async fn get(control: &Control, id: i64) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select {COLUMNS} from jobs where id = $1"));
    sqlx::query(sql).bind(id).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// The newest jobs: of one tenant or all, in one state or any.
pub async fn list(
    control: &Control,
    tenant: Option<TenantId>,
    state: Option<State>,
    limit: i64,
) -> Result<Vec<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from jobs where ($1::int is null or tenant_id = $1) and ($2::text is null or state = $2)
         order by id desc limit $3"
    ));
    let rows = sqlx::query(sql)
        .bind(tenant.map(TenantId::get))
        .bind(state.map(State::as_str))
        .bind(limit)
        .fetch_all(control.pool())
        .await?;
    rows.iter().map(from_row).collect()
}

/// The subjects whose newest change of state or hand-over has not ended well: what control says of them may not be so yet.
pub async fn unsettled(control: &Control) -> Result<Vec<Subject>, ControlError> {
    let sql = "select subject from (select distinct on (subject) subject, state from jobs
                   where kind in ('suspend', 'read-only', 'resume', 'hand-over') and not (state = 'queued' and not_before > now())
                   order by subject, id desc) newest
               where state not in ('done', 'cancelled')";
    let all: Vec<String> = sqlx::query_scalar(sql).fetch_all(control.pool()).await?;
    all.iter().map(|subject| subject.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn a_subject_is_read_back_as_it_was_written() {
        for text in [
            "tenant 42",
            "number +18005550100",
            "number whatsapp:106540352242922",
            "key ed-1",
            "ring admin",
            "cluster eu-1",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for odd in ["", "tenant", "tenant 0", "tenant x", "number 5", "key ", "ring x", "thing 1"] {
            assert!(odd.parse::<Subject>().is_err(), "{odd}");
        }
    }
}
