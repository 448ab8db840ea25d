//! `job`, `audit`.

use std::path::PathBuf;

use clap::Subcommand;
use strowger::control::jobs::State as JobState;
use strowger::control::work::STATES;
use strowger::id::TenantId;
use time::OffsetDateTime;

use super::values::moment;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Job {
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
pub(in crate::cli) enum Work {
    /// The newest items. What they say is sealed and never shown
    List {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Only those in this state; dead: given up, with the reason
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// One item
    Show { id: i64 },
    /// Have dead items tried once more
    Retry {
        #[arg(required_unless_present = "all_dead")]
        id: Option<i64>,
        /// Every dead item
        #[arg(long, conflicts_with = "id")]
        all_dead: bool,
    },
    /// Forget a dead item: what was promised will not be done
    Drop { id: i64 },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Audit {
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
