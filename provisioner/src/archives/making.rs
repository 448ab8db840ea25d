//! The archive of a private cluster, made: settings, repository, and the cluster told to archive into it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;

use serde_json::json;
use strowger::control::archives::{self as rows, Archive, Ours};
use strowger::control::clusters::Cluster;
use strowger::control::erasures;
use strowger::control::keys::Ring;
use strowger::vault::Secret;

use super::{Asked, EVERY, FULL_EVERY, Local, text};
use crate::Provisioner;
use crate::admin_db::{ident, literal};
use crate::archive::{as_user, bases, pgbackrest, run};
use crate::error::{Error, Result};
use crate::files::write_private;
use crate::postgres::{User, postgres_user};

/// pgBackRest's settings, in a folder that is Postgres's own.
const CONFIG: &str = "pgbackrest.conf";
/// How pgBackRest logs in, beside them.
const PASSWORDS: &str = "pgpass";

/// Each step can be done again; what is encrypted with is drawn once, and noted before anything is.
pub(super) async fn make(with: &Provisioner, cluster: &Cluster, local: &Local, asked: &Asked<'_>) -> Result<()> {
    let user = postgres_user()?;
    let mut version = as_user("pgbackrest", user);
    version.arg("version");
    run(version, "look for pgBackRest").await?;
    let db = local.superuser.connect("postgres").await?;
    let failed = || Error::postgres(format!("archive cluster {}", cluster.name));
    let mode: String = db.query_one("show archive_mode", &[]).await.map_err(failed())?.get(0);
    if mode != "on" {
        return Err(Error::Conflict(format!(
            "cluster {} was started by an older build, without archive_mode: stop `strowgerctl up`, start it again, then say this again",
            cluster.name
        )));
    }
    let (archive, pass) = noted(with, cluster, local, asked).await?;
    let again = rows::get(&with.control, cluster.id).await?.is_some_and(|known| known.ended_at.is_some());
    lay_out(&archive, local, &pass, user)?;
    let mut create = telling(&archive, cluster, user);
    create.arg("stanza-create");
    run(create, &format!("begin the archive of cluster {}", cluster.name)).await?;
    let push = format!("pgbackrest --config='{}' --stanza={} archive-push \"%p\"", archive.config, archive.stanza);
    for sql in [
        format!("alter system set archive_command = {}", literal(&push)),
        "alter system set archive_timeout = '60s'".to_owned(),
        "select pg_reload_conf()".to_owned(),
        // So that a restore can have the log archived up to now.
        format!("grant execute on function pg_switch_wal() to {}", ident(&with.installation.prefix.name("admin"))),
    ] {
        db.batch_execute(&sql).await.map_err(failed())?;
    }
    // What was written while nothing was archived is missing between an older one and the log from here on.
    if again || bases(&archive, user).await?.is_empty() {
        add_base(&archive, cluster, true).await?;
    }
    if again {
        let mut change = with.control.change(&with.actor).await?;
        rows::end(&mut change, &archive, false).await?;
        change.commit().await?;
    }
    Ok(())
}

/// Takes back what `make` told the cluster. The log is handed to nobody from then on, and the archive is left as it is.
pub(super) async fn end(with: &Provisioner, cluster: &Cluster, archive: &Archive, local: &Local) -> Result<()> {
    let db = local.superuser.connect("postgres").await?;
    for sql in [
        "alter system reset archive_command".to_owned(),
        "alter system reset archive_timeout".to_owned(),
        "select pg_reload_conf()".to_owned(),
        format!("revoke execute on function pg_switch_wal() from {}", ident(&with.installation.prefix.name("admin"))),
    ] {
        let failed = Error::postgres(format!("end the archiving of cluster {}", cluster.name));
        db.batch_execute(&sql).await.map_err(failed)?;
    }
    let mut change = with.control.change(&with.actor).await?;
    rows::end(&mut change, archive, true).await?;
    Ok(change.commit().await?)
}

/// Nothing is left of it, so receipts of what is erased from now on do not name it.
pub(super) async fn forget(with: &Provisioner, cluster: &Cluster, archive: &Archive) -> Result<()> {
    let place = place(archive);
    let copies = erasures::copies(&with.control).await?;
    let mut change = with.control.change(&with.actor).await?;
    for copy in copies {
        if copy.cluster.as_ref() == Some(&cluster.name) && Some(&copy.location) == place.as_ref() {
            erasures::remove_copy(&mut change, copy.id).await?;
        }
    }
    rows::forget(&mut change, archive).await?;
    Ok(change.commit().await?)
}

/// As receipts of erasures name it.
fn place(archive: &Archive) -> Option<String> {
    archive.ours.as_ref().map(|ours| format!("pgBackRest stanza {} in {}", archive.stanza, ours.repo))
}

