//! What an operator makes of a tenant: read-only, suspended for a while, renamed; other numbers, other owners.

use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use tokio::process::Command;
use tokio_postgres::error::SqlState;

use crate::support::{Service, World, connect, strowgerctl, until, world};

const CALLER: &str = "+15551234567";
const NUMBER: &str = "+18005550100";
const OTHER: &str = "+18005550101";

fn scopes() -> Vec<Scope> {
    ["read:memories", "write:memories"].map(|scope| scope.parse().unwrap()).into()
}

/// Turns red when `admitted` lets writes through, when a call asks to write and does not fall back, and when the grants stay
/// (`writes` always true in `ensure_grants`): the tenant's own login would still write.
#[test]
fn a_read_only_tenant_is_read_greeted_and_not_written() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let id = tenant.id.to_string();
        let account = w.account(1, None).await;
        w.assign(NUMBER, tenant.id, &account).await;
        let server = w.server();
        let service = Service { server: &server, token: w.token(tenant.id, &scopes()).await };
        let memory = json!({ "customer_id": tenant.id, "user_id": CALLER, "content": "x" });
        assert_eq!(service.post("/v1/memories", &memory).await.status, 201);
        let db = w.as_tenant(tenant.id).await;
        let write = "insert into memories (user_id, content) values ('+15550000000', 'y')";
        db.execute(write, &[]).await.unwrap();

        let shown = w.ctl(&["tenant", "read-only", &id, "--reason", "audit"]).json();
        assert_eq!((&shown["state"], &shown["state_reason"]), (&json!("read_only"), &json!("audit")));
        let refused = service.post("/v1/memories", &memory).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("tenant_read_only")));
        let read = service.get("/v1/memories").await;
        assert_eq!((read.status, read.body["memories"].as_array().unwrap().len()), (200, 2));
        let said = account.dial(&server, CALLER, NUMBER).await;
        assert_eq!(said.status(), 200);
        assert!(said.text().await.unwrap().contains("How can I help"), "greeted as ever");
        assert_eq!(account.dial(&server, CALLER, OTHER).await.status(), 404);
        let noted = db.query_one("select count(*) from calls", &[]).await.unwrap();
        assert_eq!(noted.get::<_, i64>(0), 0, "the call leaves no trace");
        let ended = account.signed(&server, "/call/status", &account.call(CALLER, NUMBER)).send().await.unwrap();
        assert_eq!(ended.status(), 200);

        let doctor = w.ctl(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "as it must be: {}{}", doctor.stdout, doctor.stderr);
        for refused in [write, "update configurations set content = '{}'", "delete from memories"] {
            let error = db.execute(refused, &[]).await.expect_err(refused);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused}");
        }
        // Putting its rights back does not give it more than a read-only tenant has.
        w.ctl(&["tenant", "repair", &id]).json();
        assert_eq!(db.execute(write, &[]).await.unwrap_err().code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

        w.ctl(&["tenant", "suspend", &id]).json();
        assert!(connect(w.ctl(&["tenant", "connection", &id]).json().as_str().unwrap()).await.is_err());
        w.ctl(&["tenant", "read-only", &id]).json();
        assert_eq!(service.get("/v1/memories").await.status, 200);
        w.ctl(&["tenant", "resume", &id]).json();
        assert_eq!(service.post("/v1/memories", &memory).await.status, 201);
        assert_eq!(w.ctl(&["tenant", "show", &id]).json()["state"], "active");
    });
}

/// Turns red without `lock table … in share mode`: the command would return while a write is still under way.
#[test]
fn making_read_only_waits_for_writes_that_are_under_way() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Database).await;
        let mut db = w.as_tenant(tenant.id).await;
        let writing = db.transaction().await.unwrap();
        writing.execute("insert into memories (user_id, content) values ('+15550000000', 'y')", &[]).await.unwrap();
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args([
            "tenant",
            "read-only",
            &tenant.id.to_string(),
        ]);
        let mut making = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let watching = w.superuser("dedicated", "postgres").await;
        until("it waits for the write", async || {
            let sql = "select exists (select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock' and query ~ 'lock table')";
            watching.query_one(sql, &[&tenant.database]).await.unwrap().get(0)
        })
        .await;
        assert!(making.try_wait().unwrap().is_none());
        writing.commit().await.unwrap();
        assert!(making.wait().await.unwrap().success());
        let kept: i64 = db.query_one("select count(*) from memories", &[]).await.unwrap().get(0);
        assert_eq!(kept, 1);
    });
}

