//! The private Postgres of the embedded default: three clusters in one data folder, started and stopped by us.
//!
//! ```text
//! DIR/keys/            key rings and the superuser's password, for us alone
//! DIR/strowgerctl.toml where the control database is, for the provisioner
//! DIR/strowger.toml    the same for the server, with its own login and only its own ring
//! DIR/postgres/NAME/   one cluster's data, owned by the user that Postgres runs as
//! DIR/lock             held by the process that runs the clusters
//! ```
//! Postgres refuses to run as root, so root runs it as `postgres` (or `nobody`). It listens on 127.0.0.1 only, with SCRAM.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use strowger::control::Actor;
use strowger::control::clusters::{Address, Isolation, Tls};
use strowger::id::Prefix;
use strowger::vault::{MasterRing, Secret};

use crate::Provisioner;
use crate::bootstrap::{self, ClusterSpec, Superuser};
use crate::cli::settings::Settings;
use crate::error::{Error, Result};

const CONTROL: &str = "control";
const TENANT_CLUSTERS: [(&str, Isolation); 2] = [("shared", Isolation::Schema), ("dedicated", Isolation::Database)];
const SUPERUSER: &str = "postgres";
const CONNECTION_BUDGET: u32 = 100;

const POSTGRES_CONF: &str = "
# Written by strowgerctl.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 250
shared_buffers = 64MB
wal_level = logical
password_encryption = scram-sha-256
log_error_verbosity = terse
log_min_error_statement = panic
";

/// Whether what Postgres acknowledges survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Full,
    /// For throwaway tests only.
    None,
}

/// Running clusters. They go on when this is dropped: call [`Embedded::stop`].
pub struct Embedded {
    dir: PathBuf,
    user: Option<User>,
    ports: Vec<(&'static str, u16)>,
    /// Held while the clusters are ours.
    _lock: fs::File,
}

/// The user that Postgres runs as when we are root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// What came of asking for a data folder.
pub enum Attached {
    /// Nobody ran it: we do now.
    Ours(Box<Embedded>),
    /// A running `up` or `demo` has it.
    Running,
}

impl Embedded {
    /// Starts the clusters of `dir`, made first if need be. `say` is told what takes time.
    pub async fn start(dir: &Path, durability: Durability, say: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        match Self::attach(dir, durability, say).await? {
            Attached::Ours(embedded) => Ok(*embedded),
            Attached::Running => Err(Error::Conflict(format!(
                "{} is in use by another strowgerctl; stop it, or choose another folder with --data",
                dir.display()
            ))),
        }
    }

    /// Starts the clusters of `dir`, unless a running `up` or `demo` has done so.
    pub async fn attach(dir: &Path, durability: Durability, say: &(dyn Fn(&str) + Sync)) -> Result<Attached> {
        let user = postgres_user()?;
        make_folders(dir, user)?;
        let lock = fs::File::create(dir.join("lock")).map_err(Error::io("create the lock file"))?;
        for attempt in 0.. {
            match lock.try_lock() {
                Ok(()) => break,
                // Another command may just be starting or stopping the clusters for itself.
                Err(_) if attempt < 600 && !dir.join("running").exists() => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                Err(_) => return Ok(Attached::Running),
            }
        }
        let _ = fs::remove_file(dir.join("running"));
        let mut embedded = Self { dir: dir.to_owned(), user, ports: Vec::new(), _lock: lock };
        embedded.start_all(durability, say)?;
        Ok(Attached::Ours(Box::new(embedded)))
    }

    /// Says that other commands may use the clusters from now on.
    pub fn announce(&self) -> Result<()> {
        fs::write(self.dir.join("running"), std::process::id().to_string())
            .map_err(Error::io("write to the data folder"))
    }

