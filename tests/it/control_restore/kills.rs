//! What corrects a restored control database, killed at statements all along, and run again.

use strowger::control::clusters::Isolation::{Database, Schema};

use super::{as_server, back_up, destroy, greeter, number, reconcile, restore};
use crate::crash::tapped::{Tapped, in_lanes, some_deaths};
use crate::support::World;

const RECONCILE: [&str; 2] = ["control", "reconcile"];

/// Turns red when a repair that is gone on with leaves out the steps it had done, since the next run shuts everybody out again.
#[test]
fn a_killed_reconciliation_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let account = w.account(1, None).await;
        let mut all = Vec::new();
        for (name, isolation) in [("Ann", Schema), ("Bob", Database), ("Cyd", Schema)] {
            all.push(greeter(&w, name, isolation).await);
            w.assign(&number(all.len() - 1), all[all.len() - 1].id, &account).await;
        }
        let tapped = Tapped::new(&w).await;
        back_up(&w);
        w.ctl(&["tenant", "erase", "1", "--now", "--confirm", "1"]).json();
        w.assign(&number(1), all[2].id, &account).await;
        w.assign(&number(2), all[1].id, &account).await;

        lose(&w, &tapped).await;
        let (done, statements) = tapped.run(&RECONCILE).await;
        assert_eq!(done["serving"], true, "{done:#}");
        corrected(&w, "not killed").await;
        for (at, moment) in some_deaths(60, statements, lane) {
            let place = format!("{moment:?} {at}");
            lose(&w, &tapped).await;
            tapped.stop_or_end(at, moment, &RECONCILE).await;
            if as_server(&w).await.is_some() {
                let (code, done) = reconcile(&w);
                assert_eq!((code, &done["serving"]), (Some(0), &true.into()), "{place}: {done:#}");
            }
            corrected(&w, &place).await;
        }
        println!("control reconcile: killed along {statements} statements ({lane:?})");
        w.ctl(&["audit", "verify"]).json();
    });
}

/// The control database, for the same old copy.
async fn lose(w: &World, tapped: &Tapped) {
    destroy(w).await;
    let restored = restore(w);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    tapped.follow(w);
}

/// The server may read it, each number is where it was handed over to since the copy, and who was erased is. Ids above those
/// are ones that may have been given since, and are given to nobody.
async fn corrected(w: &World, place: &str) {
    assert_eq!(as_server(w).await, None, "{place}: the server may read");
    assert_eq!(w.ctl(&["doctor"]).json(), serde_json::json!([]), "{place}");
    let control = crate::jobs::control(w).await;
    let sql = "select string_agg(t.id || ' ' || t.state, ', ' order by t.id),
                      (select string_agg(value || ' ' || state || ' ' || coalesce(tenant_id, 0), ', ' order by value) from numbers)
               from tenants t where id <= 3";
    let row = control.query_one(sql, &[]).await.unwrap();
    let (tenants, numbers): (String, String) = (row.get(0), row.get(1));
    assert_eq!(tenants, "1 erased, 2 active, 3 active", "{place}");
    let [second, third] = [1, 2].map(number);
    assert!(
        numbers.contains(&format!("{second} active 3")) && numbers.contains(&format!("{third} active 2")),
        "{place}: {numbers}"
    );
}
