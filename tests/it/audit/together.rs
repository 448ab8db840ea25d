//! Many at once.

use std::collections::BTreeMap;

use serde_json::json;
use strowger::control::{Actor, Control};
use strowger::id::TenantId;

use super::findings;
use crate::support::world;

/// Red without the order by chain in `Change::commit` (Postgres ends a deadlock, 40P01) or without `on conflict do update` in
/// `audit_append`, which is what takes the lock.
#[test]
fn fifty_changes_at_once_make_chains_without_gaps() {
    world(async |w| {
        let control = Control::lazy(&w.urls.provisioner, "many", 25).unwrap();
        let before = rows(&w).await;
        let tenants: Vec<TenantId> = (1..=3).map(|id| id.try_into().unwrap()).collect();
        let changes: Vec<_> = (0..50)
            .map(|n: usize| {
                let (control, tenants) = (control.clone(), tenants.clone());
                tokio::spawn(async move {
                    let mut change = control.change(&Actor::operator("many")).await.unwrap();
                    // Each in another order: the platform's row first, last or between the tenants'.
                    for turn in 0..4 {
                        let place = if n.is_multiple_of(2) { (n + turn) % 4 } else { (n + 8 - turn) % 4 };
                        change.record("many", tenants.get(place).copied(), json!({ "n": n })).await.unwrap();
                    }
                    change.commit().await.unwrap();
                })
            })
            .collect();
        for change in changes {
            change.await.unwrap();
        }
        let after = rows(&w).await;
        for chain in 0..=3 {
            let (count, last) = after[&chain];
            assert_eq!(count, last, "chain {chain} has no gap");
            assert_eq!(count - before.get(&chain).map_or(0, |(count, _)| *count), 50, "chain {chain}");
        }
        assert_eq!(findings(&w, &[]), [""; 0]);
    });
}

/// How many rows each chain has, and the place of its last.
async fn rows(w: &crate::support::World) -> BTreeMap<i32, (i64, i64)> {
    let db = w.superuser("control", &w.prefix.name("control")).await;
    let rows = db.query("select chain, count(*), max(seq) from audit group by chain", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

/// A change that falls silent while it holds the end of a chain does not hold everybody up.
///
/// Red without `idle_in_transaction_session_timeout` in `audit_append`.
#[test]
fn who_holds_a_chain_and_falls_silent_is_ended() {
    world(async |w| {
        let silent = crate::support::connect(&w.urls.provisioner).await.unwrap();
        silent.batch_execute("begin; insert into audit (actor, action) values ('silent', 'x')").await.unwrap();
        let limit = silent.query_one("show idle_in_transaction_session_timeout", &[]).await.unwrap();
        assert_eq!(limit.get::<_, &str>(0), "10s");
        let added = w.ctl(&["key", "add", "other"]);
        assert_eq!(added.code, Some(0), "{}", added.stderr);
        assert!(silent.is_closed());
        assert_eq!(findings(&w, &[]), [""; 0]);
        let listed = w.ctl(&["audit", "list"]);
        assert!(!listed.stdout.contains("silent"), "{}", listed.stdout);
    });
}
