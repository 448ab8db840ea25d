//! The memory service and the enriched context, as the clients of the systems replaced know them.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::counting_proxy::Tap;
use crate::support::{Answer, Server, Service, World, answer, world};

const CALLER: &str = "+15551234567";
const SCOPES: [Scope; 3] = [Scope::ReadMemories, Scope::WriteMemories, Scope::ReadCalls];

async fn tenant(w: &World) -> TenantId {
    w.tenant("One", Isolation::Schema).await.id
}

async fn service<'a>(w: &World, server: &'a Server, tenant: TenantId) -> Service<'a> {
    Service { server, token: w.token(tenant, &SCOPES).await }
}

/// The memories of an answer by one of their fields.
fn each<'a>(found: &'a Answer, field: &str) -> Vec<&'a str> {
    assert_eq!(found.status, 200, "{found:?}");
    found.body["memories"].as_array().unwrap().iter().map(|memory| memory[field].as_str().unwrap()).collect()
}

#[test]
fn old_clients_find_the_two_old_routes_unchanged() {
    world(async |w| {
        let id = tenant(&w).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let stored = one
            .post("/memory/store", &json!({ "customer_id": id, "user_id": "(555) 123-4567", "content": "likes tea" }))
            .await;
        assert_eq!(stored.status, 200);
        let memory = stored.body["id"].as_str().unwrap();
        assert_eq!(stored.body, json!({ "success": true, "id": memory, "error": null }));
        memory.parse::<uuid::Uuid>().unwrap();
        one.post(
            "/memory/store",
            &json!({ "customer_id": id.to_string(), "user_id": CALLER, "content": "owns a boat", "type": "fact", "key": "boat" }),
        )
        .await;

        let newest = one.post("/memory/retrieve", &json!({ "customer_id": id, "user_id": "15551234567" })).await;
        assert_eq!(each(&newest, "content"), ["owns a boat", "likes tea"]);
        assert_eq!((&newest.body["success"], &newest.body["error"]), (&json!(true), &json!(null)));
        let row = &newest.body["memories"][0];
        for (name, expected) in
            [("customer_id", json!(id)), ("user_id", json!(CALLER)), ("type", json!("fact")), ("key", json!("boat"))]
        {
            assert_eq!(row[name], expected, "{row}");
        }
        let asked = json!({ "customer_id": id, "user_id": CALLER, "query": "which tea?", "limit": 5 });
        assert_eq!(each(&one.post("/memory/retrieve", &asked).await, "content"), ["likes tea"]);
        let blank = json!({ "customer_id": id, "user_id": CALLER, "query": " ", "limit": 1 });
        assert_eq!(each(&one.post("/memory/retrieve", &blank).await, "content"), ["owns a boat"]);

        let missing = json!({ "success": false, "error": "customer_id is required for multi-tenant security" });
        for path in ["/memory/store", "/memory/retrieve"] {
            for body in [json!({}), json!({ "user_id": CALLER, "content": "x" }), json!({ "customer_id": null })] {
                let found = one.post(path, &body).await;
                assert_eq!((found.status, &found.body), (400, &missing), "{path} {body}");
            }
        }
    });
}

