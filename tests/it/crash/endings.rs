//! `tenant delete` and `tenant erase` killed at every statement.

use std::sync::Arc;

use serde_json::json;
use strowger::control::clusters::Isolation;
use tokio_postgres::error::SqlState;

use super::catalog::{Catalog, is_sound, only_receipts_are_left};
use super::tapped::{Tapped, deaths, in_lane, in_more_lanes, some_deaths};
use crate::support::counting_proxy::Moment;
use crate::support::{World, connect, world};
use provisioner::{erase, tenants};

/// Turns red when the deletion does not queue the erasure, or the fence is left out after the state says deleted.
#[test]
fn killed_delete_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let id = w.tenant("One", Isolation::Schema).await.id;
        let text = id.to_string();
        let delete = ["tenant", "delete", &text];
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let queued = "select count(*) from jobs where kind = 'erase' and state = 'queued' and approval is not null";
        let (_, statements) = tapped.run(&delete).await;
        for (at, moment) in deaths(statements, lane) {
            erase::undelete(&w.with, id, "").await.unwrap();
            let url = tenants::connection(&w.with, id).await.unwrap();
            let session = w.as_tenant(id).await;
            tapped.stop(at, moment, &delete).await;
            let (tenant, _) = tapped.run(&delete).await;
            assert_eq!(tenant["state"], "deleted");
            assert!(session.query("select 1", &[]).await.is_err(), "{moment:?} {at}: a session is left");
            let refused = connect(&url).await.expect_err("no login works");
            assert_eq!(refused.code().map(SqlState::code), Some("28000"), "{moment:?} {at}");
            assert_eq!(control.query_one(queued, &[]).await.unwrap().get::<_, i64>(0), 1, "{moment:?} {at}");
        }
        erase::undelete(&w.with, id, "").await.unwrap();
        let (_, again) = tapped.run(&delete).await;
        println!("tenant delete: killed along {statements} statements ({lane:?}); an unkilled run sends {again}");
        assert_eq!(again, statements);
        is_sound(&w);
    });
}

/// Turns red when a step is not idempotent: when `drop_roles` drops without looking whether the roles are there.
async fn erase_killed_everywhere(w: &World, isolation: Isolation, lane: Moment) {
    let tapped = Tapped::new(w).await;
    let before = Catalog::read(w).await;
    let account = w.account(1, None).await;
    // The first erasure makes the key that signs receipts.
    let first = w.tenant("first", isolation).await.id;
    erase::erase(&w.with, first, true, "").await.unwrap();
    let make = async |name: &str| {
        let id = w.tenant(name, isolation).await.id;
        w.assign("+18005550100", id, &account).await;
        id.to_string()
    };
    let id = make("measured").await;
    let (_, statements) = tapped.run(&["tenant", "erase", &id, "--now", "--confirm", &id]).await;
    let every = if isolation == Isolation::Schema && !lane.is_cut() { 4 } else { 16 };
    let mut stopped = 0;
    for (at, moment) in some_deaths(every, statements, lane) {
        stopped += 1;
        let id = make(&format!("{moment:?} {at}")).await;
        let erase = ["tenant", "erase", &id, "--now", "--confirm", &id];
        tapped.stop(at, moment, &erase).await;
        let (erased, _) = tapped.run(&erase).await;
        assert_eq!(erased["state"], json!("erased"), "{moment:?} {at}");
    }
    only_receipts_are_left(w, "in the end").await;
    let id = make("last").await;
    let (_, again) = tapped.run(&["tenant", "erase", &id, "--now", "--confirm", &id]).await;
    println!(
        "tenant erase ({}): killed at {stopped} of {statements} statements ({lane:?}); an unkilled run sends {again}",
        isolation.as_str()
    );
    assert_eq!(again, statements);
    before.still_holds(w).await;
}

#[test]
fn erase_of_a_schema_killed_before_a_statement_is_finished_when_run_again() {
    world(async |w| erase_killed_everywhere(&w, Isolation::Schema, Moment::Unsent).await);
}

#[test]
fn erase_of_a_schema_killed_in_a_statement_is_finished_when_run_again() {
    world(async |w| erase_killed_everywhere(&w, Isolation::Schema, Moment::UnderWay).await);
}

#[test]
fn erase_of_a_schema_cut_off_at_a_statement_is_finished_when_run_again() {
    let erase = async |w: Arc<World>, lane: Moment| erase_killed_everywhere(&w, Isolation::Schema, lane).await;
    in_lane(Moment::CutUnanswered, &[Moment::CutUnsent], erase);
}

#[test]
fn erase_of_a_database_killed_before_a_statement_is_finished_when_run_again() {
    world(async |w| erase_killed_everywhere(&w, Isolation::Database, Moment::Unsent).await);
}

#[test]
fn erase_of_a_database_stopped_in_a_statement_is_finished_when_run_again() {
    let erase = async |w: Arc<World>, lane: Moment| erase_killed_everywhere(&w, Isolation::Database, lane).await;
    in_lane(Moment::UnderWay, &[Moment::CutUnsent, Moment::CutUnanswered], erase);
}
