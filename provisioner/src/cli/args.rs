//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strowger::auth::Scope;
use strowger::control::jobs::State as JobState;
use strowger::control::keys::Ring as MasterRing;
use strowger::id::{AccountSid, Region, TenantId};
use strowger::phone::Number;

use crate::settings::Given;

/// The operator's command line for Strowger.
///
/// With --data DIR it works on the embedded installation in that folder, beside a running `up` or on its own. Without it, it
/// works on the control database and key rings given by flags, environment or --config.
#[derive(Debug, Parser)]
#[command(name = "strowgerctl", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Folder of the embedded installation [default: ~/.local/share/strowger, for root /var/lib/strowger]
    #[arg(long, env = "STROWGER_DATA", global = true)]
    pub(super) data: Option<PathBuf>,
    /// A TOML file with control-url, server-key-ring and admin-key-ring
    #[arg(long, env = "STROWGERCTL_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) given: Given,
    /// How results are printed
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(super) output: Output,
    /// Only write the job down, for a worker to carry out
    #[arg(long, global = true)]
    pub(super) no_wait: bool,
    /// Carry the job out and wait for its end; this is the default
    #[arg(long, global = true, conflicts_with = "no_wait")]
    pub(super) wait: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 not a command; 3 refused, nothing was changed: ask for something else or \
                          change the state first; 4 a database does not answer: run the same command again later.\n\
                          Every command can be run again after it was interrupted, with the same result.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show everything at work: private Postgres, three demo tenants, one signed call to each, one refusal
    Demo(Demo),
    /// Run an embedded installation: private Postgres, worker and server
    Up(Up),
    /// Run only the private Postgres clusters of --data, until interrupted
    Postgres {
        /// Trade safety for speed; for throwaway tests only
        #[arg(long)]
        unsafe_no_sync: bool,
    },
    /// Create a control database on a server of your own. The superuser's URL comes from standard input
    Init {
        /// Put before every role and database name
        #[arg(long, default_value = "sw")]
        prefix: String,
        /// Folder to write key rings and configuration files to
        #[arg(long)]
        out: PathBuf,
    },
    /// Carry out jobs, until interrupted
    Worker,
    /// Postgres servers that hold tenants
    #[command(subcommand)]
    Cluster(Cluster),
    /// Businesses
    #[command(subcommand)]
    Tenant(Tenant),
    /// Accounts at providers
    #[command(subcommand)]
    Account(Account),
    /// Numbers, and who answers them
    #[command(subcommand)]
    Number(NumberCommand),
    /// Named secrets
    #[command(subcommand)]
    Secret(Secret),
    /// Service tokens
    #[command(subcommand)]
    Token(Token),
    /// Keys that sign service tokens
    #[command(subcommand)]
    Key(Key),
    /// New credentials, without one failed request
    #[command(subcommand)]
    Rotate(Rotate),
    /// Master keys, in the ring files here
    #[command(subcommand)]
    Ring(Ring),
    /// What the provisioner is doing, has done, and could not do
    #[command(subcommand)]
    Job(Job),
    /// Who did what
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Port of the server; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub(super) port: u16,
    /// Stop when everything is printed
    #[arg(long)]
    pub(super) exit: bool,
    /// Delete the data folder first
    #[arg(long)]
    pub(super) fresh: bool,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    /// Port of the server; 0 picks a free one
    #[arg(long, default_value_t = 8080)]
    pub(super) port: u16,
    /// Where providers reach the server; their signatures cover it [default: where it listens]
    #[arg(long)]
    pub(super) public_url: Option<String>,
    /// Delete the data folder first
    #[arg(long)]
    pub(super) fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Isolation {
    Schema,
    Database,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ClusterKind {
    /// Many tenants' schemas in one database
    Shared,
    /// A database for each tenant
    Dedicated,
}

#[derive(Debug, Subcommand)]
pub(super) enum Cluster {
    /// Prepare and register a server, or repair a registered one. The superuser's URL comes from standard input
    Add {
        name: String,
        #[arg(long, value_enum)]
        kind: ClusterKind,
        #[arg(long, default_value = "")]
        region: String,
        /// Connections that all server processes together may hold open there
        #[arg(long, default_value_t = 100)]
        budget: u32,
        /// PEM of the authority behind the server's certificate; the URL must say sslmode=verify-full
        #[arg(long)]
        ca: Option<PathBuf>,
    },
    /// All clusters
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// Create a tenant; run again it finishes what was begun, or finds it done
    Create {
        /// Your handle for it, unique
        #[arg(long)]
        name: String,
        #[arg(long, value_enum)]
        isolation: Isolation,
        /// An id of your own, for imports
        #[arg(long)]
        id: Option<TenantId>,
        /// A cluster by name
        #[arg(long)]
        cluster: Option<String>,
        /// How its callers write local numbers
        #[arg(long, default_value = "US")]
        region: Region,
    },
    /// All tenants
    List,
    /// One tenant
    Show { id: TenantId },
    /// Block a tenant in Postgres itself; nothing is lost
    Suspend {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Serve a suspended tenant again
    Resume {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Block a tenant for good and keep everything
    Delete {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print the tenant login's libpq URL, for support; audited
    Connection { id: TenantId },
    /// Put a tenant's roles, password, settings and grants back
    Repair { id: TenantId },
}

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Add an account, or give a known one a new auth token. The token comes from standard input
    Add {
        #[arg(long, value_parser = ["twilio"])]
        provider: String,
        #[arg(long)]
        id: AccountSid,
        /// Its owner; without it the platform
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// All accounts
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum NumberCommand {
    /// Give a number to a tenant, taking it from whoever had it
    Assign {
        /// +18005550100, or whatsapp:106540352242922
        #[arg(allow_hyphen_values = true)]
        number: Number,
        #[arg(long)]
        tenant: TenantId,
        /// The account whose webhooks name it [default: the tenant's only one, else the platform's]
        #[arg(long)]
        account: Option<AccountSid>,
    },
    /// Take a number away; nobody answers it afterwards
    Release { number: Number },
    /// All numbers
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Set a secret. The value comes from standard input
    Set {
        name: String,
        /// Its owner; without it the platform
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Print a service token for one tenant; audited
    Mint {
        #[arg(long)]
        tenant: TenantId,
        /// Rights, space separated, such as "read:memories write:memories"
        #[arg(long, value_parser = scopes)]
        scope: ScopeList,
        /// How long it holds: a number and s, m, h or d
        #[arg(long, default_value = "1h", value_parser = seconds)]
        ttl: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyAlgorithm {
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "HS256")]
    Hs256,
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Add a key; new tokens are signed with it
    Add {
        kid: String,
        #[arg(long, value_enum, default_value = "EdDSA")]
        algorithm: KeyAlgorithm,
    },
    /// Retire a key; its tokens are refused on every running server when this returns
    Retire { kid: String },
    /// All keys
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Rotate {
    /// Give a tenant, or each of them, a new login password; the old one is refused when this returns
    Tenant {
        #[arg(required_unless_present = "all")]
        id: Option<TenantId>,
        /// Every tenant
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Sign new tokens with a new key. The one in use goes on verifying for a while; then a worker retires it
    SigningKey {
        /// How long: at least as long as the longest --ttl of tokens in use. A number and s, m, h or d
        #[arg(long, default_value = "24h", value_parser = seconds)]
        overlap: i64,
        /// The new key's id; with it, the command can be run again [default: the next number]
        #[arg(long)]
        kid: Option<String>,
    },
    /// Wrap all data keys with another master key, which `ring add` has added
    Master {
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
        /// The key that is to wrap everything
        #[arg(long)]
        to: String,
    },
    /// Give the provisioner a new login password on a cluster, or on each of them
    Cluster {
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        /// Every cluster
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Which master key wraps how many data keys
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum Ring {
    /// Add a new random key to the ring file here. Copy the file to every server, then `rotate master`
    Add {
        key: String,
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
    /// Remove a key that wraps nothing any more. Keep a copy for as long as you keep old dumps of the control database
    Remove {
        key: String,
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
    /// The keys of a ring, the one that wraps new data keys first
    List {
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Job {
    /// The newest jobs
    List {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Only those that are waiting, queued, running, done, failed, cancelled or recovery_failed
        #[arg(long)]
        state: Option<JobState>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// One job, with everything that went wrong
    Show { id: i64 },
    /// Wait until a job has ended, carrying it out if nobody else does
    Wait { id: i64 },
    /// Carry out once more a job that was given up
    Retry { id: i64 },
    /// Take a job back, as far as it has come
    Cancel { id: i64 },
    /// Approve a job that destroys something, asked for by somebody who may not order it
    Approve { id: i64 },
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// The newest rows
    List {
        #[arg(long)]
        tenant: Option<TenantId>,
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
}

/// A list that clap takes for one value.
#[derive(Debug, Clone)]
pub(super) struct ScopeList(pub(super) Vec<Scope>);

fn scopes(text: &str) -> Result<ScopeList, String> {
    let all: Result<Vec<Scope>, _> =
        text.split_ascii_whitespace().map(|word| word.parse().map_err(|e| format!("{word}: {e}"))).collect();
    all.and_then(|all| if all.is_empty() { Err("at least one scope".to_owned()) } else { Ok(ScopeList(all)) })
}

fn seconds(text: &str) -> Result<i64, String> {
    let bad = || "a number and s, m, h or d, at most 365 days, as in 15m or 1h".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        _ => return Err(bad()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    count.checked_mul(unit).filter(|s| (1..=365 * 86400).contains(s)).ok_or_else(bad)
}
