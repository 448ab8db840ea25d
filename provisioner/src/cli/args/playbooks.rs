//! `playbook`.

use std::path::PathBuf;

use clap::Subcommand;
use strowger::id::TenantId;
use strowger::playbook::Name;
use strowger::playbook::merge::Choice;

use super::values::resolved;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Playbook {
    /// Make a file as those of ops/playbooks/ the draft of its playbook's next version, in the place of the draft there was
    Import { file: PathBuf },
    /// Make the draft what tenants clone. It never changes again: what is imported later is the next version
    Publish {
        name: Name,
        /// Only if the draft is this version [default: the newest]
        #[arg(long)]
        version: Option<i32>,
    },
    /// All versions of all playbooks
    List,
    /// One version with its file; the newest unless another is named
    Show {
        name: Name,
        #[arg(long)]
        version: Option<i32>,
    },
    /// Check a playbook's file and name every fault with its place; no database is asked
    Validate { file: PathBuf },
    /// Give a tenant a published playbook as its own: independent from then on, until `update`
    Clone {
        #[arg(long)]
        tenant: TenantId,
        name: Name,
        /// [default: the newest]
        #[arg(long)]
        version: Option<i32>,
    },
    /// What a newer version would change for a tenant that cloned the playbook, what the tenant keeps, and what both have changed
    Preview {
        #[arg(long)]
        tenant: TenantId,
        /// Another playbook [default: the one it cloned]
        name: Option<Name>,
        /// [default: the newest]
        #[arg(long)]
        version: Option<i32>,
    },
    /// Bring a tenant's clone to a newer version. What the tenant changed stays; what both changed is refused until it is resolved
    Update {
        #[arg(long)]
        tenant: TenantId,
        /// Another playbook [default: the one it cloned]
        name: Option<Name>,
        /// [default: the newest]
        #[arg(long)]
        version: Option<i32>,
        /// Whose word is taken at a place, as in /scenarios/hours/replies=mine or =theirs (the playbook's); again for each place
        #[arg(long, value_parser = resolved)]
        resolve: Vec<(String, Choice)>,
    },
}
