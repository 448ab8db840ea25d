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

mod throwaway;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use strowger::control::Actor;
use strowger::control::clusters::{Address, Isolation, Tls};
use strowger::id::Prefix;
use strowger::vault::{MasterRing, Secret};

use crate::archives::Local;
use crate::bootstrap::{self, ClusterSpec, Superuser};
use crate::error::{Error, Result};
use crate::files::write_private;
pub use crate::postgres::Durability;
use crate::postgres::{Binaries, SUPERUSER, User, free_port, postgres_user};
use crate::settings::{self, Settings};
use crate::{Provisioner, shipped};
pub(crate) use throwaway::Throwaway;

const CONTROL: &str = "control";
const TENANT_CLUSTERS: [(&str, Isolation); 2] = [("shared", Isolation::Schema), ("dedicated", Isolation::Database)];
const CONNECTION_BUDGET: u32 = 100;

/// Running clusters. They go on when this is dropped: call [`Embedded::stop`].
pub struct Embedded {
    dir: PathBuf,
    user: Option<User>,
    ports: Vec<(&'static str, u16)>,
    /// Held while the clusters are ours.
    _lock: fs::File,
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
                    Binaries::allow_archiving(&data)?;
                    say(&format!("starting the private Postgres cluster \"{name}\""));
                    binaries.start(&data, free_port(&data)?)?
                }
            };
            self.ports.push((name, port));
        }
        Ok(())
    }

    /// Whether a folder is a data folder of ours.
    pub fn is_ours(dir: &Path) -> bool {
        dir.join(MARKER).exists()
    }

    /// Stops the clusters of a folder, whole or not, and deletes what is ours in it. Nobody else can take it meanwhile.
    pub fn clear(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        let user = postgres_user()?;
        make_folders(dir, user)?;
        let lock = fs::File::create(dir.join("lock")).map_err(Error::io("create the lock file"))?;
        lock.try_lock().map_err(|_| Error::Conflict(format!("{} is in use by another strowgerctl", dir.display())))?;
        let binaries = Binaries::find(user)?;
        let clusters = fs::read_dir(dir.join("postgres")).map_err(Error::io("read the data folder"))?;
        for cluster in clusters.flatten() {
            if binaries.running_port(&cluster.path()).is_some() {
                binaries.stop(&cluster.path())?;
            }
        }
        for name in OURS.iter().filter(|name| **name != "lock") {
            let path = dir.join(name);
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match gone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("delete {}", path.display()))(error));
                }
                _ => {}
            }
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

    /// One of the clusters of a folder, whoever runs it.
    pub fn local(dir: &Path, name: &str) -> Result<Local> {
        let data = dir.join("postgres").join(name);
        let none = || Error::Conflict(format!("cluster {name} is none of the private ones in {}", dir.display()));
        let port = fs::read_to_string(data.join("strowger.port")).ok().and_then(|text| text.trim().parse().ok());
        let password =
            fs::read(dir.join("keys/superuser-password")).map_err(Error::io("read the superuser's password"))?;
        let address = Address { host: "127.0.0.1".into(), port: port.ok_or_else(none)?, tls: Tls::Disable };
        let superuser = Superuser { address, user: SUPERUSER.into(), password: Secret::new(password) };
        Ok(Local { data, home: dir.join("archive").join(name), superuser })
    }

    /// The installation in these clusters, made if need be, with its clusters at the ports they have now.
    pub async fn provisioner(&self, actor: Actor, say: &(dyn Fn(&str) + Sync)) -> Result<Provisioner> {
        let (server_ring, admin_ring) = (self.ring("server")?, self.ring("admin")?);
        let (settings, prefix): (_, Prefix) = (self.dir.join("strowgerctl.toml"), "sw".parse()?);
        // Both files are written once everything they name exists; until then all of it is done again.
        if settings.exists() {
            // It may have been made by an older build.
            bootstrap::upgrade(&self.superuser(CONTROL)?, &prefix).await?;
        } else {
            say("creating the control database");
            let urls = bootstrap::init(&self.superuser(CONTROL)?, &prefix, &server_ring, &admin_ring, &actor).await?;
            let with =
                Provisioner::open(&urls.provisioner, server_ring.clone(), admin_ring.clone(), actor.clone()).await?;
            for (name, holds) in TENANT_CLUSTERS {
                say(&format!("preparing cluster \"{name}\" for tenants"));
                let spec = ClusterSpec { name, holds, region: "", connection_budget: CONNECTION_BUDGET };
                bootstrap::add_cluster(&with, &self.superuser(name)?, &spec).await?;
            }
            let keys = self.dir.join("keys");
            settings::write(&self.dir, &urls, &keys.join("server.ring"), &keys.join("admin.ring"))?;
        }
        let found = Settings::from_data(&self.dir)?;
        let with =
            Provisioner::open(&self.at_current_port(&found.control_url)?, server_ring, admin_ring, actor).await?;
        shipped::import(with.control(), &with.actor).await?;
        bootstrap::follow_ports(&with, &self.ports).await?;
        for (name, _) in TENANT_CLUSTERS {
            if !crate::clusters::is_online(&with, name).await? {
                bootstrap::allow_online(&with, self.superuser(name)?, name).await?;
            }
        }
        Ok(with)
    }

    /// The control database may be on another port than when the files were written; then they are written again.
    fn at_current_port(&self, url: &str) -> Result<String> {
        let port = self.superuser(CONTROL)?.address.port;
        let parsed: tokio_postgres::Config =
            url.parse().map_err(|_| Error::Conflict("strowgerctl.toml is damaged".into()))?;
        let old = parsed.get_ports().first().copied().unwrap_or(port);
        if old != port {
            // Ours last: what it says decides whether this is done.
            for file in ["strowger.toml", "strowgerctl.toml"] {
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

    fn ring(&self, name: &str) -> Result<MasterRing> {
        let path = self.dir.join(format!("keys/{name}.ring"));
        if !path.exists() {
            write_private(&path, MasterRing::generate("k1").as_bytes())?;
        }
        Ok(MasterRing::from_file(&path)?)
    }
}

/// Tells a data folder of ours from anybody else's.
const MARKER: &str = "strowger-data-folder";

/// What a data folder of ours holds, whatever became of its making.
const OURS: [&str; 8] =
    ["keys", "postgres", "archive", "lock", "running", "strowger.toml", "strowgerctl.toml", "strowger.log"];

/// Makes the folders. In a folder that holds other things too, those are left as they are, and nothing is taken from its mode; one that
/// holds what only looks like ours is refused.
fn make_folders(dir: &Path, user: Option<User>) -> Result<()> {
    let doing = || format!("prepare the data folder {}", dir.display());
    let marker = dir.join(MARKER);
    let is_empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if let Some(name) = OURS.iter().find(|name| !marker.exists() && dir.join(name).exists()) {
        let why = format!("{} holds a {name} that is not ours: choose another folder with --data", dir.display());
        return Err(Error::Conflict(why));
    }
    let private = |path: &Path, mode| {
        fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .map_err(Error::io(doing()))
    };
    // Another user has to pass through to its clusters, and to nothing else in here.
    if is_empty {
        private(dir, if user.is_some() { 0o711 } else { 0o700 })?;
    } else if user.is_some() {
        let mode = fs::metadata(dir).map_err(Error::io(doing()))?.permissions().mode();
        private(dir, mode | 0o011)?;
    }
    fs::write(marker, "This folder belongs to strowgerctl.\n").map_err(Error::io(doing()))?;
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
