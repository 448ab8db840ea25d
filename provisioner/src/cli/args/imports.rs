//! `import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use strowger::id::TenantId;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Import {
    /// Say what would become of every row, and change nothing
    Plan(Way),
    /// Write every row to its tenant, and compare. Killed, or run twice, it is run again with the same result
    Run {
        #[command(flatten)]
        way: Way,
        /// Write to no tenant; the file of rejects is written
        #[arg(long)]
        dry_run: bool,
        /// Rows that are written at once
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
        batch: u16,
    },
    /// Imports that began and ended, newest first. One that did not end was killed, or is at work: run it again
    Status {
        /// At most so many lines
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
}

/// What goes where.
#[derive(Debug, Args)]
pub(in crate::cli) struct Way {
    /// A TOML file that says what goes where; see ops/import/legacy-memory.toml
    #[arg(long)]
    pub(in crate::cli) mapping: PathBuf,
    /// The other platform's database. It is only read: a login that may do no more will do
    #[arg(long, env = "STROWGERCTL_IMPORT_SOURCE_URL", hide_env_values = true)]
    pub(in crate::cli) source_url: Option<String>,
    /// A plain SQL dump of it instead, loaded into a throwaway Postgres here
    #[arg(long, required_unless_present = "source_url", conflicts_with = "source_url")]
    pub(in crate::cli) dump: Option<PathBuf>,
    /// Which tenant a value of the tenant column means; in addition to the mapping's [tenants]
    #[arg(long = "tenant", value_name = "VALUE=ID", value_parser = tenant)]
    pub(in crate::cli) tenants: Vec<(String, TenantId)>,
    /// The tenant that gets the rows of tables without a tenant column
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) all_to: Option<TenantId>,
    /// A new file for what is rejected or merged, with the rows: callers' numbers and words
    /// [default: import-rejects-TIME.jsonl here; none for plan]
    #[arg(long)]
    pub(in crate::cli) rejects: Option<PathBuf>,
}

fn tenant(text: &str) -> std::result::Result<(String, TenantId), String> {
    let (value, id) = text.rsplit_once('=').ok_or("a value and a tenant's id, as in acme=3")?;
    Ok((value.to_owned(), id.parse().map_err(|error| format!("{error}"))?))
}
