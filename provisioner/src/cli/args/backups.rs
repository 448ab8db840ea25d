//! `backup`.

use std::path::PathBuf;

use clap::Subcommand;
use strowger::id::TenantId;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BackupCommand {
    /// Write a sealed backup of each tenant: one snapshot each, whatever the neighbours are
    Create {
        #[arg(long, required_unless_present = "all", num_args = 1..)]
        tenant: Vec<TenantId>,
        /// Every tenant that has data
        #[arg(long, conflicts_with = "tenant")]
        all: bool,
        /// A folder by its whole path, reachable by the worker too [default: `platform set backups_to`]
        #[arg(long)]
        to: Option<String>,
    },
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
    /// Write a backup as SQL and COPY files that psql loads without Strowger
    Extract {
        /// Which one; or --from
        #[arg(required_unless_present = "from")]
        id: Option<Uuid>,
        /// Its folder in the store. With --server-key-ring alone it is read without the control database
        #[arg(long, conflicts_with = "id")]
        from: Option<PathBuf>,
        /// A folder that is not there yet
        #[arg(long)]
        out: PathBuf,
    },
}