/// The archive as the control database has it from here on, known to receipts of erasures too; and what it is encrypted with.
async fn noted(with: &Provisioner, cluster: &Cluster, local: &Local, asked: &Asked<'_>) -> Result<(Archive, Secret)> {
    let key = with.platform_key(Ring::Admin).await?;
    let known = rows::get(&with.control, cluster.id).await?.and_then(|archive| archive.ours);
    let pass = match &known {
        Some(ours) => key
            .open(&cluster.name, &ours.pass)
            .map_err(Error::vault(format!("what the archive of cluster {} is encrypted with", cluster.name)))?,
        None => written(&local.home).unwrap_or_else(Secret::random_password),
    };
    let repo = match (asked.repo, known) {
        (Some(repo), _) => text(repo)?,
        (None, Some(known)) => known.repo,
        (None, None) => text(&local.home.join("repo"))?,
    };
    let aside = asked.aside.map_or_else(|| local.home.join("aside"), Path::to_path_buf);
    let archive = Archive {
        cluster: cluster.id,
        cluster_name: cluster.name.clone(),
        stanza: cluster.name.clone(),
        config: text(&local.home.join(CONFIG))?,
        aside: text(&aside)?,
        ours: Some(Ours { repo, pass: key.seal(&cluster.name, pass.expose()), kept_days: asked.kept_days }),
        ended_at: None,
    };
    let mut change = with.control.change(&with.actor).await?;
    rows::put(&mut change, &archive).await?;
    // A full base backup goes once another is as old as what is kept, at the next backup. The other may be a full one's and a backup's
    // interval younger, and the next backup one more interval away.
    let kept = time::Duration::days(asked.kept_days.into()) + FULL_EVERY + EVERY + EVERY;
    let place = place(&archive).unwrap_or_default();
    for kind in ["backup", "wal-archive"] {
        erasures::put_copy(&mut change, Some(cluster.id), kind, &place, kept.whole_seconds()).await?;
    }
    change.record("archive.enable", None, json!({ "cluster": cluster.name })).await?;
    change.commit().await?;
    Ok((archive, pass))
}

/// What an archive is encrypted with whose control database has forgotten it: one that was restored from an older copy.
fn written(home: &Path) -> Option<Secret> {
    let settings = fs::read_to_string(home.join(CONFIG)).ok()?;
    let pass = settings.lines().find_map(|line| line.strip_prefix("repo1-cipher-pass="))?;
    Some(Secret::new(pass.as_bytes().to_vec()))
}

/// Folders and files, all of them Postgres's own: it archives by itself.
fn lay_out(archive: &Archive, local: &Local, pass: &Secret, user: Option<User>) -> Result<()> {
    let Some(ours) = &archive.ours else { return Ok(()) };
    let Local { data, home, superuser } = local;
    let secret = |secret: &Secret| secret.expose_str().unwrap_or_default().to_owned();
    if let Some(above) = home.parent() {
        let mode = if user.is_some() { 0o711 } else { 0o700 };
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(above);
        made.map_err(Error::io(format!("create {}", above.display())))?;
    }
    for folder in [home.as_path(), Path::new(&ours.repo)] {
        let failed = || Error::io(format!("prepare {}", folder.display()));
        if !folder.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed())?;
            give(folder, user)?;
        }
    }
    let settings = format!(
        "# Written by strowgerctl.\n[global]\nrepo1-path={}\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={}\n\
         repo1-retention-full-type=time\nrepo1-retention-full={}\ncompress-type=zst\nstart-fast=y\nprocess-max=2\nlock-path={home}/lock\n\
         log-path={home}/log\nlog-level-console=off\nlog-level-file=off\n\n[{}]\npg1-path={}\npg1-user={}\n",
        ours.repo,
        secret(pass),
        ours.kept_days,
        archive.stanza,
        text(data)?,
        superuser.user,
        home = home.display()
    );
    let passwords = format!("*:*:*:{}:{}\n", superuser.user, secret(&superuser.password));
    for (name, text) in [(CONFIG, settings), (PASSWORDS, passwords)] {
        write_private(&home.join(name), text.as_bytes())?;
        give(&home.join(name), user)?;
    }
    Ok(())
}

fn give(path: &Path, user: Option<User>) -> Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(Error::io(format!("give {} to Postgres's user", path.display())))
}

/// pgBackRest with a way into the running cluster. It takes a socket by itself, and the private ones have none.
fn telling(archive: &Archive, cluster: &Cluster, user: Option<User>) -> tokio::process::Command {
    let mut command = pgbackrest(archive, user);
    command
        .env("PGHOST", &cluster.address.host)
        .env("PGPASSFILE", Path::new(&archive.config).with_file_name(PASSWORDS));
    command.arg(format!("--pg1-port={}", cluster.address.port));
    command
}

/// A base backup of the running cluster; what is kept no longer goes with it.
pub(super) async fn add_base(archive: &Archive, cluster: &Cluster, full: bool) -> Result<()> {
    let mut command = telling(archive, cluster, postgres_user()?);
    command.args(["backup", if full { "--type=full" } else { "--type=diff" }]);
    run(command, &format!("back up cluster {} into its archive", cluster.name)).await.map(drop)
}