#[test]
fn lists_are_newest_first_in_pages() {
    world(async |w| {
        let id = tenant(&w).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        for n in 0..7 {
            let kind = if n % 2 == 0 { "even" } else { "odd" };
            let body = json!({ "user_id": CALLER, "type": kind, "content": n.to_string() });
            assert_eq!(one.post("/v1/memories", &body).await.status, 201);
        }
        one.post("/v1/memories", &json!({ "user_id": "+15550000000", "content": "someone else's" })).await;
        // Rows of one instant are told apart by their ids: no page loses or repeats one.
        w.as_tenant(id)
            .await
            .batch_execute("update memories set created_at = '2026-01-01' where content < '4'")
            .await
            .unwrap();

        let base = format!("/v1/memories?user_id=%2B15551234567&customer_id={id}");
        let all = one.get(&base).await;
        assert_eq!(each(&all, "content")[..3], ["6", "5", "4"]);
        assert_eq!((all.body["customer_id"].clone(), all.body["next_cursor"].clone()), (json!(id), json!(null)));
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = one.get(&format!("{base}&limit=2{cursor}")).await;
            paged.extend(each(&page, "id").into_iter().map(str::to_owned));
            let Some(next) = page.body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, each(&all, "id"));
        assert_eq!(one.get(&base.replace("?user_id=%2B15551234567&", "/user/15551234567?")).await, all);
        assert_eq!(each(&one.get(&format!("{base}&type=odd")).await, "type"), ["odd"; 3]);
        assert_eq!(each(&one.get(&format!("{base}&type=none")).await, "type").len(), 0);
        assert_eq!(each(&one.get("/v1/memories").await, "id").len(), 8, "of all callers");
        for (limit, status) in [("1", 200), ("500", 200), ("0", 422), ("501", 422), ("-1", 422), ("x", 422), ("", 422)]
        {
            assert_eq!(one.get(&format!("/v1/memories?limit={limit}")).await.status, status, "limit={limit}");
        }
        for cursor in ["x", "", "AAAA", "%00"] {
            assert_eq!(one.get(&format!("/v1/memories?cursor={cursor}")).await.status, 422, "{cursor}");
        }
    });
}

#[test]
fn a_memory_is_stored_replaced_read_and_forgotten() {
    world(async |w| {
        let id = tenant(&w).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let body = json!({ "customer_id": id, "user_id": CALLER, "type": "fact", "key": "car", "value": "a red one" });
        let first = one.post("/v1/memories", &body).await;
        assert_eq!(first.status, 201);
        let mut names: Vec<&String> = first.body.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["content", "created_at", "customer_id", "id", "key", "type", "user_id"]);
        let second = json!({ "user_id": CALLER, "type": "fact", "key": "car", "content": "a blue one" });
        let second = one.post("/v1/memories", &second).await;
        assert_eq!(second.body["id"], first.body["id"], "the same fact");
        for different in [json!({ "type": "other", "key": "car" }), json!({ "type": "fact", "key": "van" }), json!({})]
        {
            let mut body = different;
            (body["user_id"], body["content"]) = (json!(CALLER), json!("another"));
            assert_ne!(one.post("/v1/memories", &body).await.body["id"], first.body["id"]);
        }
        assert_eq!(each(&one.get("/v1/memories").await, "content").len(), 4);
        let path = format!("/v1/memories/{}", first.body["id"].as_str().unwrap());
        let read = one.get(&path).await;
        assert_eq!((read.status, &read.body), (200, &second.body));
        assert_eq!(read.body["content"], "a blue one");

        for wrong in [
            json!({ "user_id": CALLER }),
            json!({ "user_id": CALLER, "content": "" }),
            json!({ "user_id": CALLER, "content": 7 }),
            json!({ "content": "x" }),
            json!({ "user_id": CALLER, "content": "x", "type": "" }),
            json!({ "user_id": CALLER, "content": "x", "type": "t".repeat(65) }),
            json!({ "user_id": CALLER, "content": "x", "key": "k".repeat(257) }),
            json!({ "user_id": CALLER, "content": "x", "value": "y" }),
            json!({ "user_id": CALLER, "content": "x", "customer_id": "x" }),
        ] {
            let found = one.post("/v1/memories", &wrong).await;
            assert_eq!((found.status, &found.body["code"]), (422, &json!("invalid")), "{wrong}");
        }
        assert_eq!(one.delete(&path).await, Answer { status: 204, body: json!("") });
        assert_eq!((one.delete(&path).await.status, one.get(&path).await.status), (404, 404));
    });
}