    fn start_all(&mut self, durability: Durability, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let binaries = Binaries::find(self.user)?;
        let password = self.superuser_password()?;
        for name in [CONTROL, TENANT_CLUSTERS[0].0, TENANT_CLUSTERS[1].0] {
            let data = self.dir.join("postgres").join(name);
            if !data.join("PG_VERSION").exists() {
                say(&format!("creating the private Postgres cluster \"{name}\""));
                binaries.initdb(&data, &password, durability)?;
            }
            let port = match binaries.running_port(&data) {
                Some(port) => port,
                None => {
                    say(&format!("starting the private Postgres cluster \"{name}\""));
                    binaries.start(&data, free_port(&data)?)?
                }
            };
            self.ports.push((name, port));
        }
        Ok(())
    }

    /// Stops the clusters cleanly.
    pub fn stop(self) -> Result<()> {
        let _ = fs::remove_file(self.dir.join("running"));
        let binaries = Binaries::find(self.user)?;
        for (name, _) in &self.ports {
            binaries.stop(&self.dir.join("postgres").join(name))?;
        }
        Ok(())
    }

    /// A superuser of one of the clusters.
    pub fn superuser(&self, name: &str) -> Result<Superuser> {
        let port = self.ports.iter().find(|(known, _)| *known == name).map(|(_, port)| *port);
        let port = port.ok_or_else(|| Error::Conflict(format!("there is no private cluster {name}")))?;
        let address = Address { host: "127.0.0.1".into(), port, tls: Tls::Disable };
        Ok(Superuser { address, user: SUPERUSER.into(), password: self.superuser_password()? })
    }

    fn superuser_password(&self) -> Result<Secret> {
        let path = self.dir.join("keys/superuser-password");
        if let Ok(bytes) = fs::read(&path) {
            return Ok(Secret::new(bytes));
        }
        let password = Secret::random_password();
        write_private(&path, password.expose())?;
        Ok(password)
    }

    /// The installation in these clusters, made if need be, with its clusters at the ports they have now.
    pub async fn provisioner(&self, actor: Actor, say: &(dyn Fn(&str) + Sync)) -> Result<Provisioner> {
        let (server_ring, admin_ring) = (self.ring("server")?, self.ring("admin")?);
        let settings = self.dir.join("strowgerctl.toml");
        // Both files are written once everything they name exists; until then all of it is done again.
        if !settings.exists() {
            say("creating the control database");
            let prefix: Prefix = "sw".parse()?;
            let urls = bootstrap::init(&self.superuser(CONTROL)?, &prefix, &server_ring, &admin_ring, &actor).await?;
            let with =
                Provisioner::open(&urls.provisioner, server_ring.clone(), admin_ring.clone(), actor.clone()).await?;
            for (name, holds) in TENANT_CLUSTERS {
                say(&format!("preparing cluster \"{name}\" for tenants"));
                let spec = ClusterSpec { name, holds, region: "", connection_budget: CONNECTION_BUDGET };
                bootstrap::add_cluster(&with, &self.superuser(name)?, &spec).await?;
            }
            self.write_settings(&urls)?;
        }
        let found = Settings::from_data(&self.dir)?;
        let with =
            Provisioner::open(&self.at_current_port(&found.control_url)?, server_ring, admin_ring, actor).await?;
        bootstrap::follow_ports(&with, &self.ports).await?;
        Ok(with)
    }

