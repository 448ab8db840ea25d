//! Numbers come, go and change hands while several server processes answer calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::control::work::WORKER_PREFIX;
use tokio::task::JoinSet;

use crate::support::counting_proxy::Tap;
use crate::support::{Account, Proxy, Server, World, world};

const CALLER: &str = "+15551234567";
const NUMBER: &str = "+18005550100";
const OTHER: &str = "+18005550101";

/// A tenant whose greeting is its own name.
async fn greeter(w: &World, name: &str, isolation: Isolation) -> Tenant {
    let tenant = w.tenant(name, isolation).await;
    w.configure(tenant.id, &serde_json::json!({ "greeting": name })).await;
    tenant
}

/// A server that reaches the control database through a proxy that can be cut.
async fn server_behind(w: &World) -> (Server, Proxy) {
    let (before, rest) = w.urls.server.split_once('@').unwrap();
    let (address, rest) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(address.parse().unwrap()).await;
    let server = w.server_at(&format!("{before}@{}/{rest}", proxy.address));
    (server, proxy)
}

async fn dial(account: &Account, server: &Server) -> (u16, String) {
    let answer = account.dial(server, CALLER, NUMBER).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[test]
fn an_unknown_number_is_refused_from_the_cache_until_it_is_assigned_on_every_process() {
    world(async |w| {
        let tenant = greeter(&w, "First", Isolation::Schema).await;
        let account = w.account(1, None).await;
        let ((one, cut), two) = (server_behind(&w).await, w.server());
        for server in [&one, &two] {
            assert_eq!(dial(&account, server).await.0, 404);
        }
        cut.cut();
        assert_eq!(dial(&account, &one).await.0, 404, "known to be unknown, without asking");
        cut.mend();
        crate::support::until("the process hears of changes again", async || {
            one.log().matches("listening for changes").count() >= 2
        })
        .await;

        let assigned = w.ctl(&["number", "assign", NUMBER, "--tenant", &tenant.id.to_string()]).json();
        assert_eq!((&assigned["instances"], &assigned["acknowledged"]), (&2.into(), &2.into()));
        for server in [&one, &two] {
            let (status, said) = dial(&account, server).await;
            assert_eq!((status, said.contains(">First<")), (200, true), "the very next call: {said}");
        }
        w.ctl(&["number", "release", NUMBER]).json();
        for server in [&one, &two] {
            assert_eq!(dial(&account, server).await.0, 404);
        }
    });
}

/// Turns red when `load_number` in the directory does not offer the route, or when `offer` takes nothing.
#[test]
fn a_cold_call_asks_the_control_database_once() {
    world(async |w| {
        let (first, second) =
            (greeter(&w, "First", Isolation::Schema).await, greeter(&w, "Second", Isolation::Database).await);
        let account = w.account(1, None).await;
        w.assign(OTHER, first.id, &account).await;
        w.assign(NUMBER, second.id, &account).await;
        let (before, rest) = w.urls.server.split_once('@').unwrap();
        let (address, rest) = rest.split_once('/').unwrap();
        // Whoever looks for work asks every second.
        let tap = Tap::of_all_but(WORKER_PREFIX);
        let server = w.server_at(&format!("{before}@127.0.0.1:{}/{rest}", tap.before(address.parse().unwrap()).await));
        crate::support::until("the server listens", async || server.log().contains("listening for changes")).await;
        tap.arm(None);
        assert_eq!(account.dial(&server, CALLER, OTHER).await.status(), 200);
        assert_eq!(tap.seen(), 2, "whose account it is, and whose number, with where that tenant lives");
        tap.arm(None);
        let (status, said) = dial(&account, &server).await;
        assert_eq!((status, said.contains(">Second<")), (200, true), "{said}");
        assert_eq!(tap.seen(), 1, "the account is known by now");
        tap.arm(None);
        assert_eq!(dial(&account, &server).await.0, 200);
        assert_eq!(tap.seen(), 0, "a warm one asks nothing");
    });
}

/// One answered or refused call.
struct Answer {
    /// The command had returned before this call began.
    after: bool,
    cut_off: bool,
    status: u16,
    said: String,
}

/// Red if `Mirror::remove` is not called in `hand_over`, or if `calls::begin` does not select from the mirror.
#[test]
fn after_a_number_has_moved_no_call_is_answered_by_the_old_tenant() {
    for (from, to) in [
        (Isolation::Schema, Isolation::Schema),
        (Isolation::Schema, Isolation::Database),
        (Isolation::Database, Isolation::Schema),
    ] {
        world(async |w| moved_under_load(&w, from, to).await);
    }
}

async fn moved_under_load(w: &World, from: Isolation, to: Isolation) {
    let (old, new) = (greeter(w, "Old", from).await, greeter(w, "New", to).await);
    let account = w.account(1, None).await;
    w.assign(NUMBER, old.id, &account).await;
    let (cut_off, proxy) = server_behind(w).await;
    let servers = [(w.server(), false), (w.server(), false), (cut_off, true)].map(Arc::new);
    for server in &servers {
        let (status, said) = dial(&account, &server.0).await;
        assert_eq!((status, said.contains(">Old<")), (200, true), "{said}");
    }
    proxy.cut();

    let (moved, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for server in servers.iter().flat_map(|server| [server; 3]) {
        let (server, account, moved, stop) =
            (Arc::clone(server), account.clone(), Arc::clone(&moved), Arc::clone(&stop));
        callers.spawn(async move {
            let mut answers = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let after = moved.load(Ordering::SeqCst);
                let (status, said) = dial(&account, &server.0).await;
                answers.push(Answer { after, cut_off: server.1, status, said });
            }
            answers
        });
    }
    let args = ["number", "assign", NUMBER, "--tenant", &new.id.to_string()].map(ToOwned::to_owned);
    let (config, moved_to) = (w.dir.join("strowgerctl.toml"), Arc::clone(&moved));
    let command = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> =
            ["--config", config.to_str().unwrap()].into_iter().chain(args.iter().map(String::as_str)).collect();
        let ran = crate::support::run(&args, "");
        moved_to.store(true, Ordering::SeqCst);
        ran
    });
    let ran = command.await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // A fixed number of calls more on each, all begun after the command returned.
    for server in &servers {
        for _ in 0..20 {
            let (status, said) = dial(&account, &server.0).await;
            judge(&Answer { after: true, cut_off: server.1, status, said });
        }
    }
    stop.store(true, Ordering::SeqCst);
    let answers: Vec<Answer> = callers.join_all().await.into_iter().flatten().collect();
    assert!(answers.iter().any(|a| !a.after && a.said.contains(">Old<")), "the old tenant answered before");
    assert!(answers.iter().any(|a| a.after), "calls went on");
    answers.iter().for_each(judge);
}

/// Before the command returned either may answer; after it only the new one, and nobody where control is out of reach.
fn judge(answer: &Answer) {
    let Answer { after, cut_off, status, said } = answer;
    match (after, cut_off) {
        (false, false) => assert_eq!(*status, 200, "a call waits while the number changes hands: {said}"),
        (true, false) => assert!(*status == 200 && said.contains(">New<"), "{status} {said}"),
        (true, true) => assert!(matches!(status, 404 | 503), "{status} {said}"),
        (false, true) => assert!(!said.contains(">New<"), "{status} {said}"),
    }
}
