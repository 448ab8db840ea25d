//! A move killed at statements all along, and run again.

use strowger::control::clusters::Isolation;
use strowger::id::TenantId;
use tokio_postgres::error::SqlState;

use super::WRITE;
use super::online::{allow, parts};
use crate::crash::tapped::{Tapped, in_lanes, some_deaths};
use crate::support::World;
use crate::support::counting_proxy::Moment;

/// So many statements before the end a move has not turned yet.
const LAST: usize = 24;

/// Turns red when a move that is gone on with, or a later one, takes what was copied before for a copy that need not be made again.
#[test]
fn a_killed_move_is_finished_when_run_again() {
    in_lanes(async |w, lane| finished_when_run_again(&w, lane, &["--offline"], 12).await);
}

/// Turns red when what an earlier attempt made to replicate is not removed.
#[test]
fn a_killed_online_move_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        allow(&w);
        finished_when_run_again(&w, lane, &[], 60).await;
    });
}

/// And nothing that replicates outlives that.
async fn finished_when_run_again(w: &World, lane: Moment, how: &[&str], every: usize) {
    let tenant = w.tenant("One", Isolation::Schema).await;
    let tapped = Tapped::new(w).await;
    let to = |server: &'static str| [&["tenant", "move", "1", "--to", server], how].concat();
    let (_, statements) = tapped.run(&to("dedicated")).await;
    w.ctl(&to("shared")).json();
    let mut written = 0;
    for (at, moment) in some_deaths(every, statements, lane) {
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        written += 1;
        if tapped.stop_or_end(at, moment, &to("dedicated")).await {
            written += write_if_allowed(w, tenant.id).await;
            let (again, _) = tapped.run(&to("dedicated")).await;
            assert_eq!(again["cluster"], "dedicated", "{moment:?} {at}");
        }
        assert_eq!(parts(w).await, Vec::<String>::new(), "{moment:?} {at}");
        w.ctl(&to("shared")).json();
        let count = "select count(*) from memories where user_id = 'x'";
        let found: i64 = w.as_tenant(tenant.id).await.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!(found, written, "{moment:?} {at}: each acknowledged write is there");
    }
    println!("tenant move: killed along {statements} statements ({lane:?})");
    w.ctl(&["doctor"]).json();
}

/// The turn is made, and the answer that says so is lost, as those around it. Where the tenant lived nothing is written any more.
///
/// Turns red when `let_go` does not look whether the tenant has turned.
#[test]
fn a_turn_that_nobody_hears_of_opens_nothing_where_the_tenant_lived() {
    crate::support::world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        let to = |server: &'static str| ["tenant", "move", "1", "--offline", "--to", server];
        let (_, statements) = tapped.run(&to("dedicated")).await;
        w.ctl(&to("shared")).json();
        let former = w.superuser("shared", &w.prefix.name("shared")).await;
        let open = format!(
            "select has_table_privilege('{}', 'tenant_1.memories', 'insert')",
            w.prefix.tenant(tenant.id, "rw")
        );
        let mut turned = 0;
        for at in statements.saturating_sub(LAST)..=statements {
            tapped.stop_or_end(at, Moment::CutUnanswered, &to("dedicated")).await;
            let now = super::tenant_now(&w, tenant.id).await;
            let is_open: bool = former.query_one(&open, &[]).await.unwrap().get(0);
            assert!(!(now.cluster == "dedicated" && is_open), "{at}: what is written there is lost");
            turned += usize::from(now.cluster == "dedicated");
            let (again, _) = tapped.run(&to("dedicated")).await;
            assert_eq!(again["cluster"], "dedicated", "{at}");
            w.ctl(&to("shared")).json();
        }
        assert!((1..=LAST).contains(&turned), "the turn is among them: {turned}");
    });
}

/// Not by the command but by whoever looks for what is left undone. Turns red when only the first attempt at a move may turn it.
#[test]
fn what_a_killed_move_began_a_worker_finishes() {
    crate::support::world(async |w| {
        let tenant = w.tenant("One", Isolation::Database).await;
        let tapped = Tapped::new(&w).await;
        let command = ["tenant", "move", "1", "--offline", "--to", "shared"];
        let (_, statements) = tapped.run(&command).await;
        w.ctl(&["tenant", "move", "1", "--undo"]).json();
        tapped.stop(statements / 2, Moment::Unsent, &command).await;
        let mut worker = crate::jobs::worker(&w);
        let control = crate::jobs::control(&w).await;
        crate::jobs::until(&control, "select not exists (select from jobs where state in ('queued', 'running'))").await;
        worker.kill().await.unwrap();
        let now = super::tenant_now(&w, tenant.id).await;
        assert_eq!((now.cluster.as_str(), now.held), ("shared", false));
        w.ctl(&["doctor"]).json();
    });
}

/// Between the kill and the next run the tenant may be written to, if Postgres lets it: how many writes were acknowledged.
async fn write_if_allowed(w: &World, tenant: TenantId) -> i64 {
    match w.as_tenant(tenant).await.execute(WRITE, &[]).await {
        Ok(_) => 1,
        Err(error) => {
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{error}");
            0
        }
    }
}
