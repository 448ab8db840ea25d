//! Memories are found by their words and by what they mean.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::model_stub::{Failing, ModelStub};
use crate::support::{Server, Service, World, answer, world};

const CALLER: &str = "+15551234567";
const OTHER: &str = "+15550009999";
const FACTS: [&str; 5] = [
    "Had his windscreen replaced in June.",
    "Prefers phone calls in the morning.",
    "Plays the piano in a jazz band.",
    "His daughter is allergic to peanuts.",
    "The deductible of his policy is 500 dollars.",
];

async fn service<'a>(w: &World, server: &'a Server, tenant: TenantId) -> Service<'a> {
    Service { server, token: w.token(tenant, &[Scope::ReadMemories, Scope::WriteMemories]).await }
}

fn understanding(w: &World) -> Server {
    let folder = crate::meaning::folder();
    w.server_with(&["--word-vectors", folder.to_str().unwrap()])
}

async fn remember(one: &Service<'_>) {
    for fact in FACTS {
        assert_eq!(one.post("/v1/memories", &json!({ "user_id": CALLER, "content": fact })).await.status, 201);
    }
}

async fn search(one: &Service<'_>, body: &Value) -> Vec<(String, f64)> {
    let found = one.post("/v1/memories/search", body).await;
    assert_eq!(found.status, 200, "{found:?}");
    let memories = found.body["memories"].as_array().unwrap();
    memories.iter().map(|m| (m["content"].as_str().unwrap().to_owned(), m["score"].as_f64().unwrap())).collect()
}

/// Red when `memories::search` leaves out the ranking by meaning: none of the words is in the fact.
#[test]
fn what_means_the_same_is_found_without_a_common_word() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (knowing, plain) = (understanding(&w), w.server());
        let one = service(&w, &knowing, id).await;
        remember(&one).await;
        for (query, fact) in
            [("cracked windshield", 0), ("does she have any food allergies", 3), ("musical instruments", 2)]
        {
            let found = search(&one, &json!({ "query": query, "user_id": CALLER })).await;
            assert_eq!(found[0].0, FACTS[fact], "{query}: {found:?}");
            assert!(found.iter().all(|(_, score)| (0.0..=1.0).contains(score)), "{found:?}");
        }
        // The same question by words and by meaning: first in both is 1.
        let both = search(&one, &json!({ "query": "piano jazz band", "limit": 1 })).await;
        assert_eq!(both, [(FACTS[2].to_owned(), 1.0)]);
        assert!(search(&one, &json!({ "query": "windscreen", "user_id": OTHER })).await.is_empty(), "another caller's");
        assert!(search(&one, &json!({ "query": "windscreen", "type": "other" })).await.is_empty(), "another type");
        let old = json!({ "customer_id": id, "user_id": CALLER, "query": "cracked windshield" });
        let found = one.post("/memory/retrieve", &old).await;
        assert_eq!(found.body["memories"][0]["content"], FACTS[0], "the old route searches the same way");

        let without = service(&w, &plain, id).await;
        assert!(
            search(&without, &json!({ "query": "cracked windshield" })).await.is_empty(),
            "by words alone: none is in it"
        );
    });
}

