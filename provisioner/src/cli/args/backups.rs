//! `backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use strowger::id::{Region, TenantId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Isolation;
use super::values::{interval, moment, seconds, time_of_day};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BackupCommand {
    /// Write a sealed backup of each tenant: one snapshot each, whatever the neighbours are
    Create {
        #[command(flatten)]
        whose: Whose,
        /// A folder by its whole path, or s3://BUCKET/PREFIX; reachable by the worker too [default: `platform set backups_to`]
        #[arg(long)]
        to: Option<String>,
    },
    /// Have the worker back tenants up; `schedule list`, `schedule remove`
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Schedule(Schedule),
    /// All backups, newest first
    List {
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// One backup, with rows and bytes of each table
    Show { id: Uuid },
    /// Restore a backup aside, compare everything, and leave nothing of that
    Verify { id: Uuid },
    /// Delete a backup from its store and from the list
    Delete { id: Uuid },
    /// Put a backup, or a tenant as it was at a moment, in the place of its data, or make a new tenant of it
    Restore(Restore),
    /// Put back what the last restore in place replaced; what is there now is kept in turn. Done once, `redo` takes it back
    Undo(Turn),
    /// Take the last `undo` back, in the same way
    Redo(Turn),
    /// Delete all but the last backup of each of some days, weeks and months; the newest and those of earlier moments always stay
    Prune {
        #[arg(long)]
        tenant: Option<TenantId>,
        #[arg(long, default_value_t = 7)]
        daily: u32,
        #[arg(long, default_value_t = 4)]
        weekly: u32,
        #[arg(long, default_value_t = 12)]
        monthly: u32,
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
    /// What lies in a store for more than a day and the list does not know: left by a killed command or a lost control database
    Strays {
        /// A folder by its whole path, or s3://BUCKET/PREFIX [default: `platform set backups_to`]
        #[arg(long = "in")]
        place: Option<String>,
        /// Delete it, but for what this installation's key ring does not open
        #[arg(long)]
        delete: bool,
    },
    /// Write a backup as SQL and CSV files that psql loads without Strowger
    Extract {
        /// Which one; or --from
        #[arg(required_unless_present = "from")]
        id: Option<Uuid>,
        /// Where it lies: STORE/ID. With --server-key-ring alone it is read without the control database
        #[arg(long, conflicts_with = "id")]
        from: Option<String>,
        /// A folder that is not there yet
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Turn {
    pub(in crate::cli) tenant: TenantId,
    /// How long what is replaced is kept, as in 12h or 7d
    #[arg(long, default_value = "7d", value_parser = seconds)]
    pub(in crate::cli) keep: i64,
}

/// One way of saying whose backups are meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Whose {
    /// These
    #[arg(long, num_args = 1..)]
    pub(in crate::cli) tenant: Vec<TenantId>,
    /// Those that live now on a cluster with this region label
    #[arg(long)]
    pub(in crate::cli) cluster_region: Option<String>,
    /// Every tenant that has data; of a schedule: that has none of its own, those to come too
    #[arg(long)]
    pub(in crate::cli) all: bool,
}

/// Backups go where `platform set backups_to` says. One that was missed is made up for once.
#[derive(Debug, Args)]
pub(in crate::cli) struct Schedule {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<ScheduleCommand>,
    #[command(flatten)]
    pub(in crate::cli) whose: Whose,
    /// How old the last good backup may become, as in 6h, 24h or 7d
    #[arg(long, required = true, value_parser = interval)]
    pub(in crate::cli) every: Option<i64>,
    /// At this time of day, UTC, as in 02:30; every part of a day from it, or every so many days [default: as --every ends]
    #[arg(long, value_parser = time_of_day)]
    pub(in crate::cli) at: Option<i64>,
    /// After each, keep the last backup of so many days, as `prune` does [default: without any --keep-… all are kept]
    #[arg(long)]
    pub(in crate::cli) keep_daily: Option<u32>,
    /// And of so many weeks
    #[arg(long)]
    pub(in crate::cli) keep_weekly: Option<u32>,
    /// And of so many months
    #[arg(long)]
    pub(in crate::cli) keep_monthly: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ScheduleCommand {
    /// All schedules: whom they cover, how old their oldest last backup is, when the next is due
    List,
    /// Take schedules away; backups stay
    Remove {
        #[arg(long, required_unless_present = "all", num_args = 1..)]
        tenant: Vec<TenantId>,
        /// The one for every tenant that has none of its own
        #[arg(long, conflicts_with = "tenant")]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    /// A backup; or --at
    #[arg(required_unless_present = "at")]
    pub(in crate::cli) id: Option<Uuid>,
    /// As it was at this moment, out of the archive of its cluster, as 2026-12-01T08:00:00Z; a backup of that moment is made first
    #[arg(long, value_parser = moment, conflicts_with = "id", requires = "tenant")]
    pub(in crate::cli) at: Option<OffsetDateTime>,
    /// Whose moment
    #[arg(long, requires = "at")]
    pub(in crate::cli) tenant: Option<TenantId>,
    /// Where that backup goes [default: `platform set backups_to`]
    #[arg(long, requires = "at")]
    pub(in crate::cli) to: Option<String>,
    /// The tenant is shut out only while two schemas change names
    #[arg(long, required_unless_present = "as_new_tenant")]
    pub(in crate::cli) in_place: bool,
    /// How long what is replaced is kept, as in 12h or 7d
    #[arg(long, default_value = "7d", value_parser = seconds)]
    pub(in crate::cli) keep: i64,
    /// Another tenant with the same data, and without its numbers
    #[arg(long, conflicts_with = "in_place", requires_all = ["name", "isolation"])]
    pub(in crate::cli) as_new_tenant: bool,
    /// Your handle for the new tenant, unique
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// How the new tenant is kept apart; need not be how the old one was
    #[arg(long, value_enum)]
    pub(in crate::cli) isolation: Option<Isolation>,
    /// An id of your own for the new tenant
    #[arg(long)]
    pub(in crate::cli) new_id: Option<TenantId>,
    /// A cluster by name [default: the one with the most room]
    #[arg(long)]
    pub(in crate::cli) cluster: Option<String>,
    /// How the new tenant's callers write local numbers
    #[arg(long, default_value = "US")]
    pub(in crate::cli) region: Region,
}
