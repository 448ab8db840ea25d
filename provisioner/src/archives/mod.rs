//! What an operator can ask for of a cluster's archive: that there be one, a base backup in it, and how it is.
//!
//! The archive of a private cluster is ours: made, encrypted and kept by what stands here. A server of an operator's own is archived by the
//! operator; all that is noted is where its archive can be read.

mod making;
mod status;

use std::path::{Path, PathBuf};

use serde_json::json;
use strowger::control::archives::{self as rows, Archive};
use strowger::control::clusters::{self, Cluster};
use time::OffsetDateTime;

pub use crate::archive::BaseBackup;
pub use status::{Archiver, Status, status};

use crate::Provisioner;
use crate::archive::{self, bases};
use crate::bootstrap::Superuser;
use crate::error::{Error, Result};
use crate::postgres::postgres_user;

/// How old the newest base backup may become until a worker adds another.
const EVERY: time::Duration = time::Duration::DAY;
/// How old the newest full one may become.
const FULL_EVERY: time::Duration = time::Duration::WEEK;

/// A private cluster on this machine.
pub struct Local {
    /// Its data folder.
    pub data: PathBuf,
    /// Where pgBackRest's settings for it lie, and the archive if nothing else is said.
    pub home: PathBuf,
    /// A superuser of it.
    pub superuser: Superuser,
}

/// How an archive is to be.
pub struct Asked<'a> {
    /// Where it lies; `None`: in the data folder.
    pub repo: Option<&'a Path>,
    /// How many days it reaches back.
    pub kept_days: i32,
    /// An operator's own: pgBackRest's settings here, and its name for the cluster.
    pub own: Option<(&'a Path, &'a str)>,
    /// Where clusters are restored aside; `None`: beside the settings.
    pub aside: Option<&'a Path>,
}

/// Archives a private cluster from now on, or notes where an operator's archive is. Said again, it finishes, or says anew.
pub async fn enable(with: &Provisioner, name: &str, local: Option<&Local>, asked: &Asked<'_>) -> Result<()> {
    let cluster = named(with, name).await?;
    match (asked.own, local) {
        (Some(own), _) => note(with, &cluster, own, asked.aside).await,
        (None, Some(local)) => making::make(with, &cluster, local, asked).await,
        (None, None) => Err(Error::Conflict(format!(
            "{name} is a server of your own: archive it with pgBackRest yourself, with archive_mode = on and an archive_timeout; then say \
             --pgbackrest-config FILE --stanza NAME, on the machine where restores are to be made"
        ))),
    }
}

async fn named(with: &Provisioner, name: &str) -> Result<Cluster> {
    let found = clusters::list(&with.control).await?.into_iter().find(|cluster| cluster.name == name);
    found.ok_or_else(|| Error::Conflict(clusters::unknown_cluster(name)))
}

/// Nothing is noted that cannot be read, or would make us forget what an archive of ours is encrypted with.
async fn note(with: &Provisioner, cluster: &Cluster, own: (&Path, &str), aside: Option<&Path>) -> Result<()> {
    let (config, stanza) = own;
    let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io(format!("find {}", path.display())));
    let config = absolute(config)?;
    let beside = config.parent().unwrap_or(&config).join("aside");
    let archive = Archive {
        cluster: cluster.id,
        cluster_name: cluster.name.clone(),
        stanza: stanza.to_owned(),
        config: text(&config)?,
        aside: text(&absolute(aside.unwrap_or(&beside))?)?,
        ours: None,
        ended_at: None,
    };
    if rows::get(&with.control, cluster.id).await?.is_some_and(|known| known.ours.is_some()) {
        let text =
            format!("cluster {} has an archive that strowgerctl makes: leave out --pgbackrest-config", cluster.name);
        return Err(Error::Conflict(text));
    }
    bases(&archive, postgres_user()?).await?;
    let mut change = with.control.change(&with.actor).await?;
    rows::put(&mut change, &archive).await?;
    Ok(change.commit().await?)
}

