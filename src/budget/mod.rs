//! How many connections this process may hold open on each cluster.
//!
//! A [`Permit`] stands for one physical connection and lives exactly as long as it. The seam for what comes next (shares
//! that follow the number of instances, fairness between tenants) is here: nothing else counts connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control::clusters::ClusterId;

/// The CONNECTION LIMIT of a tenant's login: all instances' pools for it together stay under this.
pub const LOGIN_CONNECTION_LIMIT: u32 = 20;

/// How long one waits for a permit before it is told that the cluster is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The right to hold one connection open. Given back when dropped.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// All clusters' budgets in this process.
pub struct Budgets {
    /// How many instances share each cluster's budget.
    instances: u32,
    clusters: Mutex<HashMap<ClusterId, Arc<Semaphore>>>,
}

impl Budgets {
    /// Budgets for one of `instances` processes that share each cluster.
    pub fn new(instances: u32) -> Self {
        Self { instances: instances.max(1), clusters: Mutex::default() }
    }

    /// A permit without waiting, if there is one.
    pub fn try_permit(&self, cluster: ClusterId, total: u32) -> Option<Permit> {
        self.semaphore(cluster, total).try_acquire_owned().ok().map(Permit)
    }

    /// A permit, in order of asking; `None` when none came free in time.
    pub async fn permit(&self, cluster: ClusterId, total: u32) -> Option<Permit> {
        let waiting = self.semaphore(cluster, total).acquire_owned();
        tokio::time::timeout(PATIENCE, waiting).await.ok().and_then(Result::ok).map(Permit)
    }

    fn semaphore(&self, cluster: ClusterId, total: u32) -> Arc<Semaphore> {
        let share = usize::try_from((total / self.instances).max(1)).unwrap_or(1);
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(cluster).or_insert_with(|| Arc::new(Semaphore::new(share))))
    }
}
