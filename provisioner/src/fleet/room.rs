//! How many sessions a run may hold open on each cluster.
//!
//! Servers may fill their whole connection budget while a run is at work. What the cluster grants beyond that is the
//! provisioner's: a run takes half of it, the other half is for jobs and for operators. One session there always is: a
//! budget that leaves nothing makes a run slow and not impossible.

use std::collections::HashMap;
use std::sync::Arc;

use strowger::control::clusters::{Cluster, ClusterId};
use strowger::control::tenants::Tenant;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};

/// The right to hold one session open. It is given back with the session.
pub(super) type Place = OwnedSemaphorePermit;

/// The clusters, each with its places; they are counted when the first is asked for.
pub(super) struct Rooms(HashMap<ClusterId, (Cluster, OnceCell<Arc<Semaphore>>)>);

impl Rooms {
    pub(super) fn new(clusters: Vec<Cluster>) -> Self {
        Self(clusters.into_iter().map(|cluster| (cluster.id, (cluster, OnceCell::new()))).collect())
    }

    /// A tenant's cluster, and the places there.
    pub(super) async fn of_tenant(&self, with: &Provisioner, tenant: &Tenant) -> Result<(&Cluster, Arc<Semaphore>)> {
        let missing = || Error::Conflict(format!("its cluster {} is not registered", tenant.cluster));
        let (cluster, places) = self.0.get(&tenant.cluster_id()).ok_or_else(missing)?;
        let count = async || {
            let granted = granted(&AdminDb::open(with, cluster, &tenant.database).await?).await?;
            Ok::<_, Error>(Arc::new(Semaphore::new(places_of_a_run(granted, cluster.connection_budget))))
        };
        Ok((cluster, Arc::clone(places.get_or_try_init(count).await?)))
    }
}

/// Sessions that a cluster grants to roles that are not superusers.
async fn granted(db: &AdminDb) -> Result<u32> {
    let sql = "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int";
    let rows = db.query(sql, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i32>(0)).try_into().unwrap_or(0))
}

fn places_of_a_run(granted: u32, budget_of_servers: u32) -> usize {
    usize::try_from(granted.saturating_sub(budget_of_servers) / 2)
        .unwrap_or(usize::MAX)
        .clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::places_of_a_run;

    #[test]
    fn servers_and_a_run_together_stay_under_what_a_cluster_grants() {
        assert_eq!(places_of_a_run(97, 60), 18);
        for (granted, budget) in [(97, 97), (97, 96), (97, 500), (0, 0)] {
            assert_eq!(places_of_a_run(granted, budget), 1, "{granted} {budget}");
        }
    }
}