/// Ends the archiving of a private cluster, and leaves what is archived: every moment until now can be restored for as long as that is
/// there. Gives where it is. Once it is deleted, or if it is an operator's own, it is forgotten: `None`.
pub async fn disable(with: &Provisioner, name: &str, local: Option<&Local>) -> Result<Option<String>> {
    let cluster = named(with, name).await?;
    let archive = archive::of(with, &cluster).await?;
    let Some(ours) = &archive.ours else {
        let mut change = with.control.change(&with.actor).await?;
        rows::forget(&mut change, &archive).await?;
        change.commit().await?;
        return Ok(None);
    };
    if archive.ended_at.is_some() && !Path::new(&ours.repo).exists() {
        making::forget(with, &cluster, &archive).await?;
        return Ok(None);
    }
    let Some(local) = local else {
        let text = format!("cluster {name} archives on the machine where it runs: say this there, with --data");
        return Err(Error::Conflict(text));
    };
    making::end(with, &cluster, &archive, local).await?;
    Ok(Some(ours.repo.clone()))
}

/// Asks each cluster that is archived how that goes, and notes it for the figures. One that does not answer is not heard from.
pub async fn look(with: &Provisioner) -> Result<()> {
    for archive in rows::list(&with.control).await?.iter().filter(|archive| archive.ended_at.is_none()) {
        if let Some(failing_since) = status::failing_since(with, archive).await {
            rows::saw(&with.control, archive.cluster, failing_since).await?;
        }
    }
    Ok(())
}

/// As pgBackRest's settings, and a command in Postgres's, can hold it.
fn text(path: &Path) -> Result<String> {
    let fits = |text: &&str| !text.contains(['\'', '%', '\n', '"']);
    let text = path.to_str().filter(fits);
    text.map(str::to_owned).ok_or_else(|| {
        Error::Conflict(format!(
            "{}: a quote, a % or a line's end in a path is more than pgBackRest takes",
            path.display()
        ))
    })
}

/// Adds a base backup to an archive of ours.
pub async fn back_up(with: &Provisioner, name: &str, full: bool) -> Result<()> {
    let cluster = named(with, name).await?;
    let archive = archive::of(with, &cluster).await?;
    if archive.ours.is_none() {
        let text = format!("the archive of cluster {name} is your own: `pgbackrest backup` where that is made");
        return Err(Error::Conflict(text));
    }
    if archive.ended_at.is_some() {
        let text =
            format!("cluster {name} is not archived any more: `strowgerctl cluster archive enable {name}` first");
        return Err(Error::Conflict(text));
    }
    making::add_base(&archive, &cluster, full).await?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("archive.back_up", None, json!({ "cluster": name, "full": full })).await?;
    Ok(change.commit().await?)
}

/// Adds base backups where the last is a day old, to the archives of ours that are on this machine; what went wrong, by cluster.
pub async fn keep_up(with: &Provisioner, now: OffsetDateTime) -> Result<Vec<(String, Error)>> {
    let mut failed = Vec::new();
    for archive in archive::kept_here(with).await? {
        if let Err(error) = keep_one_up(with, &archive, now).await {
            failed.push((archive.cluster_name, error));
        }
    }
    Ok(failed)
}

async fn keep_one_up(with: &Provisioner, archive: &Archive, now: OffsetDateTime) -> Result<()> {
    if archive.ended_at.is_some() {
        return Ok(());
    }
    let all = bases(archive, postgres_user()?).await?;
    let younger = |span, at: Option<OffsetDateTime>| at.is_some_and(|at| now - at < span);
    if younger(EVERY, all.last().map(|base| base.ended_at)) {
        return Ok(());
    }
    let last_full = all.iter().rev().find(|base| base.kind == "full").map(|base| base.ended_at);
    back_up(with, &archive.cluster_name, !younger(FULL_EVERY, last_full)).await
}
