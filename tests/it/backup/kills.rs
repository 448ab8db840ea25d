//! Killed at every statement that it sends, before and in the middle of it; run again, it is whole and nothing else is left.

use crate::crash::Catalog;
use crate::crash::tapped::{Tapped, in_lanes, some_deaths};
use strowger::control::clusters::Isolation;

use super::{back_up, lying, store};

/// Turns red when a second backup is promised in the place of one that was begun.
#[test]
fn a_killed_backup_is_whole_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let before = Catalog::read(&w).await;
        let to = store(&w);
        let create = ["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()];
        let (_, statements) = tapped.run(&create).await;
        let mut made = 1;
        for (at, moment) in some_deaths(2, statements, lane) {
            tapped.stop(at, moment, &create).await;
            let (again, _) = tapped.run(&create).await;
            assert_eq!(again[0]["state"], "complete", "{moment:?} {at}");
            let listed = w.ctl(&["backup", "list"]).json();
            let mut ids: Vec<&str> = listed.as_array().unwrap().iter().map(|b| b["id"].as_str().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(lying(&w), ids, "{moment:?} {at}: the store is what the list says");
            assert!(listed.as_array().unwrap().iter().all(|backup| backup["state"] == "complete"));
            // One that was killed after its end was promised and made; then another one was asked for.
            assert!((made + 1..=made + 2).contains(&ids.len()), "{moment:?} {at}");
            made = ids.len();
        }
        println!("backup create: killed along {statements} statements ({lane:?})");
        before.still_holds(&w).await;
        w.as_tenant(tenant.id).await.query("select * from memories", &[]).await.unwrap();
    });
}

#[test]
fn a_killed_deletion_or_verification_leaves_nothing_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let before = Catalog::read(&w).await;
        let new = || back_up(&w, &tenant)["id"].as_str().unwrap().to_owned();
        let proven = new();
        let verify = ["backup", "verify", &proven];
        let (_, statements) = tapped.run(&verify).await;
        for (at, moment) in some_deaths(2, statements, lane) {
            tapped.stop(at, moment, &verify).await;
            tapped.run(&verify).await;
        }
        println!("backup verify: killed along {statements} statements ({lane:?})");
        before.still_holds(&w).await;
        let (_, statements) = tapped.run(&["backup", "delete", &new()]).await;
        for (at, moment) in some_deaths(2, statements, lane) {
            let id = new();
            tapped.stop(at, moment, &["backup", "delete", &id]).await;
            let again = w.ctl(&["backup", "delete", &id]);
            assert!(again.code == Some(0) || again.stderr.contains("there is no backup"), "{}", again.stderr);
            assert_eq!(lying(&w), std::slice::from_ref(&proven), "{moment:?} {at}");
        }
        println!("backup delete: killed along {statements} statements ({lane:?})");
    });
}