    /// The control database may be on another port than when the files were written; then they are written again.
    fn at_current_port(&self, url: &str) -> Result<String> {
        let port = self.superuser(CONTROL)?.address.port;
        let parsed: tokio_postgres::Config =
            url.parse().map_err(|_| Error::Conflict("strowgerctl.toml is damaged".into()))?;
        let old = parsed.get_ports().first().copied().unwrap_or(port);
        if old != port {
            for file in ["strowgerctl.toml", "strowger.toml"] {
                let path = self.dir.join(file);
                let text = fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))?;
                write_private(
                    &path,
                    text.replace(&format!("127.0.0.1:{old}/"), &format!("127.0.0.1:{port}/")).as_bytes(),
                )?;
            }
        }
        Ok(url.replace(&format!("127.0.0.1:{old}/"), &format!("127.0.0.1:{port}/")))
    }

    fn write_settings(&self, urls: &bootstrap::ControlUrls) -> Result<()> {
        let keys = self.dir.join("keys");
        let (server, admin) = (keys.join("server.ring"), keys.join("admin.ring"));
        let text = format!("control-url = \"{}\"\nkey-ring = {:?}\n", urls.server, server);
        write_private(&self.dir.join("strowger.toml"), text.as_bytes())?;
        let text = format!(
            "control-url = \"{}\"\nserver-key-ring = {:?}\nadmin-key-ring = {:?}\n",
            urls.provisioner, server, admin
        );
        write_private(&self.dir.join("strowgerctl.toml"), text.as_bytes())
    }

    fn ring(&self, name: &str) -> Result<MasterRing> {
        let path = self.dir.join(format!("keys/{name}.ring"));
        if !path.exists() {
            write_private(&path, MasterRing::generate("k1").as_bytes())?;
        }
        Ok(MasterRing::from_file(&path)?)
    }
}

/// Writes a file that only we can read, all of it or none of it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = format!("write {}", path.display());
    let aside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    let written = options.open(&aside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&aside, path)).map_err(Error::io(doing))
}

fn make_folders(dir: &Path, user: Option<User>) -> Result<()> {
    let doing = || format!("prepare the data folder {}", dir.display());
    let private = |path: &Path, mode| {
        fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .map_err(Error::io(doing()))
    };
    // Another user has to pass through to its clusters, and to nothing else in here.
    private(dir, if user.is_some() { 0o711 } else { 0o700 })?;
    private(&dir.join("keys"), 0o700)?;
    private(&dir.join("postgres"), if user.is_some() { 0o711 } else { 0o700 })?;
    if let Some(user) = user {
        let whole = fs::canonicalize(dir).map_err(Error::io(doing()))?;
        for folder in whole.ancestors() {
            let mode = fs::metadata(folder).map_err(Error::io(doing()))?.permissions().mode();
            if mode & 0o001 == 0 {
                return Err(Error::Conflict(format!(
                    "Postgres does not run as root, and the user it runs as instead (uid {}) cannot pass through {}: choose another \
                     folder with --data, such as /var/lib/strowger",
                    user.uid,
                    folder.display()
                )));
            }
        }
    }
    Ok(())
}

