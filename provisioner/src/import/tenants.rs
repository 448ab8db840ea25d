//! The tenants that rows go to, each through its own login: Postgres itself refuses a row that would go to another.

use std::collections::BTreeMap;
use std::sync::Arc;

use strowger::auth::{Principal, Scope, jwt};
use strowger::clock::Clock;
use strowger::control::tenants::{self as rows, State};
use strowger::directory::{Directory, Staleness};
use strowger::id::{Region, TenantId};
use strowger::tenant::imports::{self, Columns, Standing, Target};
use strowger::tenant::{Limits, Read, Router, TenantDb, TenantError, Write};

use super::report::Tally;
use crate::error::{Error, Result};
use crate::{Provisioner, credentials};

/// What these sessions are called in Postgres.
const SESSION: &str = "strowgerctl import";

/// Tenants that can be imported into, and how their callers write numbers.
pub(super) async fn regions(with: &Provisioner, ids: &[TenantId]) -> Result<BTreeMap<TenantId, Region>> {
    let found = rows::among(&with.control, ids).await?;
    let missing = ids.iter().filter(|id| found.iter().all(|tenant| tenant.id != **id));
    let mut problems: Vec<String> = missing.map(|id| format!("there is no tenant {id}")).collect();
    let shut = found.iter().filter(|tenant| tenant.state != State::Active);
    problems.extend(shut.map(|tenant| format!("tenant {} is {}, not active", tenant.id, tenant.state.as_str())));
    if !problems.is_empty() {
        return Err(Error::Conflict(format!("nothing was changed:\n  {}", problems.join("\n  "))));
    }
    Ok(found.into_iter().map(|tenant| (tenant.id, tenant.region)).collect())
}

/// The doors to them.
pub(super) struct Doors {
    router: Router,
    principals: BTreeMap<TenantId, Principal>,
}

impl Doors {
    /// Comes to each tenant as any service does: with a token, which the audit log has seen.
    pub(super) async fn open(with: &Provisioner, ids: impl Iterator<Item = &TenantId>) -> Result<Self> {
        let clock = Clock::system();
        let directory =
            Arc::new(Directory::new(with.control.clone(), with.server_ring.clone(), &clock, Staleness::default()));
        let mut principals = BTreeMap::new();
        for id in ids {
            let token = credentials::mint(with, *id, &[Scope::WriteMemories], 60).await?;
            let who = jwt::verify(&directory, &with.installation, &token).await;
            principals.insert(*id, who.map_err(|error| Error::Unavailable(format!("tenant {id}: {error}")))?.principal);
        }
        Ok(Self { router: Router::new(directory, SESSION, 1, Limits::default()), principals })
    }

    /// Puts rows, all or none.
    pub(super) async fn put(&self, tenant: TenantId, target: &Target, rows: &Columns) -> Result<Put> {
        let db: TenantDb<Write> = self.router.open(self.principal(tenant)?).await.map_err(|e| closed(tenant, &e))?;
        match imports::put(db.conn(), target, rows).await {
            Ok(()) => Ok(Put::Done),
            Err(TenantError::Unstorable(why)) => Ok(Put::Unstorable(why)),
            Err(error) => Err(closed(tenant, &error)),
        }
    }

    /// What became of rows that were put.
    pub(super) async fn compare(
        &self,
        tenant: TenantId,
        target: &Target,
        rows: &Columns,
        sums: &[i64],
    ) -> Result<Vec<Standing>> {
        let db: TenantDb<Read> = self.router.open(self.principal(tenant)?).await.map_err(|e| closed(tenant, &e))?;
        imports::compare(db.conn(), target, rows, sums).await.map_err(|e| closed(tenant, &e))
    }

    /// All that a tenant's table holds.
    pub(super) async fn total(&self, tenant: TenantId, target: &Target) -> Result<Tally> {
        let db: TenantDb<Read> = self.router.open(self.principal(tenant)?).await.map_err(|e| closed(tenant, &e))?;
        let (rows, sum) = imports::total(db.conn(), target).await.map_err(|e| closed(tenant, &e))?;
        Ok(Tally::of(rows, &sum))
    }

    fn principal(&self, tenant: TenantId) -> Result<&Principal> {
        self.principals.get(&tenant).ok_or_else(|| Error::Conflict(format!("tenant {tenant} was not asked for")))
    }
}

/// What came of putting rows.
pub(super) enum Put {
    /// They are there.
    Done,
    /// One of them holds what Postgres does not take; none is there.
    Unstorable(String),
}

fn closed(tenant: TenantId, error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("tenant {tenant}: {error}. Run the same command again: it goes on with what is missing"))
}
