//! Where the control database and the key rings are: flags first, then the environment, then a TOML file, then `--data`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use strowger::config::understand;
use strowger::vault::MasterRing;

use crate::bootstrap::ControlUrls;
use crate::error::{Error, Result};
use crate::files::write_private;

/// What a TOML file of `strowgerctl` holds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The control database, as the provisioner's login.
    pub control_url: String,
    /// The server's master keys.
    pub server_key_ring: PathBuf,
    /// The provisioner's own master keys.
    pub admin_key_ring: PathBuf,
}

/// The same, each part of which may be missing.
#[derive(Debug, Default, Clone, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Given {
    /// The control database, as the provisioner's login
    #[arg(long, env = "STROWGERCTL_CONTROL_URL", hide_env_values = true, global = true)]
    pub control_url: Option<String>,
    /// The file with the server's master keys
    #[arg(long, env = "STROWGERCTL_SERVER_KEY_RING", global = true)]
    pub server_key_ring: Option<PathBuf>,
    /// The file with the provisioner's own master keys
    #[arg(long, env = "STROWGERCTL_ADMIN_KEY_RING", global = true)]
    pub admin_key_ring: Option<PathBuf>,
}

impl Settings {
    /// What an embedded installation wrote down.
    pub fn from_data(dir: &Path) -> Result<Self> {
        read(&dir.join("strowgerctl.toml"))
    }

    /// Puts flags, environment and file together.
    pub fn load(given: &Given, file: Option<&Path>) -> Result<Self> {
        let file: Given = file.map(read).transpose()?.unwrap_or_default();
        let missing = |what: &str| {
            Error::Conflict(format!(
                "{what} is not given: use --data DIR for an embedded installation, or --{what}, its environment variable, or --config FILE"
            ))
        };
        Ok(Self {
            control_url: given.control_url.clone().or(file.control_url).ok_or_else(|| missing("control-url"))?,
            server_key_ring: given
                .server_key_ring
                .clone()
                .or(file.server_key_ring)
                .ok_or_else(|| missing("server-key-ring"))?,
            admin_key_ring: given
                .admin_key_ring
                .clone()
                .or(file.admin_key_ring)
                .ok_or_else(|| missing("admin-key-ring"))?,
        })
    }

    /// Both rings, the server's first.
    pub fn rings(&self) -> Result<(MasterRing, MasterRing)> {
        Ok((MasterRing::from_file(&self.server_key_ring)?, MasterRing::from_file(&self.admin_key_ring)?))
    }
}

/// Writes `strowger.toml` for the server and `strowgerctl.toml` for us: each with its own login, each naming its rings.
pub fn write(dir: &Path, urls: &ControlUrls, server_ring: &Path, admin_ring: &Path) -> Result<()> {
    // A JSON string is a TOML basic string.
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    let (server_ring, admin_ring) = (quoted(server_ring), quoted(admin_ring));
    let text = format!("control-url = \"{}\"\nkey-ring = {server_ring}\n", urls.server);
    write_private(&dir.join("strowger.toml"), text.as_bytes())?;
    let rings = format!("server-key-ring = {server_ring}\nadmin-key-ring = {admin_ring}\n");
    write_private(&dir.join("strowgerctl.toml"), format!("control-url = \"{}\"\n{rings}", urls.provisioner).as_bytes())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
    understand(&text).map_err(|error| Error::Conflict(format!("{}, {error}", path.display())))
}