#[test]
fn a_suspension_with_an_end_ends_by_itself() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        assert_eq!(w.ctl(&["tenant", "suspend", &id, "--until", "2001-01-01T00:00:00Z"]).code, Some(3));
        let suspended = w.ctl(&["tenant", "suspend", &id, "--until", "3s"]).json();
        assert_eq!(suspended["state"], "suspended");
        assert!(suspended["state_until"].is_string(), "{suspended}");
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).arg("worker").kill_on_drop(true);
        let _worker = command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn().unwrap();
        until("the worker resumes it", async || w.ctl(&["tenant", "show", &id]).json()["state"] == "active").await;
        assert_eq!(w.ctl(&["tenant", "show", &id]).json()["state_until"], json!(null));

        // A later word of an operator counts, not the end of an earlier one.
        w.ctl(&["tenant", "suspend", &id, "--until", "1h"]).json();
        w.ctl(&["tenant", "suspend", &id]).json();
        let queued = w.ctl(&["job", "list", "--tenant", &id, "--state", "queued"]).json();
        assert_eq!(queued, json!([]), "nothing will end it");
    });
}

/// The reason in the newest row of the audit log that says so.
fn why(w: &World, action: &str) -> Value {
    let rows = w.ctl(&["audit", "list"]).json();
    rows.as_array().unwrap().iter().find(|row| row["action"] == action).unwrap()["detail"]["reason"].clone()
}

/// Turns red when the reason is not written down.
#[test]
fn a_tenant_is_renamed_and_the_log_keeps_no_name() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        w.tenant("Two", Isolation::Schema).await;
        let renamed = w.ctl(&["tenant", "rename", &id, "--name", "Très bien", "--reason", "they merged"]).json();
        assert_eq!(renamed["name"], "Très bien");
        assert_eq!(why(&w, "tenant.rename"), "they merged");
        assert_eq!(w.ctl(&["tenant", "rename", &id, "--name", "Très bien"]).json(), renamed, "run again");
        for name in ["Two", "", "a\nb"] {
            assert_eq!(w.ctl(&["tenant", "rename", &id, "--name", name]).code, Some(3), "{name:?}");
        }
        assert!(!w.ctl(&["audit", "list"]).json().to_string().contains("bien"));
    });
}

/// Turns red when the reason is not written down.
#[test]
fn a_number_is_replaced_and_an_account_changes_hands() {
    world(async |w| {
        let [one, two] = [w.tenant("One", Isolation::Schema).await.id, w.tenant("Two", Isolation::Database).await.id];
        let account = w.account(1, None).await;
        w.assign(NUMBER, one, &account).await;
        let server = w.server();
        assert_eq!(account.dial(&server, CALLER, NUMBER).await.status(), 200);
        let replace = ["number", "replace", NUMBER, OTHER, "--reason", "misprinted"];
        assert_eq!(w.ctl(&replace).json()["customer_id"], json!(one));
        assert_eq!(why(&w, "number.begin_move"), "misprinted");
        assert_eq!(account.dial(&server, CALLER, NUMBER).await.status(), 404);
        assert_eq!(account.dial(&server, CALLER, OTHER).await.status(), 200);
        assert_eq!(w.ctl(&replace).json()["customer_id"], json!(one), "run again");

        let to =
            |tenant: &str| w.ctl(&["account", "transfer", &account.sid, "--tenant", tenant, "--reason", "they pay"]);
        let refused = to(&two.to_string());
        assert_eq!(
            (refused.code, refused.stderr.contains("another tenant answers")),
            (Some(3), true),
            "{}",
            refused.stderr
        );
        assert_eq!(to("999").code, Some(3));
        assert_eq!(to(&one.to_string()).json()[0]["customer_id"], json!(one));
        assert_eq!(why(&w, "account.transfer"), "they pay");
        assert_eq!(
            account.dial(&server, CALLER, OTHER).await.status(),
            200,
            "the token opens under the new owner's key"
        );
        let refused = w.ctl(&["number", "assign", OTHER, "--tenant", &two.to_string(), "--account", &account.sid]);
        assert_eq!(refused.code, Some(3), "it is that tenant's account now");
        w.ctl(&["account", "transfer", &account.sid]).json();
        w.ctl(&["number", "assign", OTHER, "--tenant", &two.to_string(), "--reason", "sold"]).json();
        assert_eq!(why(&w, "number.begin_move"), "sold");
        assert_eq!(account.dial(&server, CALLER, OTHER).await.status(), 200);
    });
}

