//! `control`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ControlCommand {
    /// Copy the control database to a file, and its wrapped data keys to another, FILE.keys; both sealed under the admin ring
    Backup {
        /// A file that is not there yet
        #[arg(long)]
        out: PathBuf,
    },
    /// Open all of a copy and say what it holds. Needs the admin ring alone
    Show {
        #[command(flatten)]
        copy: Copy,
    },
    /// Make a lost control database again from a copy; nothing is served from it before `control reconcile` says so. The superuser's URL
    /// comes from standard input
    Restore {
        #[command(flatten)]
        copy: Copy,
        /// The folder with server.ring and admin.ring, as `init` wrote it; strowger.toml and strowgerctl.toml are written there anew
        #[arg(long)]
        out: PathBuf,
    },
    /// Correct a restored control database by what the clusters say; serve from it once the doctor finds nothing
    Reconcile,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Copy {
    /// The copy
    pub(in crate::cli) file: PathBuf,
    /// The file with its data keys [default: FILE.keys]
    #[arg(long)]
    pub(in crate::cli) keys: Option<PathBuf>,
}
