//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strowger::auth::Scope;
use strowger::clock::Clock;
use strowger::control::jobs::State as JobState;
use strowger::control::keys::Ring as MasterRing;
use strowger::id::{AccountSid, Region, TenantId};
use strowger::phone::Number;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::migrate::Migrate;
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
                          change the state first; 4 a database does not answer: run the same command again later; 5 done, and \
                          something is left for you to do, or the doctor found something: the message says what.\n\
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
    /// The fleet's schema versions
    #[command(subcommand)]
    Migrate(Migrate),
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
    /// What holds for every tenant
    #[command(subcommand)]
    Platform(Platform),
    /// Make tenants, accounts, secrets and numbers what a TOML file says; see ops/apply.toml
    Apply(Apply),
    /// Print what there is in the format of `apply`; secrets as environment variables to fill
    Export,
    /// New credentials, without one failed request
    #[command(subcommand)]
    Rotate(Rotate),
    /// Master keys, in the ring files here
    #[command(subcommand)]
    Ring(Ring),
    /// What the provisioner is doing, has done, and could not do
    #[command(subcommand)]
    Job(Job),
    /// Compare what control says with what every cluster has, and explain what differs
    Doctor {
        /// Mend what can be mended without losing data
        #[arg(long)]
        fix: bool,
        /// Drop schemas and databases of tenants that control does not know, with the rows they hold
        #[arg(long, requires = "fix")]
        drop_data: bool,
    },
    /// Who did what
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The file; - reads standard input
    #[arg(short = 'f', long = "file")]
    pub(super) file: PathBuf,
    /// Only show the plan
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Also release numbers and forget accounts that the file does not name. Tenants and secrets stay in any case
    #[arg(long)]
    pub(super) prune: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
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
        /// A label of your own, for `tenant create --cluster-region`
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
    /// Keep new tenants away from a cluster; those it has are served as before
    Cordon {
        name: String,
        /// Let new tenants in again, after a drain too
        #[arg(long)]
        undo: bool,
    },
    /// Keep new tenants away, and say how many have to be moved; exit code 5 while there are any. Moves nothing yet
    Drain { name: String },
    /// Forget a cluster where no tenant's data is left; the server itself is not touched
    Remove { name: String },
    /// Ask a cluster, or all of them, how they are
    Status { name: Option<String> },
    /// Backups and WAL archives that you keep outside of Strowger: receipts of erasures name them
    #[command(subcommand)]
    Copies(Copies),
}

