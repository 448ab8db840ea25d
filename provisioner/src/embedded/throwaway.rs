//! A private Postgres for something that is not trusted and not kept. It is gone when this process is, however that ends.
//!
//! A killed process cannot clean up after itself, so a shell beside it does: it waits for the end of its standard input, which is
//! ours, ends Postgres, and deletes the folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use strowger::control::clusters::{Address, Tls};
use strowger::vault::Secret;
use uuid::Uuid;

use super::Durability;
use super::binaries::{Binaries, SUPERUSER, free_port, postgres_user};
use crate::bootstrap::Superuser;
use crate::error::{Error, Result};

/// Ends the cluster of a folder and deletes the folder. What still writes into it has ended by the time it can be deleted.
const UNDERTAKER: &str = r#"cat >/dev/null
pid=$(head -n 1 "$1/cluster/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
until rm -rf "$1" 2>/dev/null; do sleep 0.5; done"#;

/// A running cluster, ended when this is dropped.
pub(crate) struct Throwaway {
    undertaker: Child,
    folder: PathBuf,
    superuser: Option<Superuser>,
}

impl Throwaway {
    /// Makes and starts one in the folder for temporary files.
    pub(crate) fn start() -> Result<Self> {
        let user = postgres_user()?;
        let binaries = Binaries::find(user)?;
        let folder = std::env::temp_dir().join(format!("strowger-import-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        let mode = if user.is_some() { 0o711 } else { 0o700 };
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).map_err(Error::io("close the folder"))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", UNDERTAKER, "undertaker"]).arg(&folder).current_dir("/").process_group(0);
        let undertaker = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let undertaker = undertaker.map_err(Error::io("run a shell"))?;
        // From here on whatever happens is cleaned up.
        let mut throwaway = Self { undertaker, folder, superuser: None };
        let (data, password) = (throwaway.folder.join("cluster"), Secret::random_password());
        binaries.initdb(&data, &password, Durability::None)?;
        let port = binaries.start(&data, free_port(&data)?)?;
        let address = Address { host: "127.0.0.1".into(), port, tls: Tls::Disable };
        throwaway.superuser = Some(Superuser { address, user: SUPERUSER.into(), password });
        Ok(throwaway)
    }

    /// Its superuser, for making a login that is none.
    pub(crate) fn superuser(&self) -> Result<&Superuser> {
        self.superuser.as_ref().ok_or_else(|| Error::Unavailable("the throwaway Postgres is not running".into()))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        drop(self.undertaker.stdin.take());
        let _ = self.undertaker.wait();
    }
}
