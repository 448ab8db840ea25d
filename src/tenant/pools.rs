//! One small pool a tenant. A pool belongs to one generation of one placement and is never changed, only replaced.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError, TimeoutType, Timeouts};

use super::connect::{Manager, OpenError};
use crate::budget::Budgets;
use crate::control::clusters::ClusterId;
use crate::directory::Route;
use crate::id::TenantId;

/// How much one process may hold open.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For one tenant at once; all instances together must stay under the role's CONNECTION LIMIT.
    pub connections_per_tenant: usize,
    /// A connection that was not used for so long is closed.
    pub idle: Duration,
    /// How long a request waits for one of its tenant's connections.
    pub wait: Duration,
    /// How long opening one may take.
    pub open: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_tenant: 4,
            idle: Duration::from_secs(60),
            wait: Duration::from_secs(2),
            open: Duration::from_secs(5),
        }
    }
}

pub(super) struct TenantPool {
    route: Arc<Route>,
    pool: Pool<Manager>,
}

impl TenantPool {
    /// A connection; `None` when the pool was closed, for instance because a newer one has taken its place.
    async fn get(&self) -> Result<Option<Object<Manager>>, OpenError> {
        // A timer costs more than taking a connection that is there: nobody sets one before he has to wait.
        let at_once = Timeouts { wait: Some(Duration::ZERO), ..self.pool.timeouts() };
        let taken = match self.pool.timeout_get(&at_once).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => self.pool.get().await,
            taken => taken,
        };
        match taken {
            Ok(connection) => Ok(Some(connection)),
            Err(PoolError::Closed) => Ok(None),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(OpenError::Busy),
            Err(PoolError::Timeout(_)) => Err(OpenError::Unreachable("opening a connection took too long".into())),
            Err(other) => Err(OpenError::Unreachable(other.to_string())),
        }
    }

    /// A pool is as old as its generation, which a migration counts up too: statements prepared before one go with it.
    /// An older generation never replaces a newer one; the same one does when its cluster has a new address.
    fn serves(&self, route: &Arc<Route>) -> bool {
        Arc::ptr_eq(&self.route, route)
            || self.route.placement.generation > route.placement.generation
            || (self.route.placement.generation == route.placement.generation
                && self.route.placement.address == route.placement.address)
    }

    /// Closes idle connections that `keep` does not want, and says how many.
    fn close_idle(&self, mut close: impl FnMut(Duration) -> bool) -> usize {
        self.pool.retain(|_, metrics| !close(metrics.last_used())).removed.len()
    }
}

pub(super) struct Pools {
    /// Ourselves, for what a pool calls back when the budget is spent.
    me: Weak<Self>,
    instance: String,
    limits: Limits,
    budgets: Arc<Budgets>,
    pools: RwLock<HashMap<TenantId, Arc<TenantPool>>>,
}

impl Pools {
    pub(super) fn new(instance: &str, limits: Limits, budgets: Budgets) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            instance: instance.to_owned(),
            limits,
            budgets: Arc::new(budgets),
            pools: RwLock::default(),
        })
    }

    /// A connection of a route's generation or a newer one.
    pub(super) async fn get(&self, route: &Arc<Route>) -> Result<Object<Manager>, OpenError> {
        let mut closed: Option<Arc<TenantPool>> = None;
        loop {
            let pool = self.of(route)?;
            if closed.is_some_and(|closed| Arc::ptr_eq(&closed, &pool)) {
                return Err(OpenError::Unreachable("this process is stopping".into()));
            }
            if let Some(connection) = pool.get().await? {
                return Ok(connection);
            }
            // Whoever waited in it goes on in the pool that took its place: a change of logins refuses nobody.
            closed = Some(pool);
        }
    }

    /// Lets a tenant's pool go in favour of a newer route, if there is a pool: its idle connections are closed at once.
    pub(super) fn follow(&self, route: &Arc<Route>) {
        if self.holds(route.placement.tenant) {
            // A route that no pool can be made of is refused when somebody wants it.
            let _ = self.of(route);
        }
    }

    /// Whether there is a pool for the tenant.
    pub(super) fn holds(&self, tenant: TenantId) -> bool {
        self.read().contains_key(&tenant)
    }

    /// The pool of a route's generation, made if need be.
    fn of(&self, route: &Arc<Route>) -> Result<Arc<TenantPool>, OpenError> {
        if let Some(pool) = self.read().get(&route.placement.tenant).filter(|pool| pool.serves(route)) {
            return Ok(Arc::clone(pool));
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&route.placement.tenant).filter(|pool| pool.serves(route)) {
            return Ok(Arc::clone(pool));
        }
        let made = Arc::new(self.make(route)?);
        if let Some(old) = pools.insert(route.placement.tenant, Arc::clone(&made)) {
            old.pool.close();
        }
        Ok(made)
    }

    fn make(&self, route: &Arc<Route>) -> Result<TenantPool, OpenError> {
        let (me, cluster) = (self.me.clone(), route.placement.cluster);
        let make_room = Box::new(move || {
            if let Some(pools) = me.upgrade() {
                pools.close_one_idle(cluster);
            }
        });
        let manager = Manager::new(Arc::clone(route), &self.instance, Arc::clone(&self.budgets), make_room)?;
        let pool = Pool::builder(manager)
            .max_size(self.limits.connections_per_tenant)
            .wait_timeout(Some(self.limits.wait))
            .create_timeout(Some(self.limits.open))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Unreachable(error.to_string()))?;
        Ok(TenantPool { route: Arc::clone(route), pool })
    }

    /// Gives back the permit of the connection that has been idle longest, of whichever tenant: the one that asks may
    /// itself have had a connection returned since it began to wait for another.
    fn close_one_idle(&self, cluster: ClusterId) {
        let pools: Vec<_> = self.read().values().filter(|p| p.route.placement.cluster == cluster).cloned().collect();
        let mut oldest = None;
        for pool in &pools {
            pool.close_idle(|idle| {
                if oldest.as_ref().is_none_or(|(longest, _)| idle > *longest) {
                    oldest = Some((idle, pool));
                }
                false
            });
        }
        if let Some((_, pool)) = oldest {
            let mut closed = false;
            pool.close_idle(|_| !std::mem::replace(&mut closed, true));
        }
    }

    /// Closes what has been idle for long, and forgets pools that hold nothing.
    pub(super) fn reap(&self) {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| {
            pool.close_idle(|idle| idle >= self.limits.idle);
            // A pool that somebody else holds is about to be used.
            pool.pool.status().size > 0 || Arc::strong_count(pool) > 1
        });
    }

    /// Closes everything; waiting requests are refused.
    pub(super) fn close(&self) {
        for pool in self.read().values() {
            pool.pool.close();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<TenantId, Arc<TenantPool>>> {
        self.pools.read().unwrap_or_else(PoisonError::into_inner)
    }
}
