//! A cluster as it was, restored aside for a while: a folder of its own, a Postgres that only we can reach, and nothing of it afterwards.
//!
//! It listens on a Unix socket in a folder that only Postgres's user can enter, and nowhere else; so it asks for no password, and nobody
//! needs one of those that it knows. Its own settings, libraries and subscriptions stay out of it: what it has is written here.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use strowger::control::archives::Archive;
use strowger::control::clusters::{Address, Cluster, Tls};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::moment::said;
use super::repository::{as_user, run};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::postgres::{BUSY, Binaries, CLUSTER, SOCKETS, Undertaker, User, postgres_user};
use crate::steps::MAINTENANCE_DATABASE;

/// How a folder of ours begins.
const NAME: &str = "strowger-aside-";
/// In a folder, held by the process that it is for.
const LOCK: &str = "lock";
/// Of its socket; it is on no network.
const PORT: u16 = 5432;
/// What a socket's path may have, with the name of the socket itself.
const LONGEST_SOCKET: usize = 107;
/// How often it is asked whether it has recovered.
const LOOK: Duration = Duration::from_millis(100);

const POSTGRES_CONF: &str = "
# Written by strowgerctl.
listen_addresses = ''
max_connections = 20
shared_buffers = 64MB
hot_standby = off
max_wal_senders = 0
max_logical_replication_workers = 0
autovacuum = off
jit = off
fsync = off
synchronous_commit = off
full_page_writes = off
log_error_verbosity = terse
log_min_error_statement = panic
";

/// A running copy. Dropped, it is ended and deleted before this returns; it is too when we are killed.
pub(crate) struct Aside {
    folder: PathBuf,
    sockets: PathBuf,
    user: Option<User>,
    cluster: Cluster,
    _lock: fs::File,
    _undertaker: Undertaker,
}

impl Aside {
    /// Restores `cluster` from its archive, as of a moment, from that base backup on.
    pub(crate) async fn restore(
        with: &Provisioner,
        archive: &Archive,
        cluster: &Cluster,
        base: &str,
        at: OffsetDateTime,
    ) -> Result<Self> {
        let user = postgres_user()?;
        let mut aside = Self::begin(Path::new(&archive.aside), user, cluster)?;
        aside.copy(archive, base, at).await?;
        aside.configure()?;
        let data = aside.data();
        let binaries = Binaries::of_version(user, &read(&data.join("PG_VERSION"))?)?;
        if binaries.start(&data, PORT).is_err() {
            return Err(aside.why(archive, at));
        }
        let address = Address { host: aside.sockets.display().to_string(), port: PORT, tls: Tls::Disable };
        aside.cluster.address = address;
        loop {
            match aside.open(with, MAINTENANCE_DATABASE).await {
                Ok(_) => return Ok(aside),
                Err(error) if binaries.running_port(&data).is_some() => match error {
                    Error::Postgres { ref sqlstate, .. } if sqlstate != "57P03" => return Err(error),
                    _ => tokio::time::sleep(LOOK).await,
                },
                Err(_) => return Err(aside.why(archive, at)),
            }
        }
    }

    /// The installation's admin in one of its databases.
    pub(crate) async fn open(&self, with: &Provisioner, database: &str) -> Result<AdminDb> {
        AdminDb::open_aside(with, &self.cluster, database).await
    }

    fn data(&self) -> PathBuf {
        self.folder.join(CLUSTER)
    }

    /// Makes the folders, after those that nobody is at any more are gone.
    fn begin(root: &Path, user: Option<User>, cluster: &Cluster) -> Result<Self> {
        let doing = || format!("prepare {}", root.display());
        fs::create_dir_all(root).map_err(Error::io(doing()))?;
        let mode = if user.is_some() { 0o711 } else { 0o700 };
        fs::set_permissions(root, fs::Permissions::from_mode(mode)).map_err(Error::io(doing()))?;
        let alone = fs::File::create(root.join(LOCK)).map_err(Error::io(doing()))?;
        alone.lock().map_err(Error::io(doing()))?;
        remove_left(root)?;
        let id = Uuid::new_v4().simple().to_string();
        let folder = root.join(format!("{NAME}{id}"));
        make_folder(&folder, user)?;
        let lock = fs::File::create(folder.join(LOCK)).map_err(Error::io(doing()))?;
        lock.try_lock().map_err(|_| Error::Unavailable(format!("{} is in use", folder.display())))?;
        drop(alone);
        let undertaker = Undertaker::over(&folder)?;
        let sockets = std::env::temp_dir().join(format!("sw-{}", &id[..16]));
        let longest = sockets.join(format!(".s.PGSQL.{PORT}.lock"));
        if longest.as_os_str().len() > LONGEST_SOCKET {
            return Err(Error::Conflict(format!(
                "the path of a socket in {} is too long for Postgres: set TMPDIR to a shorter one",
                std::env::temp_dir().display()
            )));
        }
        symlink(&sockets, folder.join(SOCKETS)).map_err(Error::io(doing()))?;
        make_folder(&sockets, user)?;
        Ok(Self { folder, sockets, user, cluster: cluster.clone(), _lock: lock, _undertaker: undertaker })
    }

