//! How a tenant configures its receptionist, and that the next call goes by it, whichever server takes it.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::{Account, Answer, Server, Service, World, answer, world};

const SCOPES: [Scope; 3] = [Scope::ReadConfig, Scope::WriteConfig, Scope::ReadCalls];
const DIALLED: &str = "+18005550123";
const CALLER: &str = "+15551234567";

async fn service<'a>(w: &World, server: &'a Server, tenant: TenantId) -> Service<'a> {
    Service { server, token: w.token(tenant, &SCOPES).await }
}

async fn change(of: &Service<'_>, method: Method, body: &Value, seen: Option<&str>) -> Answer {
    let request = of.request(method, "/v1/config").json(body);
    answer(match seen {
        Some(tag) => request.header("if-match", tag),
        None => request,
    })
    .await
}

async fn said(server: &Server, account: &Account) -> String {
    let found = answer(account.signed(server, "/call/incoming", &account.call(CALLER, DIALLED))).await;
    assert_eq!(found.status, 200, "{found:?}");
    found.body.as_str().unwrap().to_owned()
}

fn places(found: &Answer) -> Vec<&str> {
    assert_eq!((found.status, &found.body["code"]), (422, &json!("invalid")), "{found:?}");
    found.body["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect()
}

/// Turns red when a server keeps what it has read of a configuration for the next call.
#[test]
fn a_change_is_effective_on_the_next_call_at_every_server() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let account = w.account(1, None).await;
        w.assign(DIALLED, id, &account).await;
        let servers = [w.server(), w.server()];
        let one = service(&w, &servers[0], id).await;
        for server in &servers {
            assert!(said(server, &account).await.contains("your assistant"));
        }
        let closed = json!({ "time_zone": "UTC", "weekly": {} });
        for (patch, words) in [
            (json!({ "agent_name": "Ada", "greeting": "{agent_name} speaking." }), "Ada speaking."),
            (json!({ "hours": closed, "after_hours": "{agent_name} sleeps." }), "Ada sleeps."),
            (json!({ "hours": null }), "Ada speaking."),
            (json!({ "disabled": true, "disabled_sentence": "Closed for good." }), "Closed for good."),
            (json!({ "disabled_sentence": "" }), "cannot take calls"),
        ] {
            assert_eq!(change(&one, Method::PATCH, &patch, None).await.status, 200, "{patch}");
            for server in &servers {
                let twiml = said(server, &account).await;
                assert!(twiml.contains(words), "{patch}: {twiml}");
            }
        }
    });
}

#[test]
fn a_configuration_is_replaced_patched_read_and_restored() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Database).await.id;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let first = one.get("/v1/config").await;
        assert_eq!((first.status, &first.body["version"], &first.body["customer_id"]), (200, &json!(1), &json!(id)));
        assert_eq!(first.body["created_by"], "migration");
        let put = change(&one, Method::PUT, &json!({ "agent_name": "Ada", "sliders": { "warmth": 95 } }), None).await;
        assert_eq!((put.status, &put.body["version"], &put.body["sliders"]["pace"]), (200, &json!(2), &json!(50)));
        assert!(put.body["prompt"].as_str().unwrap().contains("glad about the call"), "{put:?}");
        assert!(put.body["created_by"].as_str().unwrap().starts_with("token "), "{put:?}");
        assert_eq!(
            change(&one, Method::PUT, &put.body, None).await,
            put,
            "an answer can be sent back, and changes nothing"
        );
        let patch = json!({ "agent_name": null, "sliders": { "pace": 0 } });
        let patched = change(&one, Method::PATCH, &patch, None).await.body;
        assert_eq!((&patched["version"], &patched["agent_name"]), (&json!(3), &json!("your assistant")));
        assert_eq!((&patched["sliders"]["warmth"], &patched["sliders"]["pace"]), (&json!(95), &json!(0)));
        assert_eq!(one.get("/v1/config/versions/2").await.body["agent_name"], "Ada");
        let restored = one.post("/v1/config/versions/2/restore", &json!({})).await.body;
        assert_eq!((&restored["version"], &restored["agent_name"]), (&json!(4), &json!("Ada")));
        let listed = one.get("/v1/config/versions?limit=3").await.body;
        let numbers: Vec<&Value> = listed["versions"].as_array().unwrap().iter().map(|head| &head["version"]).collect();
        assert_eq!((numbers, &listed["next_cursor"]), (vec![&json!(4), &json!(3), &json!(2)], &json!(2)));
        assert_eq!(one.get("/v1/config/versions?cursor=2").await.body["next_cursor"], json!(null));
        for path in ["/v1/config/versions/5", "/v1/config/versions/0", "/v1/config/versions/x"] {
            assert_eq!(one.get(path).await.status, 404, "{path}");
        }
        let agent = &one.get("/v2/context/enriched?user_id=5551234567").await.body["agent"];
        assert_eq!((&agent["version"], &agent["agent_name"]), (&json!(4), &json!("Ada")));
        assert_eq!(agent["prompt"], restored["prompt"]);
    });
}

