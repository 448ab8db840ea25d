//! The provisioner's long work: what was asked for, who is at it, how far it is, and what went wrong.
//!
//! A job is carried out by one process at a time, its holder. A holder is alive while a session of the control database
//! bears its name, so a killed one is followed at once; one that hangs is followed when its lease ends.

mod asking;
mod holding;
mod subject;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Control, ControlError};
use crate::id::TenantId;

pub use asking::{Begin, approve, begin, cancel, queue, request, retry, supersede};
pub use holding::{
    HOLDER_PREFIX, Wanted, beat, cancelled, checkpoint, claim, done, end, expire, fail, keep, keeps_tenant_out,
};
pub use subject::Subject;

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
    /// Writes one backup of a tenant.
    Backup = "backup";
    /// Makes a reserved tenant from a backup.
    RestoreAs = "restore-as";
    /// Puts a backup, or what an earlier restore replaced, in the place of a tenant's data.
    Restore = "restore";
    /// Carries a tenant to another cluster.
    Move = "move";
}

impl Kind {
    /// Whether it is carried out only with an operator's approval.
    pub fn destroys(self) -> bool {
        matches!(self, Self::Delete | Self::Erase)
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
    /// How far that step is, in words, if it takes long and somebody is at it.
    pub detail: Option<String>,
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
    "id, kind, subject, state, undo, step, detail, steps_done, steps_total, attempts, params, params::text as params_text,
                       errors, asked_by, created_at, not_before, deadline, approval";

fn from_row(row: &PgRow) -> Result<Job, ControlError> {
    Ok(Job {
        id: row.try_get("id")?,
        kind: row.try_get::<&str, _>("kind")?.parse()?,
        subject: row.try_get::<&str, _>("subject")?.parse()?,
        state: row.try_get::<&str, _>("state")?.parse()?,
        undo: row.try_get("undo")?,
        step: row.try_get("step")?,
        detail: row.try_get("detail")?,
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

/// The job that makes or made a tenant.
pub async fn maker(control: &Control, tenant: TenantId) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from jobs where kind in ('create', 'restore-as') and tenant_id = $1 order by id desc limit 1"
    ));
    sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// The erasure of a tenant that is open or was given up, newest first; `None` when none was begun or the last one ended.
pub async fn erasure(control: &Control, tenant: TenantId) -> Result<Option<Job>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from jobs where kind = 'erase' and tenant_id = $1 and state in ('queued', 'running', 'failed')
         order by id desc limit 1"
    ));
    sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
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
