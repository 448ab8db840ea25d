//! What the server needs to be told: flags first, then the environment, then a TOML file with the flags' names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;

use crate::auth::webhook::PublicUrl;
use crate::budget::LOGIN_CONNECTION_LIMIT;
use crate::directory::Staleness;
use crate::meaning::Table;
use crate::schema;
use crate::tenant::Limits;
use crate::vault::MasterRing;

/// The internet-facing server: webhooks and the HTTP API, each request on its tenant's own login.
#[derive(Debug, Parser)]
#[command(name = "strowger", version)]
pub struct Args {
    /// A TOML file with any of the options below, such as `control-url = "postgres://…"`.
    #[arg(long, env = "STROWGER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Stop when standard input ends: for a parent that starts this process and may die without a word.
    #[arg(long)]
    pub stop_with_parent: bool,
    /// Print every route and who may call it, and stop.
    #[arg(long)]
    pub routes: bool,
}

#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Options {
    /// The control database, as the server's own login: `postgres://sw_server:…@host/sw_control`
    #[arg(long, env = "STROWGER_CONTROL_URL", hide_env_values = true)]
    control_url: Option<String>,
    /// The file with the server's master keys, a line each: id:base64 of 32 bytes
    #[arg(long, env = "STROWGER_KEY_RING")]
    key_ring: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "STROWGER_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where providers reach this server; their signatures cover it [default: `http://` and the address listened on]
    #[arg(long, env = "STROWGER_PUBLIC_URL")]
    public_url: Option<String>,
    /// This process's name in Postgres and in logs, up to 40 characters [default: the host's name and the process id]
    #[arg(long, env = "STROWGER_INSTANCE")]
    instance: Option<String>,
    /// How many instances share each cluster's connection budget [default: 1]
    #[arg(long, env = "STROWGER_INSTANCES")]
    instances: Option<u32>,
    /// Connections this process may hold open for one tenant; all instances together at most 20 [default: 4]
    #[arg(long, env = "STROWGER_TENANT_CONNECTIONS")]
    tenant_connections: Option<usize>,
    /// Seconds that warm tenants are served while the control database is away [default: 600]
    #[arg(long, env = "STROWGER_STALE_WINDOW")]
    stale_window: Option<u64>,
    /// Also serve tenants whose schema is newer than this build, up to this version: for going back to an earlier build
    /// after migrations that only added things [default: the build's own newest]
    #[arg(long, env = "STROWGER_SCHEMA_MAX")]
    schema_max: Option<i32>,
    /// The folder of a static word-vector model, for search by meaning where a tenant has no model of its own: see
    /// ops/word-vectors.sh [default: none, search by words alone]
    #[arg(long, env = "STROWGER_WORD_VECTORS")]
    word_vectors: Option<PathBuf>,
}

/// Everything the server runs with.
pub struct Config {
    /// The control database.
    pub control_url: String,
    /// The server's master keys.
    pub ring: MasterRing,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where providers reach us; `None`: where we listen.
    pub public_url: Option<PublicUrl>,
    /// This process's name.
    pub instance: String,
    /// How many share the budgets.
    pub instances: u32,
    /// How much to hold open.
    pub limits: Limits,
    /// How long to believe what was read.
    pub staleness: Staleness,
    /// The newest schema version to serve.
    pub schema_max: i32,
    /// Vectors for texts of tenants without a model of their own.
    pub word_vectors: Option<Table>,
}

impl Args {
    /// Puts flags, environment and file together. A missing or short key is an error here, before anything is served.
    pub fn load(self) -> anyhow::Result<Config> {
        let file = match &self.config {
            None => Options::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                understand(&text).map_err(|error| anyhow::anyhow!("{}, {error}", path.display()))?
            }
        };
        let given = self.options;
        let ring = given.key_ring.or(file.key_ring).context("--key-ring (or STROWGER_KEY_RING) is required")?;
        let public_url =
            given.public_url.or(file.public_url).map(|url| url.parse()).transpose().context("--public-url")?;
        let instances = given.instances.or(file.instances).unwrap_or(1).max(1);
        let mut limits = Limits::default();
        let most = usize::try_from(LOGIN_CONNECTION_LIMIT / instances).unwrap_or(0);
        anyhow::ensure!(
            most > 0,
            "--instances: at most {LOGIN_CONNECTION_LIMIT}, one connection each for a tenant's login"
        );
        let wanted = given.tenant_connections.or(file.tenant_connections).unwrap_or(limits.connections_per_tenant);
        limits.connections_per_tenant = wanted.clamp(1, most);
        let mut staleness = Staleness::default();
        if let Some(seconds) = given.stale_window.or(file.stale_window) {
            staleness.window = Duration::from_secs(seconds);
        }
        let instance = given.instance.or(file.instance).unwrap_or_else(default_instance);
        anyhow::ensure!(
            (1..=40).contains(&instance.len()) && instance.bytes().all(|b| b.is_ascii_graphic()),
            "--instance must be 1 to 40 visible ASCII characters"
        );
        Ok(Config {
            control_url: given
                .control_url
                .or(file.control_url)
                .context("--control-url (or STROWGER_CONTROL_URL) is required")?,
            ring: MasterRing::from_file(&ring).with_context(|| format!("load the key ring {}", ring.display()))?,
            listen: given.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            public_url,
            instance,
            instances,
            limits,
            staleness,
            schema_max: given.schema_max.or(file.schema_max).unwrap_or(schema::MAX),
            word_vectors: given
                .word_vectors
                .or(file.word_vectors)
                .map(|folder| Table::load(&folder))
                .transpose()
                .context("--word-vectors")?,
        })
    }
}

/// Reads TOML. An error says where and why, and does not quote the line: it may hold a password.
pub fn understand<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })
}

fn default_instance() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(24).collect();
    format!("{}-{}", if host.is_empty() { "strowger" } else { &host }, std::process::id())
}