#[test]
fn memories_from_before_the_vectors_get_theirs_when_they_are_searched() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (knowing, plain) = (understanding(&w), w.server());
        let without = service(&w, &plain, id).await;
        remember(&without).await;
        let one = service(&w, &knowing, id).await;
        let db = w.as_tenant(id).await;
        let vectors =
            async || -> i64 { db.query_one("select count(*) from memory_vectors", &[]).await.unwrap().get(0) };
        assert_eq!(vectors().await, 0);
        assert_eq!(search(&one, &json!({ "query": "cracked windshield" })).await[0].0, FACTS[0]);
        assert_eq!(vectors().await, 5);

        // Another model's vector is never compared, and is replaced; so is that of a memory that was replaced since.
        db.batch_execute("update memory_vectors set model = 'another/256'").await.unwrap();
        assert_eq!(search(&one, &json!({ "query": "cracked windshield" })).await[0].0, FACTS[0]);
        let keyed = |content: &str| json!({ "user_id": CALLER, "key": "hobby", "content": content });
        one.post("/v1/memories", &keyed("Collects stamps.")).await;
        without.post("/v1/memories", &keyed("Sails a boat on the lake.")).await;
        let found = search(&one, &json!({ "query": "postage stamp collection", "user_id": CALLER })).await;
        assert!(found.iter().all(|(content, _)| !content.contains("boat")), "{found:?}");
        assert_eq!(search(&one, &json!({ "query": "yacht sailing" })).await[0].0, "Sails a boat on the lake.");

        // A tenant that takes no writes is searched with the vectors that it has.
        db.batch_execute("delete from memory_vectors").await.unwrap();
        w.ctl(&["tenant", "read-only", &id.to_string(), "--reason", "audit"]).json();
        let found = search(&one, &json!({ "query": "windscreen" })).await;
        assert_eq!(found[0].0, FACTS[0]);
        assert_eq!(vectors().await, 0);
    });
}

/// The tenant's own model, where it has one: asked for what lacks a vector when it is searched, never when it is stored. The
/// stub's vectors count letters, so an anagram means the same.
#[test]
fn a_tenant_with_a_model_is_searched_by_it_and_by_words_while_it_fails() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let stub = ModelStub::start().await;
        let set = ["model", "set", "--base-url", &stub.base_url, "--embedding-model", "vec-1", "--allow", "yes"];
        w.ctl(&set).json();
        w.ctl_with(&["secret", "set", "model.api_key"], "platform-key").json();
        let server = understanding(&w);
        let one = service(&w, &server, id).await;
        for fact in ["silent night", "xylocarp"] {
            one.post("/v1/memories", &json!({ "user_id": CALLER, "content": fact })).await;
        }
        assert!(stub.asked().is_empty(), "storing waits for nobody");
        let found = search(&one, &json!({ "query": "thing in slet", "user_id": CALLER })).await;
        assert_eq!(found[0].0, "silent night");
        assert_eq!(stub.asked().len(), 2, "the question, and at once all that lacked a vector");
        search(&one, &json!({ "query": "thing in slet", "user_id": CALLER })).await;
        assert_eq!(stub.asked().len(), 1, "the vectors were kept");

        w.configure(id, &json!({ "model_allowed": false })).await;
        search(&one, &json!({ "query": "thing in slet", "user_id": CALLER })).await;
        assert!(stub.asked().is_empty(), "the tenant itself forbids it");
        w.configure(id, &json!({ "model_allowed": true })).await;

        stub.fail(&[Failing::Garbage, Failing::Garbage]);
        assert_eq!(search(&one, &json!({ "query": "xylocarp" })).await, [("xylocarp".to_owned(), 1.0)], "words alone");
    });
}

#[test]
fn odd_questions_are_answered_or_refused_by_name() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let server = understanding(&w);
        let one = service(&w, &server, id).await;
        remember(&one).await;
        for query in ["?", " ", "日本語", "'); drop table memories; --", "<s> </s> <unk>", "\u{200d}"] {
            search(&one, &json!({ "query": query })).await;
        }
        for body in
            [json!({ "query": "" }), json!({ "query": "x".repeat(1001) }), json!({}), json!({ "query": "a\0b" })]
        {
            assert_eq!(one.post("/v1/memories/search", &body).await.status, 422, "{body}");
        }
        let long = "windscreen ".repeat(5900);
        assert_eq!(one.post("/v1/memories", &json!({ "user_id": CALLER, "content": long })).await.status, 201);
        let plain = answer(one.request(Method::POST, "/v1/memories/search").body("x")).await;
        assert!((400..500).contains(&plain.status), "{plain:?}");
    });
}

#[test]
fn a_server_with_bad_vectors_does_not_start_and_says_why() {
    world(async |w| {
        let config = w.dir.join("strowger.toml");
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_strowger"))
            .arg("--config")
            .arg(config)
            .args(["--listen", "127.0.0.1:0", "--word-vectors"])
            .arg(&w.dir)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && told.contains("--word-vectors") && told.contains("no .safetensors"), "{told}");
    });
}
