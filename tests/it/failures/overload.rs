//! Too many at once: a tenant's own cap, its role's limit, and the budget of its cluster.

use std::time::Duration;

use strowger::control::clusters::Isolation::Schema;
use tokio_postgres::error::SqlState;

use super::ward::{Answer, Ward, hold, refused, until};
use crate::support::{connect, world};

/// How long a request that should be waiting is watched.
const WATCHED: Duration = Duration::from_millis(300);

/// Turns red when pools take another `max_size`, or share one.
#[test]
fn a_tenant_is_held_to_its_own_connections() {
    world(async |w| {
        let (busy, neighbour) = (Ward::new(&w, "Busy", Schema).await, Ward::new(&w, "Neighbour", Schema).await);
        let server = w.server_with(&["--tenant-connections", "2"]);
        let lock = hold(&w, &busy).await;
        let held = [busy.start_asking(&server), busy.start_asking(&server)];
        until("both connections are in use", async || busy.waiting().await == 2).await;
        let next_door = neighbour.constant_client(&server, false);
        assert_eq!(busy.ask(&server).await, refused("tenant_busy"));
        assert_eq!(busy.sessions().await, 2);
        lock.batch_execute("rollback").await.unwrap();
        for one in held {
            assert_eq!(one.await.unwrap(), Answer::Own);
        }
        assert_eq!(busy.ask(&server).await, Answer::Own);
        next_door.stop().await;
    });
}

/// Turns red when `53300` is not named, or the role has no CONNECTION LIMIT.
#[test]
fn a_role_at_its_limit_is_busy() {
    world(async |w| {
        let (full, neighbour) = (Ward::new(&w, "Full", Schema).await, Ward::new(&w, "Neighbour", Schema).await);
        let server = w.server();
        let next_door = neighbour.constant_client(&server, false);
        let url = provisioner::tenants::connection(&w.with, full.tenant.id).await.unwrap();
        let mut all = Vec::new();
        let refusal = loop {
            match connect(&url).await {
                Ok(one) => all.push(one),
                Err(error) => break error,
            }
            assert!(all.len() < 100, "there is no limit");
        };
        assert_eq!(refusal.code().map(SqlState::code), Some("53300"));
        assert_eq!(full.ask(&server).await, refused("tenant_busy"));
        drop(all);
        full.comes_to(&server, &Answer::Own, "there is room again").await;
        next_door.stop().await;
    });
}

/// Turns red without the budget, when nobody closes idle connections for those who wait, when that is tried only once, at
/// the beginning of the wait, or when a tenant's own idle connections are spared.
#[test]
fn a_spent_budget_is_shared_by_closing_what_is_idle() {
    world(async |w| {
        let control = w.superuser("control", &w.prefix.name("control")).await;
        control.batch_execute("update clusters set connection_budget = 2").await.unwrap();
        let (one, two) = (Ward::new(&w, "One", Schema).await, Ward::new(&w, "Two", Schema).await);
        let server = w.server();

        let lock = hold(&w, &one).await;
        let held = [one.start_asking(&server), one.start_asking(&server)];
        until("the budget is spent", async || one.waiting().await == 2).await;
        assert_eq!(two.ask(&server).await, refused("tenant_busy"), "all in use");

        for waiting in [two.start_asking(&server), one.start_asking(&server)] {
            let mut waiting = waiting;
            assert!(tokio::time::timeout(WATCHED, &mut waiting).await.is_err(), "it waits for a permit");
            waiting.abort();
        }
        let (mut other, mut same) = (two.start_asking(&server), one.start_asking(&server));
        assert!(tokio::time::timeout(WATCHED, &mut other).await.is_err(), "it waits for a permit");
        assert!(tokio::time::timeout(WATCHED, &mut same).await.is_err(), "it waits for a permit");
        lock.batch_execute("rollback").await.unwrap();
        for waiting in held.into_iter().chain([other, same]) {
            assert_eq!(waiting.await.unwrap(), Answer::Own, "what became idle was closed for it");
        }
        assert!(one.sessions().await + two.sessions().await <= 2);

        for ward in [&one, &two, &one, &two] {
            let all: Vec<_> = (0..4).map(|_| ward.start_asking(&server)).collect();
            for asked in all {
                assert_eq!(asked.await.unwrap(), Answer::Own);
            }
        }
    });
}
