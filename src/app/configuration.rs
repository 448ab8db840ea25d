//! A change of a tenant's configuration: read, altered, added as the next version, and never over somebody else's change.

use crate::persona::Configuration;
use crate::shape::Fault;
use crate::tenant::configurations::{self, Version};
use crate::tenant::{TenantDb, TenantError, Write};

/// Whoever does not say which version he has seen is tried again so often against others who write at the same moment.
const ATTEMPTS: u32 = 5;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// What was asked for does not fit.
    #[error("{} fields do not fit", .0.len())]
    Invalid(Vec<Fault>),
    /// Another version is in force than the one that was to be changed, or others kept changing it.
    #[error("the configuration was changed meanwhile")]
    Stale,
    /// The tenant's database did not answer.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// Makes `alter`'s result the configuration in force, if `seen` is still what is; one that alters nothing makes no version.
pub async fn change(
    db: &TenantDb<Write>,
    seen: Option<i32>,
    by: &str,
    alter: impl Fn(&Configuration) -> Result<Configuration, Vec<Fault>>,
) -> Result<Version, NotChanged> {
    for _ in 0..ATTEMPTS {
        let current = configurations::current(db.conn()).await?;
        if seen.is_some_and(|seen| seen != current.head.version) {
            return Err(NotChanged::Stale);
        }
        let new = alter(&current.configuration).map_err(NotChanged::Invalid)?;
        if new == current.configuration {
            return Ok(current);
        }
        if let Some(version) = configurations::add(db.conn(), current.head.version, &new, by).await? {
            return Ok(version);
        }
    }
    Err(NotChanged::Stale)
}
