//! What a write does when the tenant turns to another place under it: it waits for the turn, and goes there.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;

use super::connect::Manager;
use super::db::Onward;
use super::pools::Pools;
use crate::control::tenants::State;
use crate::directory::{Directory, DirectoryError, Route};
use crate::id::TenantId;

/// How long a write waits for a tenant that is about to have moved; a move gives up its turn before that.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it is looked whether it has. What is looked at is cached, and the turn is announced.
const LOOK: Duration = Duration::from_millis(5);

/// How to reach a tenant when it has turned, or when that has taken too long. No connection is held meanwhile.
pub(super) async fn turned(directory: &Directory, tenant: TenantId) -> Result<Option<Arc<Route>>, DirectoryError> {
    let mut left = PATIENCE;
    loop {
        let route = directory.tenant(tenant).await?;
        if left.is_zero() || !route.as_ref().is_some_and(|route| route.placement.turns_soon) {
            return Ok(route);
        }
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
}

/// The way on for connections that were opened before the tenant turned.
pub(super) struct Turned {
    pub(super) directory: Arc<Directory>,
    pub(super) pools: Arc<Pools>,
}

impl Turned {
    async fn after(&self, seen: &Arc<Route>) -> Option<Object<Manager>> {
        self.directory.tenant_after(seen).await.ok()??;
        let route = turned(&self.directory, seen.placement.tenant).await.ok()??;
        let here = &route.placement;
        if here.held || here.state != State::Active || here.generation == seen.placement.generation {
            return None;
        }
        self.pools.get(&route).await.ok()
    }
}

impl Onward for Turned {
    fn onward<'a>(
        &'a self,
        seen: &'a Arc<Route>,
    ) -> Pin<Box<dyn Future<Output = Option<Object<Manager>>> + Send + 'a>> {
        Box::pin(self.after(seen))
    }
}
