//! How archives are: what pgBackRest has, and what the cluster says of its archiving.

use serde::Serialize;
use strowger::control::archives::{self as rows, Archive};
use strowger::control::clusters;
use time::OffsetDateTime;

use super::named;
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::archive::{self, BaseBackup, bases};
use crate::error::Result;
use crate::postgres::postgres_user;
use crate::steps::MAINTENANCE_DATABASE;

/// An archive, as it says itself and as its cluster says.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The cluster.
    pub cluster: String,
    /// pgBackRest's name for it.
    pub stanza: String,
    /// pgBackRest's settings.
    pub config: String,
    /// Where it lies; `None`: an operator's own.
    pub repo: Option<String>,
    /// How many days it is to reach back; `None`: an operator's own.
    pub kept_days: Option<i32>,
    /// The first moment that a tenant can be brought back to.
    #[serde(with = "time::serde::rfc3339::option")]
    pub reaches_back_to: Option<OffsetDateTime>,
    /// What the cluster says; nothing if it does not answer.
    #[serde(flatten)]
    pub archiver: Archiver,
    /// When archiving was ended; moments after that are in no archive.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Oldest first.
    pub base_backups: Vec<BaseBackup>,
    /// What did not answer, and why.
    pub errors: Vec<String>,
}

/// Postgres's own archiver.
#[derive(Debug, Default, Serialize)]
pub struct Archiver {
    /// `on`, if it archives at all.
    pub archive_mode: Option<String>,
    /// The last piece of the log that was archived.
    pub last_archived_wal: Option<String>,
    /// When. What was committed before that is in the archive, but for what went on just then.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_archived_at: Option<OffsetDateTime>,
    /// How often it failed, since the server's statistics were last reset.
    pub failures: Option<i64>,
    /// The last piece that it failed at.
    pub last_failed_wal: Option<String>,
    /// When.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failed_at: Option<OffsetDateTime>,
}

/// One archive, or all. What cannot be read is said in its row.
pub async fn status(with: &Provisioner, name: Option<&str>) -> Result<Vec<Status>> {
    let all = match name {
        None => rows::list(&with.control).await?,
        Some(name) => vec![archive::of(with, &named(with, name).await?).await?],
    };
    let mut told = Vec::new();
    for archive in all {
        told.push(of(with, archive).await?);
    }
    Ok(told)
}

async fn of(with: &Provisioner, archive: Archive) -> Result<Status> {
    let mut errors = Vec::new();
    let bases = bases(&archive, postgres_user()?).await.unwrap_or_else(|error| {
        errors.push(error.to_string());
        Vec::new()
    });
    let archiver = ask(with, &archive).await.unwrap_or_else(|error| {
        errors.push(error.to_string());
        Archiver::default()
    });
    Ok(Status {
        cluster: archive.cluster_name,
        stanza: archive.stanza,
        config: archive.config,
        kept_days: archive.ours.as_ref().map(|ours| ours.kept_days),
        repo: archive.ours.map(|ours| ours.repo),
        reaches_back_to: bases.first().map(BaseBackup::reaches_back_to),
        archiver,
        ended_at: archive.ended_at,
        base_backups: bases,
        errors,
    })
}

async fn ask(with: &Provisioner, archive: &Archive) -> Result<Archiver> {
    let Some(cluster) = clusters::get(&with.control, archive.cluster).await? else { return Ok(Archiver::default()) };
    let db = AdminDb::open(with, &cluster, MAINTENANCE_DATABASE).await?;
    let sql =
        "select current_setting('archive_mode'), last_archived_wal, last_archived_time, failed_count, last_failed_wal,
                      last_failed_time from pg_stat_archiver";
    let rows = db.query(sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Archiver::default()) };
    Ok(Archiver {
        archive_mode: row.get(0),
        last_archived_wal: row.get(1),
        last_archived_at: row.get(2),
        failures: row.get(3),
        last_failed_wal: row.get(4),
        last_failed_at: row.get(5),
    })
}

/// Since when a cluster has failed to archive, if it fails; nothing if it does not answer.
pub(super) async fn failing_since(with: &Provisioner, archive: &Archive) -> Option<Option<OffsetDateTime>> {
    let said = ask(with, archive).await.ok()?;
    said.archive_mode.as_ref()?;
    Some(said.last_failed_at.filter(|failed| said.last_archived_at.is_none_or(|archived| *failed > archived)))
}
