//! `cluster`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::tenants::MoveHow;
use super::values::{kept, seconds};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ClusterKind {
    /// Many tenants' schemas in one database
    Shared,
    /// A database for each tenant
    Dedicated,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Cluster {
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
    /// Keep new tenants away, and say how many have to be moved; exit code 5 while there are any
    #[command(
        mut_arg("offline", |arg| arg.requires("moves")),
        mut_arg("patience", |arg| arg.requires("moves")),
        mut_arg("keep", |arg| arg.requires("moves"))
    )]
    Drain {
        name: String,
        /// Move them, one after the other, each to where a new one would go; as `tenant move`
        #[arg(long = "move")]
        moves: bool,
        #[command(flatten)]
        how: MoveHow,
    },
    /// Make a login there that may replicate, so that tenants move from and to it while they are written to; on Postgres 15 it is a
    /// superuser, sealed for the provisioner alone. The superuser's URL comes from standard input
    Online {
        name: String,
        /// Forget that login; nothing is read from standard input
        #[arg(long)]
        undo: bool,
    },
    /// Propose moves that give tenants more connections each, within a kind and a region; carries none out
    Rebalance {
        /// Only say which; `tenant move` is yours to say
        #[arg(long, required = true)]
        dry_run: bool,
    },
    /// Forget a cluster where no tenant's data is left; the server itself is not touched
    Remove { name: String },
    /// Ask a cluster, or all of them, how they are
    Status { name: Option<String> },
    /// Archive a cluster's log, so that one tenant can be brought back as it was at any moment: `backup restore --at`
    #[command(subcommand)]
    Archive(Archive),
    /// Backups and WAL archives that you keep outside of Strowger: receipts of erasures name them
    #[command(subcommand)]
    Copies(Copies),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Archive {
    /// Archive an embedded cluster from now on, or say where the archive of a server of your own is; again, it finishes or follows
    Enable {
        cluster: String,
        /// Embedded: a folder for it, on another disk if you can [default: archive/CLUSTER/repo in the data folder]
        #[arg(long, conflicts_with = "pgbackrest_config")]
        repo: Option<PathBuf>,
        /// Embedded: how far back it reaches, as in 14d
        #[arg(long, default_value = "14d", value_parser = seconds, conflicts_with = "pgbackrest_config")]
        keep: i64,
        /// Your own server: pgBackRest's settings on the machine where the restores are to be made; they name the repository
        #[arg(long, requires = "stanza")]
        pgbackrest_config: Option<PathBuf>,
        /// Your own server: what pgBackRest calls the cluster
        #[arg(long, requires = "pgbackrest_config")]
        stanza: Option<String>,
        /// Where clusters are restored aside; as much room as the cluster takes [default: beside the settings]
        #[arg(long)]
        aside: Option<PathBuf>,
    },
    /// Add a base backup to an embedded cluster's archive now; the worker adds one each day
    Backup {
        cluster: String,
        /// Of all of it, not only of what changed since the last full one
        #[arg(long)]
        full: bool,
    },
    /// Archive an embedded cluster no more, and leave what is archived; again once that is deleted, or of your own server's: forget it
    Disable { cluster: String },
    /// How far back and up to when each archive reaches, and what failed last
    Status { cluster: Option<String> },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Copies {
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
