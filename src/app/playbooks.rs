//! A playbook taken by a tenant: cloned, compared with a newer version, brought up to date, exchanged for another. All of it is one
//! comparison ([`merge`]) of what it said, what it says and what the tenant made of it; a first clone has nothing to compare with.

use crate::control::playbooks::{self, Published};
use crate::control::{Control, ControlError};
use crate::playbook::merge::{Change, Choices, Conflict, Merged, merge};
use crate::playbook::{Content, Name};
use crate::tenant::clones::{self, Origin, Taken};
use crate::tenant::{Intent, TenantDb, TenantError, Write};

/// Somebody who changes answers at the same moment is waited for so often.
const ATTEMPTS: u32 = 5;

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// No such playbook, or no such version, is published.
    #[error("there is no such playbook, or no such version of it")]
    Unknown,
    /// The tenant and the playbook have changed the same, and nobody has chosen.
    #[error("{} places were changed by both", .0.len())]
    Conflicts(Vec<Conflict>),
    /// Others kept changing what is answered.
    #[error("the answers were changed meanwhile, again and again")]
    Busy,
    /// The control database did not say.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The tenant's database did not answer.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// What a version changes, or has changed, for a tenant.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// What the tenant cloned before.
    pub from: Option<Edition>,
    /// What is compared with it.
    pub to: Edition,
    /// Place by place.
    pub changes: Vec<Change>,
    /// Places where the tenant goes on differing.
    pub kept: Vec<String>,
    /// Places where somebody has to choose.
    pub conflicts: Vec<Conflict>,
}

/// A version of a playbook.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edition {
    /// The playbook's name.
    pub template_id: String,
    /// Which version.
    pub version: i32,
}

/// What can be cloned: the newest published version unless one is named.
pub async fn find(control: &Control, name: &str, version: Option<i32>) -> Result<Published, NotTaken> {
    let name: Name = name.parse().map_err(|_| NotTaken::Unknown)?;
    playbooks::published(control, &name, version).await?.ok_or(NotTaken::Unknown)
}

/// What `to` would change.
pub async fn preview<I: Intent>(db: &TenantDb<I>, to: &Published) -> Result<Compared, TenantError> {
    let read = clones::load(db.conn()).await?;
    let merged = merged(&read, to, &Choices::new());
    Ok(compared(&read, to, merged))
}

/// Makes it so, all of it or, while a conflict is open, nothing.
pub async fn take(db: &TenantDb<Write>, to: &Published, choices: &Choices) -> Result<Compared, NotTaken> {
    let origin = Origin { name: to.name.to_string(), version: to.version, content: to.content.clone() };
    for _ in 0..ATTEMPTS {
        let read = clones::load(db.conn()).await?;
        let merged = merged(&read, to, choices);
        if !merged.conflicts.is_empty() {
            return Err(NotTaken::Conflicts(merged.conflicts));
        }
        let is_there =
            read.origin.as_ref().is_some_and(|old| (&old.name, old.version) == (&origin.name, origin.version));
        if (is_there && merged.state == read.state) || clones::store(db.conn(), &read, &origin, &merged.state).await? {
            return Ok(compared(&read, to, merged));
        }
    }
    Err(NotTaken::Busy)
}

fn merged(read: &Taken, to: &Published, choices: &Choices) -> Merged {
    let nothing = Content::default();
    let old = read.origin.as_ref().map_or(&nothing, |origin| &origin.content);
    merge(old, &to.content, &read.state, choices)
}

fn compared(read: &Taken, to: &Published, merged: Merged) -> Compared {
    let edition = |name: &str, version| Edition { template_id: name.to_owned(), version };
    Compared {
        from: read.origin.as_ref().map(|origin| edition(&origin.name, origin.version)),
        to: edition(to.name.as_str(), to.version),
        changes: merged.changes,
        kept: merged.kept,
        conflicts: merged.conflicts,
    }
}
