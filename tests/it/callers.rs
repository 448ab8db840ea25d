//! Who calls a tenant, everything on one of them, and nothing any more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;
use strowger::tenant::persons::TABLES;
use tokio_postgres::Client;

use crate::support::{Server, Service, World, world};

const CALLER: &str = "+15551234567";
const OTHER: &str = "+15550009999";
/// In every text that is kept of the caller.
const WORD: &str = "xylocarp";

async fn service<'a>(w: &World, server: &'a Server, tenant: TenantId) -> Service<'a> {
    let scopes = [Scope::ReadCallers, Scope::WriteCallers, Scope::ReadCalls, Scope::WriteCalls, Scope::WriteMemories];
    Service { server, token: w.token(tenant, &scopes).await }
}

/// A row on the caller in every table that can hold one.
async fn live(one: &Service<'_>, db: &Client, tenant: TenantId, caller: &str) {
    let text = format!("My name is John. The {WORD} is broken.");
    let call = json!({
        "user_id": caller, "thread_id": format!("customer_{tenant}_user_{}", &caller[1..]),
        "conversation_history": [{ "role": "user", "content": text }],
    });
    assert_eq!(one.post("/v2/process-call", &call).await.status, 200);
    let memory = json!({ "user_id": caller, "content": WORD });
    assert_eq!(one.post("/v1/memories", &memory).await.status, 201);
    let sql = format!(
        "insert into caller_profiles (user_id, name, quick_bio) values ('{caller}', 'John', '{WORD}');
         insert into calls (call_sid, user_id, number, status) values ('CA{caller}', '{caller}', '+18005550100', 'completed');
         insert into call_turns (call_sid, turn, user_id, heard_kind, heard, reply, source, next, awaits)
         values ('CA{caller}', 1, '{caller}', 'said', '{WORD}', '{WORD}', 'fallback', 'listen', 'message');
         insert into messages (call_sid, turn, user_id, kind, content) values ('CA{caller}', 1, '{caller}', 'message', '{WORD}');
         insert into memory_vectors select id, '{WORD}', 1, '\\x00000000', created_at from memories where user_id = '{caller}'"
    );
    db.batch_execute(&sql).await.unwrap();
}

async fn names(db: &Client, sql: &str) -> BTreeSet<String> {
    db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Red for a new table with a `user_id` that `persons::TABLES` lacks.
#[test]
fn every_table_with_a_user_id_is_exported_and_erased() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let db = w.as_tenant(id).await;
        let with_caller = "select distinct c.relname::text from pg_attribute a join pg_class c on c.oid = a.attrelid
                           where a.attname = 'user_id' and c.relkind in ('r', 'p') and c.relnamespace = current_schema()::regnamespace";
        assert_eq!(names(&db, with_caller).await, TABLES.map(str::to_owned).into());
        // What hangs on such a row goes with it.
        let kept = "select conrelid::regclass::text from pg_constraint
                    where contype = 'f' and confdeltype <> 'c' and connamespace = current_schema()::regnamespace";
        assert_eq!(names(&db, kept).await, BTreeSet::new());
    });
}

#[test]
fn a_person_is_exported_and_then_gone_everywhere() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (server, db) = (w.server(), w.as_tenant(id).await);
        let one = service(&w, &server, id).await;
        live(&one, &db, id, CALLER).await;
        live(&one, &db, id, OTHER).await;
        let path = "/v1/callers/(555)%20123-4567";

        let held = one.get(&format!("{path}/export")).await;
        assert_eq!((held.status, &held.body["user_id"]), (200, &json!(CALLER)));
        for table in TABLES {
            let rows = held.body["held"][table].as_array().unwrap();
            assert_eq!(rows.len(), 1, "{table}: {held:?}");
            assert_eq!(rows[0]["user_id"], CALLER, "{table}");
        }

        let receipt = one.delete(path).await;
        assert_eq!(receipt.status, 200, "{receipt:?}");
        let ones: serde_json::Map<String, Value> =
            TABLES.map(|table| (table.to_owned(), json!(1))).into_iter().collect();
        assert_eq!(receipt.body["rows"], Value::Object(ones.clone()));
        let mut hashed = receipt.body.clone();
        let sum = hashed.as_object_mut().unwrap().shift_remove("sha256").unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, hashed.to_string().as_bytes());
        let hex = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        assert_eq!(sum, hex, "anybody can check it");

        // Not a word of the caller is left in any table, and all of the other is.
        let tables =
            "select relname::text from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace
                      and has_table_privilege(oid, 'select')";
        for table in names(&db, tables).await {
            let sql = format!("select count(*) filter (where t::text like '%{CALLER}%') as gone from {table} t");
            assert_eq!(db.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 0, "{table}");
        }
        let vectors = db.query_one("select count(*) from memory_vectors", &[]).await.unwrap();
        assert_eq!(vectors.get::<_, i64>(0), 1, "the vector went with its memory");
        let left = one.get(&format!("/v1/callers/{OTHER}/export")).await;
        assert!(TABLES.iter().all(|table| left.body["held"][table].as_array().unwrap().len() == 1), "{left:?}");

        let again = one.delete(path).await;
        assert_eq!(again.status, 200);
        assert!(again.body["rows"].as_object().unwrap().values().all(|n| n == 0), "{again:?}");
        for path in
            ["/v1/callers/nobody/export", "/v1/callers?limit=0", "/v1/callers?cursor=x", "/v1/callers?cursor=AAAA"]
        {
            assert_eq!(one.get(path).await.status, 422, "{path}");
        }
        assert_eq!(one.delete("/v1/callers/nobody").await.status, 422);
    });
}

#[test]
fn callers_are_listed_by_when_they_were_seen() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (server, db) = (w.server(), w.as_tenant(id).await);
        let one = service(&w, &server, id).await;
        live(&one, &db, id, CALLER).await;
        // Two of one instant, and one without a name.
        let sql = "insert into caller_profiles (user_id, name, updated_at) values ('wa:A.1', 'Ann', '2020-01-01'), ('+15550000001', null, '2020-01-01');
                   insert into calls (call_sid, user_id, number, status) values ('CAx', null, '+18005550100', 'completed')";
        db.batch_execute(sql).await.unwrap();
        let all = one.get("/v1/callers").await.body;
        let ids: Vec<_> = all["callers"].as_array().unwrap().iter().map(|c| c["user_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [CALLER, "wa:A.1", "+15550000001"], "{all}");
        let first = &all["callers"][0];
        assert_eq!(
            (&first["name"], &first["calls"], &first["memories"], &first["summaries"]),
            (&json!("John"), &json!(1), &json!(1), &json!(1))
        );
        assert_eq!(all["callers"][2]["name"], Value::Null);
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = one.get(&format!("/v1/callers?limit=1{cursor}")).await.body;
            paged.push(page["callers"][0]["user_id"].as_str().unwrap().to_owned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, ids);
    });
}
