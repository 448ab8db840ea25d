//! Whether an archive can tell what a tenant was at a moment: what is refused, where recovery begins, and what it needs to end.

use std::time::Duration;

use strowger::control::archives::{self, Archive};
use strowger::control::clusters::{self, Cluster};
use strowger::control::tenants::Tenant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BaseBackup, bases};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::postgres::postgres_user;
use crate::steps::MAINTENANCE_DATABASE;

/// How long a piece of the log may take into the archive.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// As it is said to an operator.
pub(super) fn said(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// Refuses a moment at which the tenant was not on the cluster where it lives now, before anything is begun.
pub(crate) async fn refuse(with: &Provisioner, tenant: &Tenant, at: OffsetDateTime) -> Result<()> {
    let (id, moment) = (tenant.id, said(at));
    if at >= strowger::clock::Clock::system().now() {
        return Err(Error::Conflict(format!("{moment} has not come yet")));
    }
    let made = archives::made_at(&with.control, id).await?;
    if at < made {
        return Err(Error::Conflict(format!("there was no tenant {id} at {moment}: it was made at {}", said(made))));
    }
    match archives::lived_on(&with.control, id, at).await? {
        Some(then) if then != tenant.cluster_id() => {
            let name = clusters::get(&with.control, then).await?.map_or_else(
                || "a cluster that is not registered any more".to_owned(),
                |cluster| format!("cluster {}", cluster.name),
            );
            Err(Error::Conflict(format!(
                "tenant {id} lived on {name} at {moment}, and lives on cluster {} now: a restore reads the archive of the cluster \
                 that a tenant lives on",
                tenant.cluster
            )))
        }
        _ => Ok(()),
    }
}

/// The base backup that recovery to a moment begins with.
pub(crate) async fn base_of(archive: &Archive, at: OffsetDateTime) -> Result<BaseBackup> {
    if let Some(ended_at) = archive.ended_at.filter(|ended_at| *ended_at <= at) {
        return Err(Error::Conflict(format!(
            "{} is after the archive of cluster {} ended, at {}",
            said(at),
            archive.cluster_name,
            said(ended_at)
        )));
    }
    let all = bases(archive, postgres_user()?).await?;
    let Some(oldest) = all.first() else {
        return Err(Error::Conflict(format!(
            "the archive of cluster {0} holds no base backup yet: `strowgerctl cluster archive backup {0}` makes one",
            archive.cluster_name
        )));
    };
    let oldest_moment = oldest.reaches_back_to();
    all.into_iter().rev().find(|base| base.reaches_back_to() <= at).ok_or_else(|| {
        Error::Conflict(format!(
            "{} is before the oldest base backup in the archive of cluster {}, which reaches back to {}",
            said(at),
            archive.cluster_name,
            said(oldest_moment)
        ))
    })
}

/// Sees to it that the archive holds a commit after this moment, as far as the cluster can be asked: one that is gone has archived what it has.
pub(crate) async fn reach(with: &Provisioner, cluster: &Cluster) -> Result<()> {
    let Ok(db) = AdminDb::open(with, cluster, MAINTENANCE_DATABASE).await else { return Ok(()) };
    // It has a number, so its end is in the log.
    db.run("select pg_current_xact_id()").await?;
    let ended = db.query("select pg_walfile_name(pg_switch_wal())", &[]).await;
    let wanted = match ended {
        // An operator's own cluster may not let us; its own archive_timeout does it in time.
        Err(Error::Postgres { ref sqlstate, .. }) if sqlstate == "42501" => {
            db.query("select pg_walfile_name(pg_current_wal_lsn())", &[]).await?
        }
        ended => ended?,
    };
    let wanted: String = wanted.first().map_or_else(String::new, |row| row.get(0));
    let mut left = PATIENCE;
    while !left.is_zero() {
        let sql = "select coalesce(left(last_archived_wal, 24) >= $1, false) from pg_stat_archiver";
        if db.query(sql, &[&wanted]).await?.first().is_some_and(|row| row.get(0)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
    Err(Error::Unavailable(format!(
        "cluster {0} has not archived its log up to now ({wanted}): `strowgerctl cluster archive status {0}` says what last failed",
        cluster.name
    )))
}
