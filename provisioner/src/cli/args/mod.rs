//! What can be typed: a file for what belongs together, `values.rs` for how words are read.

mod backups;
mod clusters;
mod control;
mod credentials;
mod imports;
mod migrate;
mod models;
mod numbers;
mod playbooks;
mod profiles;
mod records;
mod tenants;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use backups::{BackupCommand, Restore, Schedule, ScheduleCommand, Whose};
pub(super) use clusters::{Archive, Cluster, ClusterKind, Copies};
pub(super) use control::{ControlCommand, Copy as CopyFiles};
pub(super) use credentials::{Account, Key, KeyAlgorithm, Ring, Rotate, Secret, Token};
pub(super) use imports::Import;
pub(super) use migrate::{Migrate, Way as FleetWay};
pub(super) use models::{Model, Usage, YesNo};
pub(super) use numbers::{NumberCommand, NumberKind};
pub(super) use playbooks::Playbook;
pub(super) use profiles::Profile;
pub(super) use records::{Audit, Job, Work};
pub(super) use tenants::{Configured, Isolation, Tenant};

use crate::backups::BACKUPS_TO;
use crate::credentials::{PUBLIC_URL, SUSPENDED_SENTENCE, TWILIO_BASE_URL};
use crate::settings::Given;
use values::seconds;

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
                          change the state first; 4 a database or a provider does not answer: run the same command again later; 5 done, and \
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
    /// Carry out jobs and look over the clusters, until interrupted
    Worker {
        /// After how long a tenant's transaction is ended: it holds back vacuum for the whole cluster. A number and s, m, h or d
        #[arg(long, default_value = "5m", value_parser = seconds)]
        max_transaction_age: i64,
        /// Show figures to Prometheus at http://ADDRESS/metrics, as in 127.0.0.1:9464: ages of backups, jobs, no tenant's name
        #[arg(long, value_name = "ADDRESS")]
        metrics: Option<SocketAddr>,
    },
    /// Postgres servers that hold tenants
    #[command(subcommand)]
    Cluster(Cluster),
    /// Businesses
    #[command(subcommand)]
    Tenant(Tenant),
    /// One tenant's data, sealed in a folder or bucket: made, proven, read
    #[command(subcommand)]
    Backup(BackupCommand),
    /// The control database itself: copied, made again after it was lost, compared with the clusters
    #[command(subcommand)]
    Control(ControlCommand),
    /// The fleet's schema versions
    #[command(subcommand)]
    Migrate(Migrate),
    /// What is kept of callers: templates of their profiles
    #[command(subcommand)]
    Profile(Profile),
    /// What receptionists answer: playbooks that tenants clone
    #[command(subcommand)]
    Playbook(Playbook),
    /// Accounts at providers
    #[command(subcommand)]
    Account(Account),
    /// Numbers, and who answers them
    #[command(subcommand)]
    Number(NumberCommand),
    /// Named secrets
    #[command(subcommand)]
    Secret(Secret),
    /// The AI model: where it is, for whom, and for how much a day
    #[command(subcommand)]
    Model(Model),
    /// What the model was used for
    #[command(subcommand)]
    Usage(Usage),
    /// Service tokens
    #[command(subcommand)]
    Token(Token),
    /// Keys that sign service tokens
    #[command(subcommand)]
    Key(Key),
    /// What holds for every tenant
    #[command(subcommand)]
    Platform(Platform),
    /// Make tenants, accounts, secrets, numbers, backup schedules and settings what a TOML file says; see ops/apply.toml
    Apply(Apply),
    /// Print what there is in the format of `apply`; secrets as environment variables to fill
    Export,
    /// Another platform's database into tenants' own, counted and compared
    #[command(subcommand)]
    Import(Import),
    /// New credentials, without one failed request
    #[command(subcommand)]
    Rotate(Rotate),
    /// Master keys, in the ring files here
    #[command(subcommand)]
    Ring(Ring),
    /// What the provisioner is doing, has done, and could not do
    #[command(subcommand)]
    Job(Job),
    /// What servers do after an acknowledgement: promised, under way, done, given up
    #[command(subcommand)]
    Work(Work),
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
    /// Also take away numbers, accounts and backup schedules that the file does not name. Tenants, secrets and backups stay in any case
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
    /// Where providers reach the server; their signatures cover it, and `number buy` points webhooks there
    /// [default: where it listens]
    #[arg(long)]
    pub(super) public_url: Option<String>,
    /// The folder of a static word-vector model, for search by meaning: see ops/word-vectors.sh [default: none]
    #[arg(long)]
    pub(super) word_vectors: Option<PathBuf>,
    /// Show figures to Prometheus at http://ADDRESS/metrics, as `worker` does
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics: Option<SocketAddr>,
    /// Delete the data folder first
    #[arg(long)]
    pub(super) fresh: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Platform {
    /// All settings
    Show,
    /// Change a setting
    Set {
        /// suspended_sentence: what callers of a suspended tenant hear. public_url: where providers reach the servers, the same
        /// as their --public-url; `number buy` and `number configure` point webhooks there. twilio_base_url: where Twilio's REST API
        /// is [default: https://api.twilio.com]. backups_to: a folder by its whole path, or s3://BUCKET/PREFIX
        #[arg(value_parser = [SUSPENDED_SENTENCE, PUBLIC_URL, TWILIO_BASE_URL, BACKUPS_TO])]
        name: String,
        value: String,
    },
}
