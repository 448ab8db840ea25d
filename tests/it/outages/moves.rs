//! A move, struck at every step, there and back again.

use std::collections::VecDeque;

use strowger::control::clusters::Isolation;
use strowger::control::jobs::Kind;

use super::writer::{Writer, found};
use super::{Death, deaths, steps_of, strike};
use crate::crash::Catalog;
use crate::crash::tapped::Tapped;
use crate::moves::online::{allow, parts};
use crate::moves::tenant_now;
use crate::support::{World, private_world};

/// Where the tenant lives first, and where it goes.
const ENDS: [&str; 2] = ["shared", "dedicated"];

#[test]
fn a_move_outlives_its_servers() {
    private_world(async |w| struck_everywhere(&w, &["--offline"]).await);
}

/// Turns red when what an earlier attempt made to replicate is not removed.
#[test]
fn an_online_move_outlives_its_servers() {
    private_world(async |w| {
        allow(&w);
        struck_everywhere(&w, &[]).await;
    });
}

async fn struck_everywhere(w: &World, how: &[&str]) {
    let tenant = w.tenant("One", Isolation::Schema).await;
    let before = Catalog::read(w).await;
    let tapped = Tapped::new(w).await;
    let to = |server: &'static str| [&["tenant", "move", "1", "--to", server], how].concat();
    // From here on there is something on either side, as there will be.
    for server in [ENDS[1], ENDS[0]] {
        tapped.run(&to(server)).await;
    }
    let mut left: [VecDeque<Death>; 2] = [VecDeque::new(), VecDeque::new()];
    let mut struck = 0;
    for (from, left) in left.iter_mut().enumerate() {
        let steps = steps_of(w, &tapped, Kind::Move, &to(ENDS[1 - from])).await;
        // There and back are much the same: each is struck at every second moment.
        let every = if crate::crash::tapped::is_whole() { 1 } else { 2 };
        left.extend(deaths(&steps, 3).into_iter().skip(from % every).step_by(every));
    }
    let writer = Writer::default();
    let striking = async {
        let mut from = 0;
        while left.iter().any(|left| !left.is_empty()) {
            let command = to(ENDS[1 - from]);
            writer.more().await;
            if let Some(death) = left[from].pop_front() {
                let server = [ENDS[from], ENDS[1 - from], "control"][death.who];
                strike(w, &tapped, &death, server, &command).await;
                struck += 1;
                let (again, _) = tapped.run(&command).await;
                assert_eq!(again["cluster"], ENDS[1 - from], "{server} {death:?}");
                is_whole(w, &writer, &format!("{server} {death:?}")).await;
            } else {
                tapped.run(&command).await;
            }
            from = 1 - from;
        }
        writer.end();
    };
    tokio::join!(striking, writer.write(w, tenant.id));
    println!("tenant move {how:?}: {struck} deaths of source, target and control database");
    if tenant_now(w, tenant.id).await.cluster != ENDS[0] {
        tapped.run(&to(ENDS[0])).await;
    }
    crate::jobs::control(w).await.batch_execute("update moves set kept_until = now()").await.unwrap();
    assert_eq!(provisioner::moves::end_kept(&w.with).await.unwrap(), 1);
    before.still_holds(w).await;
    w.ctl(&["audit", "verify"]).json();
}

/// The tenant is written to where it lives, with what was acknowledged, and nothing replicates any more.
async fn is_whole(w: &World, writer: &Writer, when: &str) {
    let tenant = tenant_now(w, 1.try_into().unwrap()).await;
    assert!(!tenant.held, "{when}");
    let acknowledged = writer.acknowledged();
    writer.finds(&found(w, &tenant, &tenant.schema).await, &acknowledged, when);
    writer.more().await;
    assert_eq!(parts(w).await, Vec::<String>::new(), "{when}");
    let doctor = w.ctl(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{when}: {} {}", doctor.stdout, doctor.stderr);
}
