//! What is seen of a restore while it is under way: by its own tenant, by another, and by one that may only read.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::clock::Clock;
use strowger::control::clusters::Isolation;

use super::filled::fill;
use super::{back_up, url_of};
use crate::crash::tapped::{Tapped, some_deaths};
use crate::moves::WRITE;
use crate::rotation::token;
use crate::support::counting_proxy::Moment;
use crate::support::load::Load;
use crate::support::{Server, connect, until, world};

/// Microseconds of the epoch, as `restores` is asked for too: all of a test is on one machine.
fn now() -> i64 {
    i64::try_from(Clock::system().now().unix_timestamp_nanos() / 1000).unwrap()
}

/// Not all memories: there are some at moments that no calendar has.
const ABOUT_NOBODY: &str = "/v1/memories?user_id=%2B15550001111&limit=5";

/// What came of requests, one after the other.
#[derive(Default)]
struct Asked {
    good: std::cell::Cell<usize>,
    /// When each that failed began and ended, and what was said.
    failed: std::cell::RefCell<Vec<(i64, i64, String)>>,
}

impl Asked {
    async fn ask(&self, server: &Server, token: &str) {
        loop {
            let began = now();
            let answer = server.get(ABOUT_NOBODY).bearer_auth(token).send().await.unwrap();
            if answer.status() == 200 {
                self.good.set(self.good.get() + 1);
                continue;
            }
            let status = answer.status();
            let said = answer.text().await.unwrap();
            assert_eq!(status, 503, "{said} {}", server.log().lines().rev().take(5).collect::<Vec<_>>().join("\n"));
            self.failed.borrow_mut().push((began, now(), said));
        }
    }

    async fn more(&self) {
        let enough = self.good.get() + 20;
        until("it is answered", async || self.good.get() > enough).await;
    }
}

/// Turns red when a tenant is told that it is served again before it is; a neighbour's request that fails does so whatever the cause.
#[test]
fn a_restore_keeps_its_own_tenant_out_for_the_swap_and_nobody_else() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        fill(&url_of(&one), &one.schema);
        let backup = back_up(&w, &one);
        let server = w.server();
        let theirs = Load::begin(&[&server], &[token(&w, &two).await], 2);
        let (asked, ours) = (Asked::default(), w.token(one.id, &[Scope::ReadMemories]).await);
        let restore = async {
            asked.more().await;
            let id = backup["id"].as_str().unwrap();
            let ended = crate::moves::beside(&w, &["backup", "restore", id, "--in-place"]).await;
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            asked.more().await;
            theirs.goes_on(20).await;
            serde_json::from_slice::<Value>(&ended.stdout).unwrap()
        };
        let restored = tokio::select! {
            restored = restore => restored,
            () = asked.ask(&server, &ours) => unreachable!(),
        };
        theirs.end("a neighbour of a restore").await;

        let micros = |what: &str| format!("(1000000 * extract(epoch from {what}))::bigint");
        let sql = format!("select {}, {} from restores", micros("shut_at"), micros("open_at"));
        let row = crate::jobs::control(&w).await.query_one(&sql, &[]).await.unwrap();
        let (shut, open) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        let failed = asked.failed.borrow();
        println!(
            "shut out for {} ms; {} requests failed, {} did not",
            restored["unavailable_ms"],
            failed.len(),
            asked.good.get()
        );
        let unexplained: Vec<_> = failed.iter().filter(|(began, ended, _)| *ended < shut || *began > open).collect();
        assert!(unexplained.is_empty(), "while it was served: {unexplained:?}");
        assert!((restored["unavailable_ms"].as_i64().unwrap() - (open - shut) / 1000).abs() <= 1, "{restored}");
        // Who is not served is not kept out.
        w.ctl(&["tenant", "suspend", "1"]).json();
        assert_eq!(w.ctl(&["backup", "undo", "1"]).json()["unavailable_ms"], json!(null));
    });
}

/// Whether a tenant's own login gets in and writes.
async fn writes(url: &str) -> bool {
    match connect(url).await {
        Ok(db) => db.execute(WRITE, &[]).await.is_ok(),
        Err(_) => false,
    }
}

/// Turns red when its logins are let in before its rights are put right, or when what is made aside can be written to.
#[test]
fn a_tenant_that_may_only_read_writes_at_no_moment_of_a_restore() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let id = back_up(&w, &tenant)["id"].as_str().unwrap().to_owned();
        let (restore, undo) = (["backup", "restore", &id, "--in-place"], ["backup", "undo", "1"]);
        // What is kept was written to.
        w.ctl(&restore).json();
        w.ctl(&["tenant", "read-only", "1"]).json();
        let tapped = Tapped::new(&w).await;
        let url = provisioner::tenants::connection(&w.with, tenant.id).await.unwrap();
        let (mut looked, mut let_in) = (0, 0);
        for command in [&undo[..], &restore] {
            let look = async || {
                looked += 1;
                let_in += usize::from(connect(&url).await.is_ok());
                assert!(!writes(&url).await, "{command:?}, statement {looked}");
                ControlFlow::Continue(())
            };
            let ended = tapped.look_at_each(command, look).await;
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        assert!(let_in > 10 && let_in < looked, "the control: {let_in} of {looked}");

        // Killed, and repaired before somebody goes on with it.
        let (_, statements) = tapped.run(&restore).await;
        for (at, moment) in some_deaths(16, statements, Moment::Unsent) {
            if !tapped.stop_or_end(at, moment, &restore).await {
                continue;
            }
            w.ctl(&["tenant", "repair", "1"]).json();
            assert!(!writes(&url).await, "repaired, {at}");
            let (again, _) = tapped.run(&restore).await;
            assert_eq!(again["state"], "read_only", "{at}");
            assert!(connect(&url).await.is_ok() && !writes(&url).await, "{at}");
        }
        w.ctl(&["tenant", "resume", "1"]).json();
        assert!(writes(&url).await);
        w.ctl(&["doctor"]).json();
    });
}
