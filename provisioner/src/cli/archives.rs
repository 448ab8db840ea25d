//! `cluster archive`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{Archive, Output};
use super::output::{say, show};
use crate::Provisioner;
use crate::archives::{self, Asked, Status};
use crate::embedded::Embedded;
use crate::error::{Error, Result};

/// `data` is the folder of an embedded installation.
pub(super) async fn run(with: &Provisioner, command: &Archive, data: Option<&Path>, output: Output) -> Result<()> {
    let name = match command {
        Archive::Enable { cluster, repo, keep, pgbackrest_config, stanza, aside } => {
            let own = pgbackrest_config.as_deref().zip(stanza.as_deref());
            let local = match data.filter(|_| own.is_none()) {
                Some(data) => Some(Embedded::local(data, cluster)?),
                None => None,
            };
            let [repo, aside] = [repo, aside].map(|path| path.as_deref().map(whole).transpose());
            let (repo, aside) = (repo?, aside?);
            let kept_days = i32::try_from((keep + 86399) / 86400).unwrap_or(i32::MAX);
            let asked = Asked { repo: repo.as_deref(), kept_days, own, aside: aside.as_deref() };
            archives::enable(with, cluster, local.as_ref(), &asked).await?;
            if local.is_some() && repo.is_none() {
                say(
                    "the archive lies on the same disk as the cluster: it brings back what was deleted, not a lost disk; --repo names another folder",
                );
            }
            Some(cluster.as_str())
        }
        Archive::Backup { cluster, full } => {
            archives::back_up(with, cluster, *full).await?;
            Some(cluster.as_str())
        }
        Archive::Disable { cluster } => {
            // A server of one's own is none of them.
            let local = data.and_then(|data| Embedded::local(data, cluster).ok());
            let Some(repo) = archives::disable(with, cluster, local.as_ref()).await? else {
                return show(output, &json!({ "cluster": cluster, "forgotten": true }));
            };
            say(&format!(
                "nothing more is archived; {repo} is left, and what was written up to now can be restored from it. Delete it when you want \
                 no more of it, and say this again: then receipts of erasures name it no more"
            ));
            Some(cluster.as_str())
        }
        Archive::Status { cluster } => cluster.as_deref(),
    };
    let told = archives::status(with, name).await?;
    match (name, told.first()) {
        (Some(_), Some(one)) => show(output, &json!(one))?,
        _ => show(output, &told.iter().map(in_short).collect())?,
    }
    let broken: Vec<&str> = told.iter().flat_map(|one| one.errors.iter().map(String::as_str)).collect();
    if broken.is_empty() { Ok(()) } else { Err(Error::Unavailable(broken.join("; "))) }
}

fn in_short(one: &Status) -> serde_json::Value {
    json!({
        "cluster": one.cluster, "repo": one.repo, "reaches_back_to": one.reaches_back_to.map(|at| at.to_string()),
        "last_archived_wal": one.archiver.last_archived_wal,
        "last_archived_at": one.archiver.last_archived_at.map(|at| at.to_string()),
        "ended_at": one.ended_at.map(|at| at.to_string()), "failures": one.archiver.failures, "base_backups": one.base_backups.len(),
    })
}

fn whole(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(format!("find {}", path.display())))
}
