//! `number assign` killed at every statement: at no moment do two tenants' schemas own the number.

use strowger::control::clusters::Isolation;
use strowger::control::numbers::{self, Assignment};
use strowger::control::tenants::Tenant;
use strowger::phone::Number;

use super::is_sound;
use super::tapped::{Tapped, deaths, in_more_lanes, one_in};
use crate::support::counting_proxy::Moment;
use crate::support::{World, world};

const NUMBER: &str = "+18005550100";

fn number() -> Number {
    NUMBER.parse().unwrap()
}

async fn assignment(w: &World) -> Assignment {
    numbers::get(w.with.control(), &number()).await.unwrap().unwrap().assignment
}

/// Which of the tenants' own schemas say that the number is theirs.
async fn owners<'t>(w: &World, tenants: &[&'t Tenant]) -> Vec<&'t str> {
    let mut owners = Vec::new();
    for tenant in tenants {
        let db = w.superuser(&tenant.cluster, &tenant.database).await;
        let sql = format!("select 1 from {}.numbers where value = $1", tenant.schema);
        if !db.query(&sql, &[&NUMBER]).await.unwrap().is_empty() {
            owners.push(tenant.name.as_str());
        }
    }
    owners
}

/// Turns red when `hand_over` adds before it removes, or marks the number as active before its mirror is written.
#[test]
fn killed_assign_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let account = w.account(1, None).await;
        let (a, b) = (w.tenant("A", Isolation::Schema).await, w.tenant("B", Isolation::Database).await);
        w.assign(NUMBER, a.id, &account).await;
        let ids = [a.id, b.id].map(|id| id.to_string());
        let assign = |to: &Tenant| ["number", "assign", NUMBER, "--tenant", &ids[usize::from(to.id == b.id)]];
        let (mut from, mut to) = (&a, &b);
        let (_, statements) = tapped.run(&assign(to)).await;
        for (at, moment) in deaths(statements, lane) {
            std::mem::swap(&mut from, &mut to);
            tapped.stop(at, moment, &assign(to)).await;
            let owning = owners(&w, &[from, to]).await;
            match assignment(&w).await {
                Assignment::Active(id) if id == from.id => assert_eq!(owning, [&from.name], "{moment:?} {at}"),
                Assignment::Active(_) => assert_eq!(owning, [&to.name], "{moment:?} {at}"),
                _ => assert!(owning.len() < 2, "{moment:?} {at}: both own the number"),
            }
            tapped.run(&assign(to)).await;
            assert_eq!(owners(&w, &[from, to]).await, [&to.name], "{moment:?} {at}");
            assert_eq!(assignment(&w).await, Assignment::Active(to.id), "{moment:?} {at}");
        }
        let (_, again) = tapped.run(&assign(from)).await;
        println!("number assign: killed at each of {statements} statements ({lane:?}); an unkilled run sends {again}");
        assert_eq!(again, statements);

        w.configure(from.id, &serde_json::json!({ "agent_name": "Ada" })).await;
        let said = account.dial(&w.server(), "+18005550199", NUMBER).await.text().await.unwrap();
        assert!(said.contains("Ada"), "{said}");
        is_sound(&w);
    });
}

/// A move to B that was killed half way is not finished but turned to C, and that is killed too.
///
/// Turns red when `hand_over` does not take the number from whoever it was meant for before control forgets who that was.
#[test]
fn a_half_made_move_that_is_turned_elsewhere_leaves_nothing_behind() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let account = w.account(1, None).await;
        let a = w.tenant("A", Isolation::Schema).await;
        let b = w.tenant("B", Isolation::Schema).await;
        let c = w.tenant("C", Isolation::Schema).await;
        let ids = [&a, &b, &c].map(|tenant| tenant.id.to_string());
        let to_a = ["number", "assign", NUMBER, "--tenant", &ids[0]];
        let to_b = ["number", "assign", NUMBER, "--tenant", &ids[1]];
        let to_c = ["number", "assign", NUMBER, "--tenant", &ids[2]];
        w.assign(NUMBER, a.id, &account).await;
        let (_, statements) = tapped.run(&to_b).await;

        // The last statement before which a kill leaves the number moving: B's schema owns it by then.
        let mut half = statements;
        loop {
            tapped.run(&to_a).await;
            tapped.stop(half, Moment::Unsent, &to_b).await;
            if matches!(assignment(&w).await, Assignment::Moving { .. }) {
                break;
            }
            half -= 1;
        }
        assert_eq!(owners(&w, &[&a, &b, &c]).await, ["B"]);
        let (_, statements) = tapped.run(&to_c).await;
        for at in (1..=statements).step_by(one_in(4)) {
            tapped.run(&to_a).await;
            tapped.stop(half, Moment::Unsent, &to_b).await;
            tapped.stop(at, Moment::Unanswered, &to_c).await;
            assert!(owners(&w, &[&a, &b, &c]).await.len() < 2, "{at}");
            tapped.run(&to_c).await;
            assert_eq!(owners(&w, &[&a, &b, &c]).await, ["C"], "{at}");
        }
        is_sound(&w);
    });
}
