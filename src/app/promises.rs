//! Promises: what is to be done after an acknowledgement, by whichever server comes to it.
//!
//! [`Promises::make`] is called before the acknowledgement. It seals the item under the tenant's key and queues it in control; with control
//! away it writes the item into the tenant's own outbox, from where [`Promises::carry_over`] queues it later. Either way it is made once
//! for its source. Adding a kind of work is adding a variant to [`Item`]: the compiler then asks for its handler.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::auth::Principal;
use crate::control::ControlError;
use crate::control::work::{self, Claimed, Swept};
use crate::directory::{Directory, DirectoryError, Route};
use crate::id::TenantId;
use crate::tenant::outbox::{self, Promise};
use crate::tenant::{Refused, Router, TenantError, Write};
use crate::vault::{Sealed, WorkPayload};

/// Promises that are carried over in one go.
const AT_ONCE: i64 = 100;

/// What is to be done. Stored: a variant's name and fields stay readable for as long as items of it exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// A call has ended: remember what it was about.
    ProcessCall {
        /// The provider's id of it.
        call_sid: String,
        /// What is still to be noted of its end, because the tenant took no writes when that was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<CallEnded>,
    },
    /// The caller's last words were stored after the call was over: what was made of it lacks them.
    LateTurn {
        /// The provider's id of the call.
        call_sid: String,
        /// Which turn.
        turn: i32,
    },
}

/// How a call ended, as the provider said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded {
    /// See [`Progress`](crate::tenant::calls::Progress).
    pub sequence: i32,
    /// The same.
    pub duration_seconds: Option<i32>,
}

impl Item {
    /// The kinds that this build can carry out; it claims no other, so that an older server leaves a newer one's work alone.
    pub const KINDS: [&str; 2] = ["process_call", "late_turn"];

    fn kind(&self) -> &'static str {
        match self {
            Self::ProcessCall { .. } => "process_call",
            Self::LateTurn { .. } => "late_turn",
        }
    }

    fn source_id(&self) -> String {
        match self {
            Self::ProcessCall { call_sid, .. } => call_sid.clone(),
            Self::LateTurn { call_sid, turn } => format!("{call_sid} {turn}"),
        }
    }
}

/// Why a promise was not made, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    /// The tenant could not be found or opened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its database did not take it.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// What was sealed is not of a kind that this build knows.
    #[error("a work item of a kind that this build does not know")]
    Unknown,
}

impl From<DirectoryError> for PromiseError {
    fn from(error: DirectoryError) -> Self {
        Self::Refused(error.into())
    }
}

/// Makes and reads promises. One for a process, behind an [`Arc`].
pub struct Promises {
    directory: Arc<Directory>,
    router: Arc<Router>,
    /// Tenants in whose outboxes this process wrote and which were not carried over since. Should the process end before that,
    /// the daily round finds them.
    outside: Mutex<HashSet<TenantId>>,
}

impl Promises {
    /// Over what a server has.
    pub fn new(directory: Arc<Directory>, router: Arc<Router>) -> Self {
        Self { directory, router, outside: Mutex::default() }
    }

    /// Makes a promise. When this returns, the item outlives this process.
    pub async fn make(&self, who: &Principal, item: &Item) -> Result<(), PromiseError> {
        let (route, promise) = (self.route(who.tenant()).await?, promise(item)?);
        match self.enqueue(&route, &promise).await {
            Err(DirectoryError::Control(away)) if matches!(*away, ControlError::Unreachable(_)) => {}
            other => return Ok(other?),
        }
        outbox::put(self.router.open::<Write>(who).await?.conn(), &promise).await?;
        self.made_outside(who);
        Ok(())
    }

    /// Notes that a promise was written into a tenant's outbox with what it is about.
    pub fn made_outside(&self, who: &Principal) {
        self.outside().insert(who.tenant());
    }

