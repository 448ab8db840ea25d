//! Unusual words in memories, calls and refused requests appear in no log: not in ours, not in Postgres's.
//!
//! Red when `http/health.rs` logs the URI in place of its pattern, when `auth/jwt.rs` logs what the JSON parser says, and when
//! `log_error_verbosity` or `log_min_error_statement` in `embedded.rs` is left at Postgres's default (`cluster add` refuses such
//! a server already; without that check the words are in the log).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;
use tokio_postgres::error::SqlState;

use crate::support::forge::{self, Forge, Signer};
use crate::support::{Service, World, answer, world};

/// In every text that a caller, a client or a stranger sends.
const CANARY: &str = "xylocarp";
const CALLER: &str = "+15557340912";
const DIGITS: &str = "5557340912";
const DIALLED: &str = "+18005550133";

/// What a cluster has logged.
fn postgres_log(cluster: &str) -> String {
    let logs = std::env::var_os("STROWGER_TEST_POSTGRES_LOGS").expect("run the tests with ./test");
    let path = PathBuf::from(logs).join(cluster).join("server.log");
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn assert_silent(which: &str, log: &str) {
    let told: Vec<&str> = log.lines().filter(|line| line.contains(CANARY) || line.contains(DIGITS)).collect();
    assert!(told.is_empty(), "{which} holds a caller's words: {told:#?}");
}

/// Waits for a line that Postgres must write, which also shows that we read the right file.
async fn await_line(cluster: &str, needle: &str) {
    while !postgres_log(cluster).contains(needle) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn memories(one: &Service<'_>) {
    let body = json!({ "user_id": CALLER, "type": CANARY, "key": CANARY, "content": CANARY });
    assert_eq!(one.post("/v1/memories", &body).await.status, 201);
    let found = one.get(&format!("/v1/memories/user/{CALLER}?type={CANARY}")).await;
    assert!(found.body.to_string().contains(CANARY), "the control: the word is stored and given back");
    assert_eq!(one.post("/v1/memories/search", &json!({ "query": CANARY, "user_id": CALLER })).await.status, 200);
    assert_eq!(one.get(&format!("/v2/context/enriched?user_id={CALLER}")).await.status, 200);

    for field in ["content", "type", "key"] {
        let mut body = body.clone();
        body[field] = json!(format!("{CANARY}\0"));
        assert_eq!(one.post("/v1/memories", &body).await.status, 422, "{field}");
    }
    for (path, body) in [
        ("/v1/memories", json!({ "user_id": CANARY, "content": CANARY })),
        ("/v1/memories", json!({ "user_id": CALLER, "content": [CANARY] })),
        ("/v1/memories", json!({ CANARY: CANARY })),
        ("/v1/memories", json!({ "customer_id": CANARY, "user_id": CALLER, "content": CANARY })),
        ("/v1/memories/search", json!({ "query": format!("{CANARY}\0") })),
        ("/v1/memories/search", json!({ "query": CANARY, "limit": CANARY })),
        ("/memory/store", json!({ "user_id": CALLER, "content": CANARY })),
        ("/xylocarp", json!(CANARY)),
    ] {
        let found = one.post(path, &body).await;
        assert!((400..500).contains(&found.status), "{path} {body}: {found:?}");
    }
    for path in [
        "/v1/memories/xylocarp",
        "/v1/memories/user/xylocarp",
        "/v1/memories?cursor=xylocarp&type=xylocarp",
        "/xylocarp?xylocarp",
    ] {
        let found = one.get(path).await;
        assert!((400..500).contains(&found.status), "{path}: {found:?}");
    }
    let broken = one.request(Method::POST, "/v1/memories").header("content-type", "application/json");
    assert_eq!(answer(broken.body(format!("{{\"{CANARY}\": {CANARY}"))).await.status, 400);
    let odd = one.request(CANARY.parse().unwrap(), "/v1/memories").header("user-agent", CANARY);
    assert_eq!(answer(odd).await.status, 405);
}

/// A finished call full of the word, and what is asked of the caller afterwards, rightly and wrongly.
async fn finished(one: &Service<'_>, tenant: TenantId) {
    let said = format!("My name is {CANARY}. {CANARY}@example.com.");
    let call = json!({
        "user_id": CALLER, "thread_id": format!("customer_{tenant}_user_1{DIGITS}"), "call_sid": CANARY,
        "conversation_history": [{ "role": "user", "content": said }],
    });
    let found = one.post("/v2/process-call", &call).await;
    assert!(found.body.to_string().contains(CANARY), "the control: the word is in the summary: {found:?}");
    for (field, wrong) in [
        ("thread_id", json!(CANARY)),
        ("call_sid", json!(format!("{CANARY}\0"))),
        ("conversation_history", json!([{ "role": CANARY, "content": CANARY }])),
        ("conversation_history", json!([{ "role": "user", "content": format!("{CANARY}\0 {CANARY}\0") }])),
    ] {
        let mut call = call.clone();
        call[field] = wrong;
        call["user_id"] = CALLER.into();
        one.post("/v2/process-call", &call).await;
    }
    for path in ["/v2/summaries/", "/v2/personality/", "/v1/callers/"] {
        assert_eq!(one.get(&format!("{path}{CANARY}")).await.status / 100, 4, "{path}");
    }
    assert_eq!(one.get(&format!("/v1/callers/{CALLER}/export")).await.status, 200);
}

/// Tokens that carry the word where a parser would quote it.
async fn tokens(w: &World, one: &Service<'_>) {
    let f = Forge::new(w).await;
    for (header, claims) in [
        (json!({ "alg": CANARY, "kid": forge::HS }), json!({})),
        (json!({ "alg": "HS256", "kid": CANARY }), json!({})),
        (json!({ "alg": "HS256", "kid": format!("{CANARY}\0") }), json!({})),
        (json!({ "alg": "HS256", "kid": forge::HS }), json!({ "customer_id": CANARY, "exp": CANARY, "iss": CANARY })),
        (json!({ "alg": "HS256", "kid": forge::HS }), json!(CANARY)),
    ] {
        let token = f.sign(&header, &claims, Signer::Hs(&f.secret));
        assert_eq!(answer(one.server.get("/v1/memories").bearer_auth(token)).await.status, 401, "{header} {claims}");
    }
    let plain = one.server.get("/v1/memories").header("authorization", format!("Bearer {CANARY}"));
    assert_eq!(answer(plain).await.status, 401);
}

#[test]
fn callers_words_are_in_no_log() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let account = w.account(1, Some(tenant)).await;
        w.assign(DIALLED, tenant, &account).await;
        let db = w.as_tenant(tenant).await;
        let sql = format!(
            "insert into caller_profiles (user_id, name, quick_bio) values ('{CALLER}', '{CANARY}', '{CANARY}')"
        );
        db.batch_execute(&sql).await.unwrap();
        let server = w.server();
        let one = Service { server: &server, token: w.token(tenant, Scope::ALL).await };
        memories(&one).await;
        finished(&one, tenant).await;
        tokens(&w, &one).await;

        let mut call = account.call(CALLER, DIALLED);
        call.extend(
            [("SpeechResult", CANARY), ("CallerName", CANARY), (CANARY, CANARY)].map(|(n, v)| (n.into(), v.into())),
        );
        let greeted = answer(account.signed(&server, "/call/incoming", &call)).await;
        assert!(greeted.body.to_string().contains(CANARY), "the control: greeted by name, {greeted:?}");
        assert_eq!(answer(account.signed(&server, "/call/status", &call)).await.status, 200);
        assert_eq!(answer(server.post("/call/incoming").form(&call)).await.status, 400);
        assert_eq!(
            answer(server.post("/call/incoming").header("x-twilio-signature", CANARY).form(&call)).await.status,
            403
        );
        for (name, value) in
            [("CallStatus", "xylocarp\0"), ("CallSid", "xylocarp!"), ("To", "xylocarp"), ("SequenceNumber", "xylocarp")]
        {
            let mut call: Vec<_> = call.iter().filter(|(n, _)| n != name).cloned().collect();
            call.push((name.into(), value.into()));
            let found = answer(account.signed(&server, "/call/status", &call)).await;
            assert!((400..500).contains(&found.status), "{name}: {found:?}");
        }

        let log = server.settled_log().await;
        assert_silent("the server's log", &log);
        assert!(log.contains("\"path\":\"/v1/memories/user/{user_id}\""), "the control: requests are logged\n{log}");
        assert!(log.contains("a token was refused") && log.contains("a webhook was refused"), "{log}");
    });
}