/// Who runs Postgres: ourselves, or, for root, an unprivileged user.
fn postgres_user() -> Result<Option<User>> {
    let id = |args: &[&str]| -> Option<u32> {
        let out = Command::new("id").args(args).output().ok().filter(|out| out.status.success())?;
        String::from_utf8_lossy(&out.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    let found =
        ["postgres", "nobody"].iter().find_map(|name| Some(User { uid: id(&["-u", name])?, gid: id(&["-g", name])? }));
    found.map(Some).ok_or_else(|| {
        Error::Conflict("Postgres does not run as root, and there is no user postgres or nobody to run it".into())
    })
}

/// The port a cluster last had, if it is free, else any.
fn free_port(data: &Path) -> Result<u16> {
    let last = fs::read_to_string(data.join("strowger.port")).ok().and_then(|text| text.trim().parse().ok());
    let bound = last
        .and_then(|port: u16| TcpListener::bind(("127.0.0.1", port)).ok())
        .map_or_else(|| TcpListener::bind("127.0.0.1:0"), Ok);
    bound
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::io("find a free port"))
}

/// Postgres's own programs.
struct Binaries {
    folder: PathBuf,
    user: Option<User>,
}

impl Binaries {
    fn find(user: Option<User>) -> Result<Self> {
        let mut folders: Vec<PathBuf> =
            std::env::var_os("STROWGER_POSTGRES_BIN").into_iter().map(PathBuf::from).collect();
        for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
            let mut found: Vec<PathBuf> = entries.filter(|bin| bin.to_string_lossy().contains("postgresql")).collect();
            found.sort();
            // 15 is what is tested; it is preferred where there are several.
            found.sort_by_key(|bin| !bin.to_string_lossy().contains("15"));
            folders.extend(found);
        }
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let folder = folders
            .into_iter()
            .find(|folder| ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).exists()));
        let folder = folder.ok_or_else(|| {
            Error::Conflict(
                "Postgres is not installed here. Install it and run this again: `apt-get install postgresql` on Debian and Ubuntu, \
                 `brew install postgresql@15` on macOS; or name the folder of its programs in STROWGER_POSTGRES_BIN"
                    .into(),
            )
        })?;
        Ok(Self { folder, user })
    }

    fn initdb(&self, data: &Path, password: &Secret, durability: Durability) -> Result<()> {
        // A folder without PG_VERSION is what a killed initdb left.
        let _ = fs::remove_dir_all(data);
        fs::create_dir(data).map_err(Error::io("create the cluster's folder"))?;
        let password_file = data.with_extension("pw");
        write_private(&password_file, password.expose())?;
        if let Some(User { uid, gid }) = self.user {
            let owned = chown(data, Some(uid), Some(gid)).and_then(|()| chown(&password_file, Some(uid), Some(gid)));
            owned.map_err(Error::io("give the cluster's folder to the user that Postgres runs as"))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(data).args(["-U", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        initdb.arg(format!("--pwfile={}", password_file.display()));
        let mut conf = POSTGRES_CONF.to_owned();
        if durability == Durability::None {
            initdb.arg("--no-sync");
            conf.push_str("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n");
        }
        let done = run(initdb);
        let _ = fs::remove_file(&password_file);
        done?;
        let file = data.join("postgresql.conf");
        let appended =
            fs::OpenOptions::new().append(true).open(file).and_then(|mut file| file.write_all(conf.as_bytes()));
        appended.map_err(Error::io("configure the cluster"))
    }

    fn start(&self, data: &Path, port: u16) -> Result<u16> {
        let mut start = self.command("pg_ctl");
        start.arg("start").arg("-w").args(["-t", "60", "-D"]).arg(data).arg("-l").arg(data.join("server.log"));
        run(start.arg("-o").arg(format!("-p {port}")))?;
        fs::write(data.join("strowger.port"), port.to_string()).map_err(Error::io("note the cluster's port"))?;
        Ok(port)
    }

    fn stop(&self, data: &Path) -> Result<()> {
        let mut stop = self.command("pg_ctl");
        run(stop.arg("stop").args(["-w", "-m", "fast", "-D"]).arg(data))
    }

    /// The port of a cluster that a killed process left running.
    fn running_port(&self, data: &Path) -> Option<u16> {
        let mut status = self.command("pg_ctl");
        let running = status.arg("status").arg("-D").arg(data).output().is_ok_and(|out| out.status.success());
        let pid_file = fs::read_to_string(data.join("postmaster.pid")).ok().filter(|_| running)?;
        pid_file.lines().nth(3)?.trim().parse().ok()
    }

    /// A program, run as the right user, outside our terminal's signals, from a folder that user can enter.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.current_dir("/").env("LC_ALL", "C").process_group(0);
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn run(mut command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
    let command = command.borrow_mut();
    let program = command.get_program().to_string_lossy().into_owned();
    let stdio = std::process::Stdio::piped;
    // pg_ctl's server would keep a pipe open for ever; its own words go to the log file it was given.
    let keeps_running = command.get_args().any(|arg| arg == "start");
    if keeps_running {
        let status = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        let status = status.map_err(Error::io(format!("run {program}")))?;
        return if status.success() {
            Ok(())
        } else {
            let log = command.get_args().find(|arg| arg.to_string_lossy().ends_with("server.log")).unwrap_or_default();
            Err(Error::Unavailable(format!("{program} start failed; see {}", log.to_string_lossy())))
        };
    }
    let out = command.stdout(stdio()).stderr(stdio()).output().map_err(Error::io(format!("run {program}")))?;
    if out.status.success() {
        return Ok(());
    }
    Err(Error::Unavailable(format!("{program} failed: {}", String::from_utf8_lossy(&out.stderr).trim())))
}
