//! `tenant`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use strowger::id::{Region, TenantId};
use time::OffsetDateTime;

use super::values::{later, seconds, within_a_day};
use crate::moves::{How, Way};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Isolation {
    Schema,
    Database,
}

/// What moves of one tenant and of a whole cluster have in common.
#[derive(Debug, Args)]
pub(in crate::cli) struct MoveHow {
    /// Nothing is written to a tenant while it is carried over: for servers that cannot replicate. `tenant move --dry-run` says why
    #[arg(long)]
    offline: bool,
    /// How long transactions that began before may take to end, as in 60s or 2h: an online move begins when they have
    #[arg(long, default_value = "60s", value_parser = within_a_day, conflicts_with = "offline")]
    patience: i64,
    /// How long what is left behind is kept, as in 12h or 7d
    #[arg(long, default_value = "7d", value_parser = seconds)]
    keep: i64,
}

impl MoveHow {
    /// Offline if it was said, otherwise as given.
    pub(in crate::cli) fn named(&self, otherwise: Way) -> How {
        let way = if self.offline { Way::Offline } else { otherwise };
        How { way, keep_s: self.keep, patience_s: self.patience }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Tenant {
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
        /// Kept in the audit log, which no erasure changes: say no name
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Block a tenant in Postgres itself; nothing is lost. Callers hear its sentence, or the platform's
    Suspend {
        id: TenantId,
        /// Shown to operators, never to callers
        #[arg(long, default_value = "")]
        reason: String,
        /// When it is served again by itself: 90m, 12h, 3d, or 2026-12-01T08:00:00Z
        #[arg(long, value_parser = later)]
        until: Option<OffsetDateTime>,
        /// What callers hear, now and the next time too [default: what `tenant sentence` said, or the platform's]
        #[arg(long)]
        sentence: Option<String>,
    },
    /// Change what a tenant's callers hear while it is suspended or switched off
    Sentence {
        id: TenantId,
        /// In the callers' language; 1 to 1000 characters
        #[arg(required_unless_present = "clear")]
        sentence: Option<String>,
        /// The platform's sentence again
        #[arg(long, conflicts_with = "sentence")]
        clear: bool,
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
    /// Write everything of a tenant as CSV files with a README, for whoever leaves; audited
    Export {
        id: TenantId,
        /// A folder that is not there yet
        #[arg(long)]
        out: PathBuf,
    },
    /// Carry a tenant to another cluster: it is read and written to all the while, and a write waits when it turns. Run again it goes on
    Move {
        id: TenantId,
        /// The cluster; its kind says whether the tenant is a schema or a database there
        #[arg(long, required_unless_present = "undo")]
        to: Option<String>,
        /// What you take the cluster's kind to be; another one is refused
        #[arg(long, value_enum, conflicts_with = "undo")]
        isolation: Option<Isolation>,
        #[command(flatten)]
        how: MoveHow,
        /// Back to where it lived before, with what was written since
        #[arg(long, conflicts_with = "to")]
        undo: bool,
        /// Only say how much there is, what the servers are, and what would be refused
        #[arg(long, conflicts_with = "undo")]
        dry_run: bool,
    },
    /// Print the tenant login's libpq URL, for support; audited
    Connection { id: TenantId },
    /// Put a tenant's roles, password, settings and grants back
    Repair { id: TenantId },
    /// How a tenant's receptionist is configured
    #[command(subcommand)]
    Config(Configured),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Configured {
    /// What is in force, and the prompt that it comes to
    Show {
        #[arg(long)]
        tenant: TenantId,
    },
    /// Replace it as a whole; effective on the next call
    Set {
        #[arg(long)]
        tenant: TenantId,
        /// A TOML or JSON file as `GET /v1/config` shows it; without it, standard input
        #[arg(long)]
        file: Option<PathBuf>,
    },
}