    /// The tenants in whose outboxes something waits, as far as this process knows.
    pub fn waiting_outside(&self) -> Vec<TenantId> {
        self.outside().iter().copied().collect()
    }

    /// Queues what stands in a tenant's outbox; how many.
    pub async fn carry_over(&self, swept: &Swept) -> Result<usize, PromiseError> {
        let route = self.route(swept.tenant()).await?;
        let db = self.router.open::<Write>(&Principal::from_sweep(swept)).await?;
        // Whoever writes there from now on notes it again.
        self.outside().remove(&swept.tenant());
        let mut carried = 0;
        loop {
            let promises = outbox::list(db.conn(), AT_ONCE).await?;
            if promises.is_empty() {
                return Ok(carried);
            }
            for promise in promises {
                if let Err(error) = self.enqueue(&route, &promise).await {
                    self.outside().insert(swept.tenant());
                    return Err(error.into());
                }
                // Killed here, it is carried over once more, and stands in the queue already.
                outbox::remove(db.conn(), &promise).await?;
                carried += 1;
            }
        }
    }

    /// What a claimed item says.
    pub async fn read(&self, claimed: &Claimed) -> Result<Item, PromiseError> {
        let route = self.route(claimed.tenant()).await?;
        let row = work::row(&claimed.kind, &claimed.source_id);
        let refused = |error| DirectoryError::Vault { what: format!("work item {}", claimed.id()), error };
        let payload = route.key.open(&row, &claimed.sealed).map_err(refused)?;
        serde_json::from_slice(payload.expose()).map_err(|_| PromiseError::Unknown)
    }

    async fn enqueue(&self, route: &Route, promise: &Promise) -> Result<(), DirectoryError> {
        let (kind, source_id) = (promise.kind.as_str(), promise.source_id.as_str());
        let plain = Zeroizing::new(promise.payload.to_string());
        let sealed: Sealed<WorkPayload> = route.key.seal(&work::row(kind, source_id), plain.as_bytes());
        let (control, tenant) = (self.directory.control(), route.placement.tenant);
        self.directory.ask(work::enqueue(control, tenant, kind, source_id, &sealed)).await
    }

    async fn route(&self, tenant: TenantId) -> Result<Arc<Route>, PromiseError> {
        Ok(self.directory.tenant(tenant).await?.ok_or(Refused::Unknown(tenant))?)
    }

    fn outside(&self) -> MutexGuard<'_, HashSet<TenantId>> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An item as it is written down.
pub(super) fn promise(item: &Item) -> Result<Promise, PromiseError> {
    let payload = serde_json::to_value(item).map_err(|_| PromiseError::Unknown)?;
    Ok(Promise { kind: item.kind().to_owned(), source_id: item.source_id(), payload })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_stored_today_is_read_by_every_later_build() {
        let call_sid = || "CA1".to_owned();
        let ended = CallEnded { sequence: 3, duration_seconds: Some(42) };
        let process = |ended| Item::ProcessCall { call_sid: call_sid(), ended };
        for (item, source, payload) in [
            (process(None), "CA1", json!({ "kind": "process_call", "call_sid": "CA1" })),
            (
                process(Some(ended)),
                "CA1",
                json!({ "kind": "process_call", "call_sid": "CA1", "ended": { "sequence": 3, "duration_seconds": 42 } }),
            ),
            (
                Item::LateTurn { call_sid: call_sid(), turn: 2 },
                "CA1 2",
                json!({ "kind": "late_turn", "call_sid": "CA1", "turn": 2 }),
            ),
        ] {
            let stored = promise(&item).unwrap();
            assert!(Item::KINDS.contains(&stored.kind.as_str()));
            assert_eq!((stored.kind.as_str(), stored.source_id.as_str()), (payload["kind"].as_str().unwrap(), source));
            assert_eq!(stored.payload, payload);
            assert_eq!(serde_json::from_value::<Item>(stored.payload).unwrap(), item);
        }
    }
}
