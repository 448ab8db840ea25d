//! What a tenant still lacks before callers are let in.
//!
//! Five things of equal weight: variables, number, greeting, knowledge, keys. The cache: the key is the tenant, an entry is up to
//! 30 s old, nothing invalidates it earlier; a go-live page polls it and nobody decides by it.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::clock::Clock;
use crate::control::secrets;
use crate::directory::{Directory, DirectoryError};
use crate::id::TenantId;
use crate::tenant::variables::{self, Standing};
use crate::tenant::{Intent, TenantDb, TenantError};

/// How old an answer may be.
const KEPT: Duration = Duration::from_secs(30);
/// How many tenants' are kept.
const TENANTS: usize = 10_000;

/// What is there, in points, and what is not, by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Readiness {
    /// 0 to 100; 100: nothing is missing.
    pub score: u32,
    /// Of variables, number, greeting, knowledge, keys.
    pub missing: Vec<&'static str>,
    /// Required variables without a value.
    #[serde(rename = "missingVariables")]
    pub missing_variables: Vec<String>,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadinessError {
    /// The tenant's own database did not say.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The control database did not say whether there are keys.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Readiness of all tenants. One for a process.
pub struct Readinesses {
    clock: Clock,
    /// With the time at which each was found.
    kept: Cache<TenantId, (Duration, Arc<Readiness>)>,
}

impl Readinesses {
    /// None known yet.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), kept: Cache::new(TENANTS) }
    }

    /// A tenant's, at most 30 s old. The connection is given back before the control database is asked.
    pub async fn of<I: Intent>(
        &self,
        directory: &Directory,
        db: TenantDb<I>,
    ) -> Result<Arc<Readiness>, ReadinessError> {
        let tenant = db.tenant();
        let now = self.clock.elapsed();
        if let Some((_, kept)) = self.kept.get(&tenant).filter(|(found, _)| now.saturating_sub(*found) < KEPT) {
            return Ok(kept);
        }
        let standing = variables::standing(db.conn()).await?;
        drop(db);
        let has_keys = secrets::any_for(directory.control(), tenant).await.map_err(DirectoryError::from)?;
        let readiness = Arc::new(Readiness::new(standing, has_keys));
        self.kept.insert(tenant, (now, Arc::clone(&readiness)));
        Ok(readiness)
    }
}

impl Readiness {
    fn new(standing: Standing, has_keys: bool) -> Self {
        let checks = [
            ("variables", standing.missing_variables.is_empty()),
            ("number", standing.has_number),
            ("greeting", standing.has_greeting),
            ("knowledge", standing.has_knowledge),
            ("keys", has_keys),
        ];
        let missing: Vec<_> = checks.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        let score = (checks.iter().filter(|(_, there)| *there).map(|_| 20)).sum();
        Self { score, missing, missing_variables: standing.missing_variables }
    }
}
