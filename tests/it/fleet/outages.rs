//! Servers die under a run that migrates the fleet, and the run is taken up again.

use std::ops::ControlFlow;

use super::rehearsal::{COLUMN, NEXT, all_at, fleet, folder, go_on, take_back};
use crate::crash::Catalog;
use crate::crash::tapped::{Tapped, one_in};
use crate::support::private_world;

/// Along the run's statements, each server in its turn: it is back at once, or when the run has come to its end.
///
/// Turns red when a run whose control database died is not taken up, or when a tenant's history and its schema are two transactions.
#[test]
fn a_run_outlives_its_servers() {
    private_world(async |w| {
        let tenants = fleet(&w, 4).await;
        let catalog = Catalog::read(&w).await;
        let tapped = Tapped::new(&w).await;
        let folder = folder(&w, &[COLUMN]);
        let run = ["migrate", "run", "--parallel", "1", "--migrations", folder.to_str().unwrap()];
        let (_, statements) = tapped.run(&run).await;
        let control = "select count(*) from migration_runs";
        let mut struck = 0;
        for at in (1..=statements).step_by(one_in(statements / 8)) {
            let (server, at_once) = (["control", "shared", "dedicated"][struck % 3], struck % 2 == 0);
            take_back(&w, &tenants, "alter table memories drop column if exists mood").await;
            let runs: i64 = crate::jobs::control(&w).await.query_one(control, &[]).await.unwrap().get(0);
            let mut seen = 0;
            let look = async || {
                seen += 1;
                if seen < at {
                    return ControlFlow::Continue(());
                }
                w.servers().kill(server);
                if at_once {
                    w.servers().start_again(server).await;
                }
                ControlFlow::Break(())
            };
            tapped.look_at_each(&run, look).await;
            assert!(seen >= at, "{server} {at}: the run ended before");
            if !at_once {
                w.servers().start_again(server).await;
            }
            go_on(&w, &tapped, &run, runs).await;
            all_at(&w, &tenants, NEXT).await;
            struck += 1;
        }
        println!("migrate run: {struck} deaths along {statements} statements");
        catalog.still_holds(&w).await;
    });
}