#[test]
fn nobody_overwrites_what_he_has_not_seen() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let name = |name: &str| json!({ "agent_name": name });
        assert_eq!(change(&one, Method::PATCH, &name("Ada"), Some("\"1\"")).await.body["version"], 2);
        for stale in ["\"1\"", "\"3\"", "W/\"2\"", "2x", ""] {
            let found = change(&one, Method::PUT, &name("Eve"), Some(stale)).await;
            assert_eq!((found.status, &found.body["code"]), (412, &json!("stale")), "{stale}");
        }
        assert_eq!(change(&one, Method::PATCH, &name("Bea"), Some("*")).await.body["version"], 3);
        // All of them at once: each becomes a version of its own or is told, and none is lost silently.
        let patches: Vec<Value> =
            ["voice", "fallback", "after_hours"].iter().map(|field| json!({ *field: "x" })).collect();
        let all = patches.iter().map(|patch| change(&one, Method::PATCH, patch, None));
        let mut done = 0;
        for found in futures_of(all).await {
            assert!([200, 412].contains(&found.status), "{found:?}");
            done += i32::from(found.status == 200);
        }
        assert_eq!(one.get("/v1/config").await.body["version"], 3 + done);
    });
}

/// Runs them side by side.
async fn futures_of<F: Future<Output = Answer>>(all: impl Iterator<Item = F>) -> Vec<Answer> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    let [a, b, c] = &mut running[..] else { panic!("three of them") };
    let (a, b, c) = tokio::join!(a, b, c);
    vec![a, b, c]
}

#[test]
fn what_does_not_fit_is_refused_field_by_field() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let wrong = json!({ "sliders": { "warmth": 101, "sternness": 1 }, "hours": { "time_zone": "UTC", "weekly": { "monday": [{ "from": "9", "to": "17:00" }] } },
                            "escalation_number": "911", "more": 1, "agent_name": "" });
        let expected = [
            "/agent_name",
            "/escalation_number",
            "/hours/weekly/monday/0/from",
            "/more",
            "/sliders/sternness",
            "/sliders/warmth",
        ];
        for method in [Method::PUT, Method::PATCH] {
            assert_eq!(places(&change(&one, method, &wrong, None).await), expected);
        }
        let zone = json!({ "hours": { "time_zone": "Mars/Olympus" } });
        assert_eq!(places(&change(&one, Method::PATCH, &zone, None).await), ["/hours/time_zone"]);
        let long = json!({ "personality": "x".repeat(8001) });
        assert_eq!(places(&change(&one, Method::PATCH, &long, None).await), ["/personality"]);
        assert_eq!(one.get("/v1/config").await.body["version"], 1, "nothing was stored");
    });
}

/// Turns red when `set` in `provisioner/src/configuration.rs` notes nothing in the audit log, or the words themselves.
#[test]
fn an_operator_sets_it_from_a_file_and_the_audit_log_says_so() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        let set = w
            .ctl_with(&["tenant", "config", "set", "--tenant", &id], "agent_name = 'Ada'\nsliders.humour = 90\n")
            .json();
        assert_eq!((&set["version"], &set["configuration"]["sliders"]["humour"]), (&json!(2), &json!(90)));
        assert!(set["created_by"].as_str().unwrap().starts_with("operator:"), "{set}");
        assert_eq!(w.ctl(&["tenant", "config", "show", "--tenant", &id]).json(), set);
        w.ctl_with(&["tenant", "config", "set", "--tenant", &id], "agent_name = 'Ada'\nsliders.humour = 90\n").json();
        let audit = w.ctl(&["audit", "list", "--tenant", &id]).json();
        let rows: Vec<_> =
            audit.as_array().unwrap().iter().filter(|row| row["action"] == "configuration.set").collect();
        assert_eq!(rows.len(), 1, "what changes nothing is no change: {audit}");
        assert_eq!(rows[0]["detail"], json!({ "over": 1 }));
        assert!(!audit.to_string().contains("Ada"), "{audit}");
        let refused = w.ctl_with(&["tenant", "config", "set", "--tenant", &id], "agent = 'Ada'\n");
        assert_eq!(
            (refused.code, refused.stderr.contains("/agent: is not a field")),
            (Some(3), true),
            "{}",
            refused.stderr
        );
    });
}