#[test]
fn callers_are_written_in_one_way_or_refused() {
    world(async |w| {
        let id = tenant(&w).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let store = async |user: &str| one.post("/v1/memories", &json!({ "user_id": user, "content": "x" })).await;
        for (written, stored) in [
            ("(555) 123-4567", CALLER),
            ("15551234567", CALLER),
            (" +1 555-123.4567 ", CALLER),
            ("whatsapp:+15551234567", CALLER),
            ("254702245555", "+254702245555"),
            ("wa:16505551234", "wa:16505551234"),
            ("wa:Ab_c.-9", "wa:Ab_c.-9"),
        ] {
            assert_eq!(store(written).await.body["user_id"], stored, "{written}");
        }
        let longest = format!("wa:{}", "a".repeat(64));
        assert_eq!(store(&longest).await.status, 201);
        let too_long = format!("{longest}a");
        for wrong in [
            "",
            " ",
            "+",
            "anonymous",
            "12",
            "wa:",
            "wa:a b",
            "+0155512345",
            "1-800-FLOWERS",
            "u\0",
            &too_long,
            "+٣٣٣٣٣٣٣٣",
        ] {
            let found = store(wrong).await;
            assert_eq!((found.status, &found.body["code"]), (422, &json!("invalid")), "{wrong:?}");
        }
        let stored: i64 = w.as_tenant(id).await.query_one("select count(*) from memories", &[]).await.unwrap().get(0);
        assert_eq!(stored, 8, "nothing refused was stored");
        let kenyan = w.ctl(&["tenant", "create", "--name", "Duka", "--isolation", "schema", "--region", "KE"]).json();
        let kenyan: TenantId = serde_json::from_value(kenyan["customer_id"].clone()).unwrap();
        let duka = service(&w, &server, kenyan).await;
        let found = duka.post("/v1/memories", &json!({ "user_id": "0702245555", "content": "x" })).await;
        assert_eq!(found.body["user_id"], "+254702245555", "as the tenant's own region writes it");
    });
}

#[test]
fn a_search_ranks_by_words() {
    world(async |w| {
        let id = tenant(&w).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        for (user, content) in [
            (CALLER, "the boat needs paint"),
            (CALLER, "a boat, a boat, a blue boat with blue sails"),
            (CALLER, "asked about opening hours"),
            ("+15550000000", "sold a boat"),
        ] {
            one.post("/v1/memories", &json!({ "user_id": user, "content": content })).await;
        }
        let search = async |body: Value| one.post("/v1/memories/search", &body).await;
        let found = search(json!({ "user_id": CALLER, "query": "blue BOAT" })).await;
        assert_eq!(each(&found, "content"), ["a boat, a boat, a blue boat with blue sails", "the boat needs paint"]);
        let scores: Vec<f64> =
            found.body["memories"].as_array().unwrap().iter().map(|m| m["score"].as_f64().unwrap()).collect();
        assert!(scores[0] > scores[1] && scores[1] > 0.0, "{scores:?}");
        assert_eq!(each(&search(json!({ "query": "boat" })).await, "id").len(), 3, "of all callers");
        assert_eq!(each(&search(json!({ "query": "boat", "limit": 1 })).await, "id").len(), 1);
        for nothing in ["zeppelin", "& | ! ( ) : * ' \\", "''", "<->"] {
            assert_eq!(each(&search(json!({ "query": nothing })).await, "id").len(), 0, "{nothing}");
        }
        for wrong in [
            json!({}),
            json!({ "query": "" }),
            json!({ "query": "q".repeat(1001) }),
            json!({ "query": "boat", "limit": 501 }),
            json!({ "query": "boat", "user_id": "nobody" }),
        ] {
            assert_eq!(search(wrong.clone()).await.status, 422, "{wrong}");
        }
    });
}

