//! A tenant's own data, reached as a server reaches it: through a token, the router and the tenant's own login.

use std::sync::Arc;

use strowger::auth::{Scope, jwt};
use strowger::clock::Clock;
use strowger::directory::{Directory, Staleness};
use strowger::id::TenantId;
use strowger::tenant::{Limits, Router, TenantDb, Write};

use crate::Provisioner;
use crate::credentials;
use crate::error::{Error, Result};

/// How long an operator's command may take.
const TTL_S: i64 = 3600;

/// Opens a tenant's database for reading and writing, with a token of these rights; the token is audited as any other.
pub(crate) async fn open(with: &Provisioner, tenant: TenantId, scopes: &[Scope]) -> Result<(TenantDb<Write>, String)> {
    let token = credentials::mint(with, tenant, scopes, TTL_S).await?;
    let failed = refused(tenant);
    let clock = Clock::system();
    let directory =
        Arc::new(Directory::new(with.control.clone(), with.server_ring.clone(), &clock, Staleness::default()));
    let router = Router::new(Arc::clone(&directory), "strowgerctl", 1, Limits::default());
    let who = jwt::verify(&directory, &with.installation, &token).await.map_err(|e| failed(&e))?;
    let db = router.open::<Write>(&who.principal).await.map_err(|e| failed(&e))?;
    Ok((db, token))
}

/// Why a tenant's data cannot be reached, or what its database said.
pub(crate) fn refused(tenant: TenantId) -> impl Fn(&dyn std::fmt::Display) -> Error {
    move |error| Error::Unavailable(format!("tenant {tenant}: {error}"))
}