/// Turns red when `suspended_sentence` in `directory/mod.rs` asks the platform's alone, or `ROUTES` in `control/placements.rs` leaves the
/// tenant's out.
#[test]
fn what_callers_of_a_suspended_tenant_hear_is_its_own_to_say_and_else_the_platforms() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let account = w.account(1, None).await;
        w.assign(NUMBER, id, &account).await;
        let server = w.server();
        w.ctl(&["tenant", "suspend", &id.to_string()]).json();
        let said = async || account.dial(&server, CALLER, NUMBER).await.text().await.unwrap();
        assert!(said().await.contains("We are sorry"));
        let settings = w.ctl(&["platform", "set", "suspended_sentence", "Back <soon> & well."]).json();
        assert_eq!(settings["suspended_sentence"], "Back <soon> & well.");
        assert!(said().await.contains("Back &lt;soon&gt; &amp; well."), "at once, and escaped");
        let tell = |more: &[&str]| w.ctl(&[&["tenant", "sentence", &id.to_string()][..], more].concat());
        assert_eq!(tell(&["Ask <us> on Monday."]).json()["suspended_sentence"], "Ask <us> on Monday.");
        assert!(said().await.contains("Ask &lt;us&gt; on Monday."), "its own over the platform's");
        let two = w.tenant("Two", Isolation::Schema).await.id;
        w.assign(OTHER, two, &account).await;
        w.ctl(&["tenant", "suspend", &two.to_string(), "--sentence", "We moved."]).json();
        let others = account.dial(&server, CALLER, OTHER).await.text().await.unwrap();
        assert!(others.contains("We moved.") && !others.contains("Monday"), "{others}");
        for (refused, code) in [(&["tenant", "sentence", "1", " "][..], 3), (&["tenant", "sentence", "1"], 2)] {
            assert_eq!(w.ctl(refused).code, Some(code), "{refused:?}");
        }
        // A receptionist that is switched off and has no sentence of its own says the same; one that has says that.
        w.ctl(&["tenant", "resume", &id.to_string()]).json();
        w.configure(id, &json!({ "disabled": true })).await;
        assert!(said().await.contains("Ask &lt;us&gt; on Monday."));
        w.configure(id, &json!({ "disabled_sentence": "On holiday." })).await;
        assert!(said().await.contains("On holiday."));
        w.configure(id, &json!({ "disabled_sentence": "" })).await;
        assert_eq!(tell(&["--clear"]).json()["suspended_sentence"], json!(null));
        assert!(said().await.contains("Back &lt;soon&gt; &amp; well."), "the platform's again");
        let audit = w.ctl(&["audit", "list"]).json().to_string();
        assert!(audit.contains("tenant.suspended_sentence") && !audit.contains("Monday"), "{audit}");
        assert_eq!(w.ctl(&["platform", "set", "suspended_sentence", " "]).code, Some(3));
        assert_eq!(w.ctl(&["platform", "set", "something", "x"]).code, Some(2));
    });
}