#[test]
fn the_context_of_a_caller_is_complete_known_or_not() {
    world(async |w| {
        let id = tenant(&w).await;
        let db = w.as_tenant(id).await;
        db.batch_execute(&format!(
            "insert into configurations (version, content, created_by)
                 values (2, '{{\"agent_name\": \"Ada\", \"language\": \"en-GB\", \"voice\": \"alice\"}}', 'test');
             insert into caller_profiles (user_id, name, quick_bio, fields)
                 values ('{CALLER}', 'Grace', 'Grace | Navy', '{{\"county\": \"Orange\"}}');
             insert into call_summaries (user_id, summary, key_topics, created_at)
                 select '{CALLER}', 'call ' || n, array['t'], now() + n * interval '1 second' from generate_series(1, 7) n;
             insert into memories (user_id, content) select '{CALLER}', 'fact ' || n from generate_series(1, 30) n;
             insert into memories (user_id, content) values ('+15550000000', 'someone else''s');
             insert into personality_averages (user_id, averages, calls) values ('{CALLER}', '{{\"warmth\": 0.5}}', 7)"
        ))
        .await
        .unwrap();
        let server = w.server();
        let one = service(&w, &server, id).await;
        let known = one.post("/v2/context/enriched", &json!({ "user_id": "(555) 123-4567" })).await;
        assert_eq!(known.status, 200);
        assert_eq!(one.get("/v2/context/enriched?user_id=15551234567").await, known, "GET says the same");
        let body = &known.body;
        for (name, expected) in [
            ("customer_id", json!(id)),
            ("user_id", json!(CALLER)),
            ("known", json!(true)),
            ("quick_bio", json!("Grace | Navy")),
            ("profile", json!({ "county": "Orange", "name": "Grace" })),
            ("personality", json!({ "warmth": 0.5 })),
        ] {
            assert_eq!(body[name], expected, "{name}");
        }
        assert_eq!((&body["agent"]["agent_name"], &body["agent"]["voice"]), (&json!("Ada"), &json!("alice")));
        let (summaries, facts) = (body["summaries"].as_array().unwrap(), body["memories"].as_array().unwrap());
        assert_eq!((summaries.len(), &summaries[0]["summary"]), (5, &json!("call 7")));
        assert_eq!((facts.len(), &facts[0]["content"]), (20, &json!("fact 30")));

        let unknown = one.get("/v2/context/enriched?user_id=wa%3A4711").await.body;
        assert_eq!((&unknown["known"], &unknown["user_id"]), (&json!(false), &json!("wa:4711")));
        assert_eq!((&unknown["quick_bio"], &unknown["profile"]), (&json!(""), &json!({ "name": null })));
        assert_eq!((&unknown["summaries"], &unknown["memories"]), (&json!([]), &json!([])));
        assert_eq!((&unknown["personality"], &unknown["agent"]), (&json!({}), &body["agent"]));

        for path in ["/v2/context/enriched", "/v2/context/enriched?user_id=", "/v2/context/enriched?user_id=nobody"] {
            assert_eq!(one.get(path).await.status, 422, "{path}");
        }
        assert_eq!(one.post("/v2/context/enriched", &json!({ "user_id": null })).await.status, 422);
        let wrong_scope = Service { token: w.token(id, &SCOPES[..2]).await, ..one };
        assert_eq!(answer(wrong_scope.request(Method::GET, "/v2/context/enriched?user_id=1")).await.status, 403);
    });
}

/// Turns red when `context::enriched` asks twice, when `prepare` stands for `prepare_cached` in tenant/db.rs, or when `recycle` in
/// tenant/connect.rs asks the connection whether it is alive (`simple_query("")`).
#[test]
fn the_context_of_a_warm_tenant_is_one_round_trip() {
    world(async |w| {
        let ids = [tenant(&w).await, w.tenant("Two", Isolation::Database).await.id];
        let tap = Tap::of("");
        w.tap_clusters(&tap).await;
        let server = w.server();
        for id in ids {
            let one = service(&w, &server, id).await;
            let ask = async || one.post("/v2/context/enriched", &json!({ "user_id": CALLER })).await.status;
            tap.arm(None);
            assert_eq!(ask().await, 200);
            assert!(tap.round_trips() > 1, "a cold one proves itself and prepares: the proxy is on the way");
            for _ in 0..3 {
                tap.arm(None);
                assert_eq!(ask().await, 200);
                assert_eq!((tap.round_trips(), tap.seen()), (1, 1));
            }
        }
    });
}
