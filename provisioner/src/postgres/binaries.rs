//! Postgres's own programs, found and run.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strowger::vault::Secret;

use super::Durability;
use crate::error::{Error, Result};
use crate::files::write_private;

/// The bootstrap superuser's name.
pub(crate) const SUPERUSER: &str = "postgres";

const POSTGRES_CONF: &str = "
# Written by strowgerctl.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 250
shared_buffers = 64MB
wal_level = logical
max_slot_wal_keep_size = 10GB
password_encryption = scram-sha-256
log_error_verbosity = terse
log_min_error_statement = panic
";

/// The user that Postgres runs as when we are root.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who runs Postgres: ourselves, or, for root, an unprivileged user.
pub(crate) fn postgres_user() -> Result<Option<User>> {
    let id = |args: &[&str]| -> Option<u32> {
        let out =
            Command::new("id").args(args).stderr(Stdio::null()).output().ok().filter(|out| out.status.success())?;
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
pub(crate) fn free_port(data: &Path) -> Result<u16> {
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
pub(crate) struct Binaries {
    folder: PathBuf,
    user: Option<User>,
}

impl Binaries {
    pub(crate) fn find(user: Option<User>) -> Result<Self> {
        let folder = folders().into_iter().find(|folder| has_programs(folder));
        let folder = folder.ok_or_else(|| {
            Error::Conflict(
                "Postgres is not installed here. Install it and run this again: `apt-get install postgresql` on Debian and Ubuntu, \
                 `brew install postgresql@15` on macOS; or name the folder of its programs in STROWGER_POSTGRES_BIN"
                    .into(),
            )
        })?;
        Ok(Self { folder, user })
    }

    /// Those of one major version, as a data folder's PG_VERSION names it.
    pub(crate) fn of_version(user: Option<User>, version: &str) -> Result<Self> {
        let version = version.trim();
        let is_that = |folder: &PathBuf| {
            let said = Command::new(folder.join("postgres")).arg("--version").output();
            said.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(&format!(" {version}.")))
        };
        let folder = folders().into_iter().filter(|folder| has_programs(folder)).find(is_that);
        let folder = folder.ok_or_else(|| {
            Error::Conflict(format!(
                "Postgres {version} is not installed here: install its server programs and run this again"
            ))
        })?;
        Ok(Self { folder, user })
    }

    /// Lets a cluster's log be archived without another restart. Until somebody says how, nothing is done with it.
    pub(crate) fn allow_archiving(data: &Path) -> Result<()> {
        let path = data.join("postgresql.conf");
        let failed = || Error::io(format!("write {}", path.display()));
        let text = fs::read_to_string(&path).map_err(failed())?;
        if text.lines().any(|line| line.starts_with("archive_mode")) {
            return Ok(());
        }
        let mut file = fs::OpenOptions::new().append(true).open(&path).map_err(failed())?;
        file.write_all(b"archive_mode = on\narchive_command = 'true'\n").map_err(failed())
    }

    pub(crate) fn initdb(&self, data: &Path, password: &Secret, durability: Durability) -> Result<()> {
        // Made aside and renamed when whole: what a kill leaves is never taken for a cluster. A name of our own, because the
        // initdb of a killed run may still be writing to its.
        let (whole, aside) = (data, data.with_extension(format!("new-{}", std::process::id())));
        let data = aside.as_path();
        fs::create_dir(data).map_err(Error::io("create the cluster's folder"))?;
        let password_file = aside.with_extension(format!("pw-{}", std::process::id()));
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
        let done = run(&mut initdb);
        let _ = fs::remove_file(&password_file);
        done?;
        let file = data.join("postgresql.conf");
        let appended =
            fs::OpenOptions::new().append(true).open(file).and_then(|mut file| file.write_all(conf.as_bytes()));
        appended.and_then(|()| fs::rename(data, whole)).map_err(Error::io("configure the cluster"))
    }

    pub(crate) fn start(&self, data: &Path, port: u16) -> Result<u16> {
        let mut start = self.command("pg_ctl");
        start.arg("start").arg("-w").args(["-t", "60", "-D"]).arg(data).arg("-l").arg(data.join("server.log"));
        // Postgres would keep a pipe of ours open for ever; what it has to say goes to its own log.
        start.arg("-o").arg(format!("-p {port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !start.status().map_err(Error::io("run pg_ctl"))?.success() {
            let log = data.join("server.log");
            return Err(Error::Unavailable(format!("the private Postgres did not start; see {}", log.display())));
        }
        fs::write(data.join("strowger.port"), port.to_string()).map_err(Error::io("note the cluster's port"))?;
        Ok(port)
    }

    pub(crate) fn stop(&self, data: &Path) -> Result<()> {
        let mut stop = self.command("pg_ctl");
        run(stop.arg("stop").args(["-w", "-m", "fast", "-D"]).arg(data))
    }

    /// The port of a cluster that a killed process left running.
    pub(crate) fn running_port(&self, data: &Path) -> Option<u16> {
        let mut status = self.command("pg_ctl");
        let running = status.arg("status").arg("-D").arg(data).output().is_ok_and(|out| out.status.success());
        let pid_file = fs::read_to_string(data.join("postmaster.pid")).ok().filter(|_| running)?;
        pid_file.lines().nth(3)?.trim().parse().ok()
    }

    /// A program, run as the right user, outside our terminal's signals, from a folder that user can enter. Ours is not its home: a server
    /// that calls another one by TLS would look for certificates there.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.current_dir("/").env("LC_ALL", "C").env_remove("HOME").process_group(0);
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Where Postgres's programs may be, the likeliest first.
fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("STROWGER_POSTGRES_BIN").into_iter().map(PathBuf::from).collect();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        let mut found: Vec<PathBuf> = entries.filter(|bin| bin.to_string_lossy().contains("postgresql")).collect();
        found.sort();
        // 15 is what is tested; it is preferred where there are several.
        found.sort_by_key(|bin| !bin.to_string_lossy().contains("15"));
        folders.extend(found);
    }
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders
}

fn has_programs(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).exists())
}

/// Runs a program to its end, quietly.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(Error::io(format!("run {program}")))?;
    if out.status.success() {
        return Ok(());
    }
    Err(Error::Unavailable(format!("{program} failed: {}", String::from_utf8_lossy(&out.stderr).trim())))
}