#[derive(Debug, Subcommand)]
pub(super) enum Copies {
    /// Say where copies are made and for how long; said again it replaces what was said
    Add {
        /// The cluster that they are of
        #[arg(required_unless_present = "control_database")]
        cluster: Option<String>,
        /// They are of the control database
        #[arg(long, conflicts_with = "cluster")]
        control_database: bool,
        #[arg(long, value_parser = ["backup", "wal-archive"])]
        kind: String,
        /// Where, in your words
        #[arg(long = "where")]
        location: String,
        /// How long anything is kept there, as in 30d or 3650d
        #[arg(long, value_parser = kept)]
        kept: i64,
    },
    /// All copies
    List,
    /// Forget copies that are not made any more, when the last has expired
    Remove { id: i32 },
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
        /// A cluster by name [default: the one with the most room]
        #[arg(long)]
        cluster: Option<String>,
        /// Only a cluster that was added with this region label
        #[arg(long)]
        cluster_region: Option<String>,
        /// How its callers write local numbers
        #[arg(long, default_value = "US")]
        region: Region,
    },
    /// All tenants
    List,
    /// One tenant
    Show { id: TenantId },
    /// Give a tenant another name
    Rename {
        id: TenantId,
        /// Unique
        #[arg(long)]
        name: String,
    },
    /// Block a tenant in Postgres itself; nothing is lost. Callers hear the platform's sentence
    Suspend {
        id: TenantId,
        /// Shown to operators, never to callers
        #[arg(long, default_value = "")]
        reason: String,
        /// When it is served again by itself: 90m, 12h, 3d, or 2026-12-01T08:00:00Z
        #[arg(long, value_parser = later)]
        until: Option<OffsetDateTime>,
    },
    /// Serve a tenant for reading only; Postgres itself refuses what would write. Callers are greeted, calls leave no trace
    ReadOnly {
        id: TenantId,
        /// Shown to operators, never to callers
        #[arg(long, default_value = "")]
        reason: String,
        /// When it is served again in full by itself: 90m, 12h, 3d, or 2026-12-01T08:00:00Z
        #[arg(long, value_parser = later)]
        until: Option<OffsetDateTime>,
    },
    /// Serve a suspended or read-only tenant again in full
    Resume {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Block a tenant and keep everything for a grace; then it is erased
    Delete {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
        /// How long it can be undeleted, as in 12h or 30d [default: 30d]
        #[arg(long, value_parser = seconds)]
        grace: Option<i64>,
    },
    /// Serve a deleted tenant again, while its grace lasts
    Undelete {
        id: TenantId,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Leave nothing of a tenant but its id and a signed receipt; cannot be taken back
    Erase {
        id: TenantId,
        /// Whatever state it is in, without a grace
        #[arg(long, requires = "confirm")]
        now: bool,
        /// The id once more
        #[arg(long)]
        confirm: Option<TenantId>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print the signed receipt of an erasure: a line of JSON, and a line with its Ed25519 signature
    Receipt { id: TenantId },
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
    /// Give an account, with its token, another owner
    Transfer {
        id: AccountSid,
        /// The new owner; without it the platform
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
    /// Give a tenant another number in the place of one that it has, which nobody answers afterwards
    Replace {
        /// The number that it has
        #[arg(allow_hyphen_values = true)]
        old: Number,
        /// The number that it gets, under the same account
        #[arg(allow_hyphen_values = true)]
        new: Number,
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
    /// Add a key; new tokens are signed with it, unless it is a legacy one
    Add {
        kid: String,
        #[arg(long, value_enum, default_value = "EdDSA", conflicts_with = "legacy")]
        algorithm: KeyAlgorithm,
        /// A secret that other services sign HS256 tokens with, without a key id. It comes from standard input
        #[arg(long, requires = "bound")]
        legacy: bool,
        /// A legacy key's tokens hold for these tenants only
        #[arg(long, group = "bound", requires = "legacy", num_args = 1..)]
        tenant: Vec<TenantId>,
        /// A legacy key's tokens hold for every tenant that they name
        #[arg(long, group = "bound", requires = "legacy")]
        all_tenants: bool,
    },
    /// Retire a key; its tokens are refused on every running server when this returns
    Retire { kid: String },
    /// All keys
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Platform {
    /// All settings
    Show,
    /// Change a setting
    Set {
        /// suspended_sentence: what callers of a suspended tenant hear
        #[arg(value_parser = ["suspended_sentence"])]
        name: String,
        value: String,
    },
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
    /// Prove that no row was changed, removed, added or moved; with kept heads, that none was cut off and no chain rewritten
    Verify {
        /// Only this tenant's chain
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Signed heads that you kept, from `audit heads` or at the end of an `audit export`
        #[arg(long)]
        heads: Option<PathBuf>,
        /// Prove an export by itself; no database is asked
        #[arg(long, conflicts_with_all = ["tenant", "heads"])]
        file: Option<PathBuf>,
        /// The public key, in PEM, that must have signed --file
        #[arg(long, requires = "file")]
        key: Option<PathBuf>,
    },
    /// Sign where every chain ends now. Keep the file where no superuser of the control database can write
    Heads {
        /// File to write to; else standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Rows as lines of JSON, with their hashes and, at the end, signed heads
    Export {
        /// Only this tenant's chain
        #[arg(long)]
        tenant: Option<TenantId>,
        /// From this moment on, such as 2026-07-01 or 2026-07-01T12:00:00Z
        #[arg(long, value_parser = moment)]
        since: Option<OffsetDateTime>,
        /// File to write to; else standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// The public key that signed heads are checked with, in PEM
    Key,
}

/// A list that clap takes for one value.
#[derive(Debug, Clone)]
pub(super) struct ScopeList(pub(super) Vec<Scope>);

fn scopes(text: &str) -> Result<ScopeList, String> {
    let all: Result<Vec<Scope>, _> =
        text.split_ascii_whitespace().map(|word| word.parse().map_err(|e| format!("{word}: {e}"))).collect();
    all.and_then(|all| if all.is_empty() { Err("at least one scope".to_owned()) } else { Ok(ScopeList(all)) })
}

/// A time, or how long from now.
fn later(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(seconds) = seconds(text) {
        return Ok(Clock::system().now() + Duration::from_secs(seconds.unsigned_abs()));
    }
    moment(text).map_err(|_| "a time as in 2026-12-01T08:00:00Z, or 90m, 12h, 3d".to_owned())
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&whole, &Rfc3339)
        .map_err(|_| "a day or a moment, as 2026-07-01 or 2026-07-01T12:00:00Z".to_owned())
}

fn seconds(text: &str) -> Result<i64, String> {
    span(text, 365)
}

fn kept(text: &str) -> Result<i64, String> {
    span(text, 36_500)
}

/// Seconds of a span of time.
fn span(text: &str, most_days: i64) -> Result<i64, String> {
    let bad = || format!("a number and s, m, h or d, at most {most_days} days, as in 15m or 1h");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86400,
        _ => return Err(bad()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    count.checked_mul(unit).filter(|s| (1..=most_days * 86400).contains(s)).ok_or_else(bad)
}
