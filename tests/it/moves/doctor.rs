//! What the doctor says of a tenant on its way, what taking a move back leaves, and what an erasure takes along.

use serde_json::Value;
use strowger::control::clusters::Isolation;
use tokio_postgres::error::SqlState;

use super::tenant_now;
use crate::crash::Catalog;
use crate::crash::tapped::Tapped;
use crate::support::counting_proxy::Moment;
use crate::support::{World, world};

fn codes(w: &World) -> Vec<String> {
    let found: Value = serde_json::from_str(&w.ctl(&["doctor"]).stdout).unwrap();
    let mut codes: Vec<String> =
        found.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    codes.dedup();
    codes
}

/// Turns red when the doctor does not look at moves, and when a repair of a held tenant grants what it grants any other.
///
/// What is half made is expected while its job lives, called what it is once the job was given up, and gone when that is taken back.
#[test]
fn half_a_target_is_expected_while_its_job_lives() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let before = Catalog::read(&w).await;
        let tapped = Tapped::new(&w).await;
        let command = ["tenant", "move", "1", "--to", "dedicated", "--offline"];
        let (_, statements) = tapped.run(&command).await;
        let undo = ["tenant", "move", "1", "--undo"];
        tapped.run(&undo).await;
        let control = crate::jobs::control(&w).await;
        control.batch_execute("update moves set kept_until = now()").await.unwrap();
        provisioner::moves::end_kept(&w.with).await.unwrap();
        tapped.stop(statements * 2 / 3, Moment::Unsent, &command).await;
        let sql = "update jobs set state = $1::text, holder = null, lease_until = null, not_before = now() + interval '1 hour'
                   where kind = 'move' and state <> 'done'";
        control.execute(sql, &[&"queued"]).await.unwrap();
        assert_eq!(codes(&w), Vec::<String>::new(), "it will be gone on with");
        // Whoever puts its rights back meanwhile does not let it be written to.
        w.ctl(&["tenant", "repair", "1"]).json();
        let write = "insert into memories (user_id, content) values ('x', 'x')";
        let refused = w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        control.execute(sql, &[&"failed"]).await.unwrap();
        assert_eq!(codes(&w), ["job.failed", "tenant.held", "role.unknown"], "nobody is at it");
        let job = control.query_one("select max(id)::text from jobs where kind = 'move'", &[]).await.unwrap();
        w.ctl(&["job", "cancel", job.get(0)]).json();
        assert_eq!(codes(&w), Vec::<String>::new());
        before.still_holds(&w).await;
        let now = tenant_now(&w, tenant.id).await;
        assert_eq!((now.cluster.as_str(), now.held), ("shared", false));
        w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
    });
}

/// Turns red without the step `DropOther`: the absence is not proven.
#[test]
fn an_erasure_takes_along_what_is_kept_elsewhere() {
    world(async |w| {
        let before = Catalog::read(&w).await;
        w.tenant("One", Isolation::Database).await;
        w.ctl(&["tenant", "move", "1", "--to", "shared", "--offline"]).json();
        w.ctl(&["tenant", "erase", "1", "--now", "--confirm", "1"]).json();
        before.still_holds(&w).await;
    });
}
