//! `profile`.

use std::path::PathBuf;

use clap::Subcommand;
use strowger::id::TenantId;
use strowger::profile::TemplateName;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Profile {
    /// Store a template from a file as those of ops/profiles/. One in use does not change: give it the next version
    Import { file: PathBuf },
    /// All templates
    List,
    /// One template: its file, its JSON Schema and its quick-bio rule
    Show { name: TemplateName },
    /// Check a template's file, and what it makes of a caller's fields; no database is asked
    Validate {
        file: PathBuf,
        /// A caller's fields, as `PUT /v2/profile/{user_id}` takes them
        #[arg(long)]
        fields: Option<String>,
    },
    /// Hold a tenant's callers to a template, for the first time
    Bind {
        #[arg(long)]
        tenant: TenantId,
        name: TemplateName,
        /// Only list the callers that do not fit
        #[arg(long)]
        dry_run: bool,
        /// Bind it although some callers do not fit: they keep their fields until they are written again
        #[arg(long)]
        force: bool,
    },
    /// Hold a tenant's callers to another template, or to another version
    Upgrade {
        #[arg(long)]
        tenant: TenantId,
        name: TemplateName,
        /// Only list the callers that do not fit
        #[arg(long)]
        dry_run: bool,
        /// Bind it although some callers do not fit: they keep their fields until they are written again
        #[arg(long)]
        force: bool,
    },
}
