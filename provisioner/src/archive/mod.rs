//! The archive of a cluster, as pgBackRest keeps it: base backups, and the write-ahead log since the oldest of them.
//!
//! An archive holds every tenant of its cluster. One of them at an earlier moment is read from a copy of the whole cluster, which is
//! restored aside ([`Aside`]), asked, and gone again. Nothing here changes the cluster that serves.
//!
//! What a newcomer gets wrong: recovery ends at the first commit *after* the moment, so the archive must hold one; on a cluster at rest
//! there is none until somebody makes it ([`reach`]).

mod aside;
mod moment;
mod repository;

pub(crate) use aside::Aside;
pub(crate) use moment::{base_of, reach, refuse};
pub use repository::BaseBackup;
pub(crate) use repository::{as_user, bases, pgbackrest, run};

use std::path::Path;

use strowger::control::archives::{self, Archive};
use strowger::control::clusters::Cluster;
use time::OffsetDateTime;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::postgres::postgres_user;

/// The archive of a cluster, or an error that says how to have one.
pub(crate) async fn of(with: &Provisioner, cluster: &Cluster) -> Result<Archive> {
    let none = || {
        Error::Conflict(format!(
            "no archive of cluster {0} is known: `strowgerctl cluster archive enable {0}` makes one, and reaches back to then",
            cluster.name
        ))
    };
    archives::get(&with.control, cluster.id).await?.ok_or_else(none)
}

/// The archives that are ours to keep and are on this machine.
pub(crate) async fn kept_here(with: &Provisioner) -> Result<Vec<Archive>> {
    let all = archives::list(&with.control).await?;
    Ok(all.into_iter().filter(|archive| archive.ours.is_some() && Path::new(&archive.config).exists()).collect())
}

/// When the oldest base backup in any of those was begun: none of them tells of anything that was gone by then.
pub(crate) async fn oldest(with: &Provisioner) -> Result<Option<OffsetDateTime>> {
    let mut oldest = None;
    for archive in kept_here(with).await? {
        let first = bases(&archive, postgres_user()?).await?.first().map(|base| base.began_at);
        oldest = oldest.into_iter().chain(first).min();
    }
    Ok(oldest)
}
