//! A client that writes one memory after the other, whatever becomes of it, and knows what was acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use strowger::control::tenants::Tenant;
use strowger::id::TenantId;

use crate::support::{World, connect};

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of what was written. Each memory's content is a number that no other has.
#[derive(Default)]
pub(super) struct Writer {
    is_over: Cell<bool>,
    next: Cell<i64>,
    acknowledged: RefCell<BTreeSet<i64>>,
    /// The others that were sent may be there or not.
    refused: RefCell<BTreeSet<i64>>,
}

/// How a write ended.
enum Ended {
    Acknowledged,
    Refused,
    Unknown,
}

impl Writer {
    /// Writes until the end, each time on a connection of its own: one that stays open would be waited for.
    pub(super) async fn write(&self, w: &World, tenant: TenantId) {
        let mut url = None;
        while !self.is_over.get() {
            let n = self.next.replace(self.next.get() + 1);
            match &url {
                None => url = provisioner::tenants::connection(&w.with, tenant).await.ok(),
                Some(at) => match write_one(at, n).await {
                    Ended::Acknowledged => drop(self.acknowledged.borrow_mut().insert(n)),
                    // It may live elsewhere by now.
                    Ended::Refused => {
                        self.refused.borrow_mut().insert(n);
                        url = None;
                    }
                    Ended::Unknown => {}
                },
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) fn end(&self) {
        self.is_over.set(true);
    }

    /// Waits until something more was acknowledged: the tenant is served.
    pub(super) async fn more(&self) {
        let before = self.acknowledged.borrow().len();
        crate::support::until("the tenant is written to", async || self.acknowledged.borrow().len() > before).await;
    }

    /// What was acknowledged so far.
    pub(super) fn acknowledged(&self) -> BTreeSet<i64> {
        self.acknowledged.borrow().clone()
    }

    /// What is found is what was acknowledged, each of it once, and nothing that was refused.
    pub(super) fn finds(&self, found: &[i64], expected: &BTreeSet<i64>, when: &str) {
        let once: BTreeSet<i64> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "{when}: something is there twice");
        let lost: Vec<_> = expected.difference(&once).collect();
        assert!(lost.is_empty(), "{when}: acknowledged and lost: {lost:?} of {}", expected.len());
        let refused = self.refused.borrow();
        let alien: Vec<_> = once.intersection(&refused).collect();
        assert!(alien.is_empty(), "{when}: refused and there: {alien:?}");
    }
}

async fn write_one(url: &str, n: i64) -> Ended {
    let Ok(db) = connect(url).await else { return Ended::Refused };
    let sql = "insert into memories (user_id, content) values ('client', $1)";
    match db.execute(sql, &[&n.to_string()]).await {
        Ok(_) => Ended::Acknowledged,
        Err(error) if error.code().is_some_and(|code| code.code() == "42501") => Ended::Refused,
        Err(_) => Ended::Unknown,
    }
}

/// What the client wrote and is there, in one of a tenant's schemas.
pub(super) async fn found(w: &World, tenant: &Tenant, schema: &str) -> Vec<i64> {
    let sql = format!("select content::bigint from {schema}.memories where user_id = 'client'");
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    db.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