/// Postgres knows more than we log: statements, parameters, the values in an error's detail.
#[test]
fn callers_words_are_in_no_postgres_log() {
    world(async |w| {
        for (isolation, cluster) in [(Isolation::Schema, "shared"), (Isolation::Database, "dedicated")] {
            let tenant = w.tenant(cluster, isolation).await.id;
            let server = w.server();
            let one = Service { server: &server, token: w.token(tenant, Scope::ALL).await };
            memories(&one).await;
            let db = w.as_tenant(tenant).await;
            let insert = format!(
                "insert into memories (user_id, type, key, content) values ('{CALLER}', '{CANARY}', '{CANARY}', '{CANARY}')"
            );
            for (sql, code) in [
                (insert.as_str(), "23505"),
                ("insert into calls (call_sid, number, status) values ('xylocarp', null, 'xylocarp')", "23502"),
                ("insert into numbers values ('xylocarp', '+15557340912')", "42501"),
                ("select * from memories where content = 'xylocarp' and missing = 1", "42703"),
                ("select '{\"xylocarp\": \"\\u0000\"}'::jsonb ->> 'xylocarp'", "22P05"),
                ("select '{xylocarp'::jsonb", "22P02"),
                ("select 'xylocarp' where 1 / 0 = 1", "22012"),
            ] {
                let error = db.batch_execute(sql).await.expect_err(sql);
                assert_eq!(error.code().map(SqlState::code), Some(code), "{sql}: {error:?}");
            }
            let unique = "insert into memories (user_id, type, key, content) values ($1, $2, $2, $2)";
            let error = db.execute(unique, &[&CALLER, &CANARY]).await.expect_err("the same key again");
            assert_eq!(error.code().map(SqlState::code), Some("23505"));
            // A statement of our own that fails, with a name that nothing else has, ends what we wait for.
            let mark = format!("mark_{}", w.prefix);
            db.batch_execute(&format!("select {mark}")).await.expect_err("no such column");
            await_line(cluster, &mark).await;
            let log = postgres_log(cluster);
            assert!(log.contains("duplicate key value violates unique constraint"), "the control: {log}");
            assert_silent(cluster, &log);
        }
        assert_silent("control", &postgres_log("control"));
    });
}
