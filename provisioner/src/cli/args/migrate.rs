//! `migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use strowger::id::TenantId;

use crate::fleet::Waves;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Migrate {
    /// Say who would be migrated, in which waves, and change nothing
    Plan(Way),
    /// Bring every tenant that is behind to the newest schema version. One that fails stays as it was and is served on
    Run {
        #[command(flatten)]
        way: Way,
        /// First read every tenant's own history, and correct what control says
        #[arg(long)]
        verify: bool,
    },
    /// How a run stands, and who failed
    Status {
        /// The run's number [default: the newest]
        #[arg(long)]
        run: Option<i64>,
        /// All its tenants, not only those that failed
        #[arg(long)]
        all: bool,
    },
    /// Go on with a run that was stopped, killed, or in which tenants failed
    Resume {
        /// The run's number [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// Begin no other tenant of a run at work; what is under way ends well
    Stop {
        /// The run's number [default: the newest]
        #[arg(long)]
        run: Option<i64>,
    },
    /// Read every tenant's own history, correct what control says by it, and name what should not be
    Reconcile {
        /// A folder with the whole sequence of migrations [default: this build's]
        #[arg(long)]
        migrations: Option<PathBuf>,
    },
}

/// How a run goes about it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Way {
    /// Tenants that go first; if one of them fails, nobody else is touched
    #[arg(long, value_delimiter = ',')]
    pub(in crate::cli) canary: Vec<TenantId>,
    /// So many others go first too
    #[arg(long, default_value_t = 0)]
    pub(in crate::cli) canary_count: usize,
    /// Growing percentages of the rest that end with 100, or region, or cluster: a wave begins when the one before is over
    #[arg(long, default_value = "100", value_parser = Waves::parse)]
    pub(in crate::cli) waves: Waves,
    /// Tenants at once
    #[arg(long, default_value_t = 2)]
    pub(in crate::cli) parallel: usize,
    /// Begin nobody else when so many tenants have failed
    #[arg(long, default_value_t = 10)]
    pub(in crate::cli) max_failures: usize,
    /// Milliseconds that an attempt waits for a lock in a tenant's schema
    #[arg(long, default_value_t = 1000)]
    pub(in crate::cli) lock_timeout: u32,
    /// How often a busy tenant is tried, each time after all others of its wave
    #[arg(long, default_value_t = 5)]
    pub(in crate::cli) attempts: u32,
    /// A folder with the whole sequence of migrations, for a rehearsal [default: this build's]
    #[arg(long)]
    pub(in crate::cli) migrations: Option<PathBuf>,
}