    /// Has pgBackRest lay the cluster down. It says who it is before it writes, so that it does not outlive us.
    async fn copy(&self, archive: &Archive, base: &str, at: OffsetDateTime) -> Result<()> {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]+00");
        let target = at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default();
        let (folder, data, busy) = (self.folder.display(), self.data(), self.folder.join(BUSY));
        make_folder(&data, self.user)?;
        let mut command = as_user("sh", self.user);
        command.args(["-c", r#"echo $$ >"$0" && exec pgbackrest "$@""#]).arg(&busy);
        command.arg(format!("--config={}", archive.config)).arg(format!("--stanza={}", archive.stanza));
        command.args(["--log-level-console=off", "--log-level-file=off", "--log-level-stderr=warn"]);
        command.args([format!("--lock-path={folder}"), format!("--log-path={folder}")]);
        command.args(["--reset-pg1-host".to_owned(), format!("--pg1-path={}", data.display())]);
        command.arg(format!("--tablespace-map-all={folder}/tablespaces"));
        command.args(["restore", "--type=time", "--target-action=promote", "--archive-mode=off"]);
        command.args([format!("--set={base}"), format!("--target={target}")]);
        run(command, &format!("restore cluster {} aside", archive.cluster_name)).await?;
        fs::remove_file(&busy).map_err(Error::io("restore a cluster aside"))
    }

    /// Nothing of the settings that it had stays, but how it recovers.
    fn configure(&self) -> Result<()> {
        let data = self.data();
        let sockets = format!("unix_socket_directories = '{}'\n", self.sockets.display());
        let auto = read(&data.join("postgresql.auto.conf"))?;
        let recovers = |line: &&str| line.starts_with("restore_command") || line.starts_with("recovery_target");
        let auto = auto.lines().filter(recovers).collect::<Vec<_>>().join("\n") + "\n";
        for (name, text) in [
            ("postgresql.conf", format!("{POSTGRES_CONF}{sockets}")),
            ("postgresql.auto.conf", auto),
            ("pg_hba.conf", "local all all trust\n".to_owned()),
            ("pg_ident.conf", String::new()),
        ] {
            let path = data.join(name);
            let failed = || Error::io(format!("write {}", path.display()));
            fs::write(&path, text).map_err(failed())?;
            if let Some(User { uid, gid }) = self.user {
                chown(&path, Some(uid), Some(gid)).map_err(failed())?;
            }
        }
        Ok(())
    }

    /// What its own log says, before that is deleted.
    fn why(&self, archive: &Archive, at: OffsetDateTime) -> Error {
        let log = read(&self.data().join("server.log")).unwrap_or_default();
        if log.contains("recovery ended before configured recovery target was reached") {
            return Error::Unavailable(format!(
                "the archive of cluster {0} does not reach {1} yet: `strowgerctl cluster archive status {0}` says how far it does",
                archive.cluster_name,
                said(at)
            ));
        }
        let fatal = log.lines().rfind(|line| line.contains("FATAL") || line.contains("PANIC"));
        let why = fatal.unwrap_or("its log says nothing");
        Error::Unavailable(format!("cluster {} did not recover aside: {why}", archive.cluster_name))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))
}

/// A folder for Postgres alone.
fn make_folder(path: &Path, user: Option<User>) -> Result<()> {
    let failed = || Error::io(format!("create {}", path.display()));
    fs::DirBuilder::new().mode(0o700).create(path).map_err(failed())?;
    match user {
        Some(User { uid, gid }) => chown(path, Some(uid), Some(gid)).map_err(failed()),
        None => Ok(()),
    }
}

/// Ends and deletes what killed commands left, if what they left behind to do that was killed too.
fn remove_left(root: &Path) -> Result<()> {
    let entries = fs::read_dir(root).map_err(Error::io(format!("read {}", root.display())))?;
    for folder in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME)) {
        let path = folder.path();
        let in_use = fs::File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
        if !in_use {
            drop(Undertaker::over(&path)?);
        }
    }
    Ok(())
}
