//! From a principal to a connection that can open nothing else.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::connect::OpenError;
use super::db::{Intent, TenantDb};
use super::onward::{self, Turned};
use super::pools::{Limits, Pools};
use crate::auth::Principal;
use crate::budget::Budgets;
use crate::control::jobs::{self, Kind};
use crate::control::tenants::State;
use crate::directory::{Directory, DirectoryError, Route};
use crate::id::TenantId;
use crate::schema;

/// Why a tenant was not opened. Each has a name that the operator's guide explains.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such tenant, or it was deleted: the two look alike from outside.
    #[error("there is no tenant {0}")]
    Unknown(TenantId),
    /// An operator suspended it.
    #[error("tenant {0} is suspended")]
    Suspended(TenantId),
    /// An operator made it read-only, and this would write.
    #[error("tenant {0} is read-only")]
    ReadOnly(TenantId),
    /// Its data is being carried to another cluster, and this would write: in a moment it can.
    #[error("tenant {0} is moving")]
    Moving(TenantId),
    /// It is still being made.
    #[error("tenant {0} is not ready yet")]
    NotReady(TenantId),
    /// Its schema is older or newer than this process understands.
    #[error("tenant {tenant} is at schema version {version}; this process serves {} to {}", serves.start(), serves.end())]
    SchemaVersion {
        /// Whose.
        tenant: TenantId,
        /// Where its migrations stand.
        version: i32,
        /// What this process serves.
        serves: RangeInclusive<i32>,
    },
    /// Where it lives could not be found out.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its database did not take the connection.
    #[error("tenant {tenant}: {error}")]
    Open {
        /// Whose.
        tenant: TenantId,
        /// What happened, after one retry with a fresh placement where that could help.
        error: OpenError,
    },
}

/// Opens tenants. One for a process, behind an [`Arc`].
pub struct Router {
    directory: Arc<Directory>,
    pools: Arc<Pools>,
    onward: Arc<Turned>,
    serves: RangeInclusive<i32>,
}

impl Router {
    /// A router for one of `instances` processes, named `instance` in Postgres.
    pub fn new(directory: Arc<Directory>, instance: &str, instances: u32, limits: Limits) -> Self {
        let pools = Pools::new(instance, limits, Budgets::new(instances));
        let onward = Arc::new(Turned { directory: Arc::clone(&directory), pools: Arc::clone(&pools) });
        Self { directory, pools, onward, serves: schema::MIN..=schema::MAX }
    }

    /// The same, for schema versions up to one that is newer than this build's own.
    #[must_use]
    pub fn serving_up_to(self, newest: i32) -> Self {
        Self { serves: schema::MIN..=newest.max(schema::MAX), ..self }
    }

    /// A connection to the principal's own tenant.
    ///
    /// A refusal that may come from an old placement leads to one fresh look and one retry; if that is refused too and
    /// the provisioner could mend it, a repair job is asked for.
    pub async fn open<I: Intent>(&self, who: &Principal) -> Result<TenantDb<I>, Refused> {
        let route = self.admit::<I>(who.tenant()).await?;
        match self.checkout(&route).await {
            Err(Refused::Open { error, .. }) if error.is_signal() => {
                Box::pin(self.open_again::<I>(&route, error)).await
            }
            other => other,
        }
    }

    /// How to reach a tenant that is being served, for that intent. A write waits some seconds for one that is about to have moved.
    pub async fn admit<I: Intent>(&self, tenant: TenantId) -> Result<Arc<Route>, Refused> {
        let mut route = self.directory.tenant(tenant).await?;
        if I::WRITES && route.as_ref().is_some_and(|route| route.placement.turns_soon) {
            route = onward::turned(&self.directory, tenant).await?;
        }
        self.admitted::<I>(tenant, route)
    }

    /// Closes idle connections now and then, until the process ends.
    pub async fn reap_idle(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            self.pools.reap();
        }
    }

    /// Lets idle connections go as soon as a tenant's login has changed, until the process ends: whoever retires a login waits
    /// for the last of its sessions.
    pub async fn follow_changes(self: Arc<Self>) {
        let mut changed = self.directory.changed_tenants();
        loop {
            match changed.recv().await {
                Ok(tenant) if self.pools.holds(tenant) => {
                    if let Ok(Some(route)) = self.directory.tenant(tenant).await {
                        self.pools.follow(&route);
                    }
                }
                // What was missed is noticed by the tenant's next request.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Closes all pools.
    pub fn close(&self) {
        self.pools.close();
    }

    async fn checkout<I: Intent>(&self, route: &Arc<Route>) -> Result<TenantDb<I>, Refused> {
        match self.pools.get(route).await {
            Ok(connection) => Ok(TenantDb::new(connection, Arc::clone(route), Arc::clone(&self.onward) as _)),
            Err(error) => Err(Refused::Open { tenant: route.placement.tenant, error }),
        }
    }

    async fn open_again<I: Intent>(&self, seen: &Arc<Route>, first: OpenError) -> Result<TenantDb<I>, Refused> {
        let Ok(fresh) = self.directory.tenant_after(seen).await else {
            return Err(Refused::Open { tenant: seen.placement.tenant, error: first });
        };
        let fresh = self.admitted::<I>(seen.placement.tenant, fresh)?;
        let refused = match self.checkout(&fresh).await {
            Err(Refused::Open { error, .. }) => error,
            other => return other,
        };
        if refused.is_repairable() {
            tracing::warn!(tenant.id = %seen.placement.tenant, error = %refused, "a tenant's login is refused; asking for a repair");
            if let Err(error) = jobs::request(self.directory.control(), Kind::Repair, seen.placement.tenant).await {
                tracing::warn!(tenant.id = %seen.placement.tenant, %error, "could not ask for a repair");
            }
        }
        Err(Refused::Open { tenant: seen.placement.tenant, error: refused })
    }

    fn admitted<I: Intent>(&self, tenant: TenantId, route: Option<Arc<Route>>) -> Result<Arc<Route>, Refused> {
        let route = route.ok_or(Refused::Unknown(tenant))?;
        let version = route.placement.schema_version;
        match route.placement.state {
            State::Active | State::ReadOnly if !self.serves.contains(&version) => {
                Err(Refused::SchemaVersion { tenant, version, serves: self.serves.clone() })
            }
            State::ReadOnly if I::WRITES => Err(Refused::ReadOnly(tenant)),
            State::Active if I::WRITES && route.placement.held => Err(Refused::Moving(tenant)),
            State::Active | State::ReadOnly => Ok(route),
            State::Suspended => Err(Refused::Suspended(tenant)),
            State::Provisioning => Err(Refused::NotReady(tenant)),
            State::Deleted | State::Erasing | State::Erased => Err(Refused::Unknown(tenant)),
        }
    }
}
