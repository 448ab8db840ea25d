//! What a company's receptionist answers, and how it is changed, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;
use uuid::Uuid;

use crate::support::{Answer, Server, Service, World, answer, world};

const FALLBACK: &str = "I'll connect you with someone who can help.";

struct Company<'a> {
    id: TenantId,
    service: Service<'a>,
}

impl<'a> Company<'a> {
    async fn new(w: &World, server: &'a Server, name: &str) -> Self {
        let id = w.tenant(name, Isolation::Schema).await.id;
        let scopes = [Scope::ReadKnowledge, Scope::WriteKnowledge, Scope::ReadConfig, Scope::WriteConfig];
        Self { id, service: Service { server, token: w.token(id, &scopes).await } }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/company/{}/{rest}", self.id)
    }

    async fn get(&self, rest: &str) -> Answer {
        self.service.get(&self.path(rest)).await
    }

    async fn send(&self, method: Method, rest: &str, body: &Value) -> Answer {
        answer(self.service.request(method, &self.path(rest)).json(body)).await
    }

    async fn ask(&self, said: &str) -> Value {
        let found = self.send(Method::POST, "match", &json!({ "text": said })).await;
        assert_eq!(found.status, 200, "{found:?}");
        found.body
    }

    async fn set(&self, variables: &Value) {
        let found = self.send(Method::PATCH, "configuration/variables", variables).await;
        assert_eq!(found.status, 200, "{found:?}");
    }

    async fn teach(&self, question: &str, said: &str) -> String {
        let body = json!({ "question": question, "answer": said });
        let made = self.send(Method::POST, "knowledge-management", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.body["id"].as_str().unwrap().to_owned()
    }
}

/// As a clone leaves it.
async fn scenario(
    w: &World,
    company: &Company<'_>,
    key: &str,
    phrases: &[&str],
    replies: &[&str],
    priority: i32,
) -> String {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid())
               insert into scenarios (key, name, phrases, replies, hook, priority, origin)
               values ($1, $1, $2, $3, 'offer_scheduling', $4, 'inherited') returning id";
    let db = w.as_tenant(company.id).await;
    let row = db.query_one(sql, &[&key, &phrases, &replies, &priority]).await.unwrap();
    row.get::<_, Uuid>(0).to_string()
}

/// Red when, in `app/answers.rs`, the cache is keyed by anything but the tenant.
#[test]
fn two_companies_with_the_same_questions_hear_their_own_answers() {
    world(async |w| {
        let (server, replica) = (w.server(), w.server());
        let (one, two) = (Company::new(&w, &server, "One").await, Company::new(&w, &server, "Two").await);
        let (first, second) =
            (one.teach("When are you open?", "One: at {opens}.").await, two.teach("When are you open?", "Two.").await);
        one.set(&json!({ "opens": "eight" })).await;
        for _ in 0..2 {
            let (a, b) = (one.ask("um, when are you OPEN").await, two.ask("When are you open").await);
            assert_eq!(
                (&a["text"], &a["id"], &a["tier"]),
                (&json!("One: at eight."), &json!(first), &json!("knowledge"))
            );
            assert_eq!((&b["text"], &b["id"], &b["score"]), (&json!("Two."), &json!(second), &json!(1.0)));
        }
        // A change is heard on every replica with the next question, whoever had it prepared.
        let elsewhere = Company { id: one.id, service: Service { server: &replica, token: one.service.token.clone() } };
        assert_eq!(elsewhere.ask("when are you open").await["text"], "One: at eight.");
        let nine = json!({ "question": "When are you open?", "answer": "At nine." });
        assert_eq!(one.send(Method::PUT, &format!("knowledge-management/{first}"), &nine).await.status, 200);
        assert_eq!(elsewhere.ask("when are you open").await["text"], "At nine.");
        one.service.delete(&one.path(&format!("knowledge-management/{first}"))).await;
        assert_eq!(elsewhere.ask("when are you open").await["text"], FALLBACK);
        assert_eq!(two.ask("when are you open").await["text"], "Two.");
    });
}

#[test]
fn own_questions_come_before_scenarios_and_scenarios_before_the_fallback() {
    world(async |w| {
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        let phrases = ["schedule an appointment", "book a visit"];
        let id = scenario(&w, &one, "book", &phrases, &["{who} books it.", "Which day?"], 0).await;
        let found = one.ask("I need to schedule an appointment").await;
        assert_eq!(
            (&found["tier"], &found["text"], &found["id"]),
            (&json!("scenario"), &json!("Which day?"), &json!(id))
        );
        assert_eq!(found["hook"], "offer_scheduling");
        assert!(found["score"].as_f64().unwrap() >= 0.8, "{found}");
        assert_eq!(found["why"]["answer"]["phrase"], "schedule an appointment");
        assert!(found["why"]["answer"]["shared"].to_string().contains("appoint"), "{found}");
        one.set(&json!({ "who": "Ada" })).await;
        assert_eq!(one.ask("schedule an appointment").await["text"], "Ada books it.");

        one.teach("Schedule an appointment", "Call us on Monday.").await;
        assert_eq!(one.ask("schedule an appointment").await["tier"], "knowledge");
        let found = one.ask("what is the capital of australia").await;
        assert_eq!(
            (&found["tier"], &found["text"], &found["id"]),
            (&json!("fallback"), &json!(FALLBACK), &json!(null))
        );
        let own = json!({ "fallback": "Please hold, {companyName} {nobody}. One moment." });
        assert_eq!(answer(one.service.request(Method::PATCH, "/v1/config").json(&own)).await.status, 200);
        assert_eq!(one.ask("what is the capital of australia").await["text"], "One moment.");
    });
}

#[test]
fn of_two_that_fit_alike_the_higher_priority_answers_and_a_disabled_one_never() {
    world(async |w| {
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        scenario(&w, &one, "low", &["book a visit"], &["low"], 0).await;
        let high = scenario(&w, &one, "high", &["book a visit"], &["high"], 5).await;
        assert_eq!(one.ask("book a visit").await["text"], "high");
        let mut edit = one.get(&format!("scenarios/{high}")).await.body;
        assert_eq!((&edit["origin"], &edit["edited"]), (&json!("inherited"), &json!(false)));
        edit["enabled"] = json!(false);
        let edited = one.send(Method::PUT, &format!("scenarios/{high}"), &edit).await;
        assert_eq!((edited.status, &edited.body["edited"], &edited.body["key"]), (200, &json!(true), &json!("high")));
        assert_eq!(one.ask("book a visit").await["text"], "low");
        assert_eq!(one.get("scenarios").await.body["scenarios"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn what_is_wrong_is_refused_by_name_and_another_companys_id_is_not_there() {
    world(async |w| {
        let server = w.server();
        let (one, two) = (Company::new(&w, &server, "One").await, Company::new(&w, &server, "Two").await);
        let theirs = format!("knowledge-management/{}", two.teach("What?", "That.").await);
        let body = json!({ "question": "What?", "answer": "This." });
        assert_eq!(one.get(&theirs).await.status, 404);
        assert_eq!(one.send(Method::PUT, &theirs, &body).await.status, 404);
        assert_eq!(one.service.delete(&one.path(&theirs)).await.status, 404);
        assert_eq!(two.get(&theirs).await.body["answer"], "That.");
        assert_eq!(one.get("knowledge-management/x").await.status, 404);

        let long = "x".repeat(2001);
        for (method, rest, body, named) in [
            (
                Method::POST,
                "knowledge-management",
                json!({ "question": " ", "answer": long }),
                vec!["question:", "answer:"],
            ),
            (Method::POST, "knowledge-management", json!({ "question": "x" }), vec!["answer"]),
            (
                Method::POST,
                "knowledge-management",
                json!({ "question": "x", "answer": "x", "variants": ["", "y"] }),
                vec!["variants[0]:"],
            ),
            (Method::POST, "match", json!({ "text": "" }), vec!["text:"]),
            (Method::POST, "match", json!({ "text": long }), vec!["text:"]),
            (Method::PATCH, "configuration/variables", json!({}), vec!["variables"]),
            (Method::PATCH, "configuration/variables", json!({ "a": 1, "b": [] }), vec!["a:", "b:"]),
            (Method::PATCH, "configuration/variables", json!({ "a b": "x" }), vec!["name"]),
            (Method::PATCH, "configuration/variables", json!({ "a": "\u{0}" }), vec!["stored"]),
        ] {
            let found = one.send(method, rest, &body).await;
            assert_eq!((found.status, &found.body["code"]), (422, &json!("invalid")), "{rest} {found:?}");
            for name in named {
                assert!(found.body["detail"].as_str().unwrap().contains(name), "{name} {found:?}");
            }
        }
    });
}

#[test]
fn a_configuration_is_read_and_its_variables_are_held_to_their_types() {
    world(async |w| {
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        let db = w.as_tenant(one.id).await;
        let sql = "insert into variables (name, kind, required, default_value) values ('price', 'number', true, null), ('companyName', 'text', true, 'Acme');
                   insert into cloned_from (template_id, version, content) values ('trade', 3, '{}');
                   insert into fillers values ('um', 'inherited'), ('like', 'custom');
                   insert into urgency values ('leak', 0.5, 'inherited')";
        db.batch_execute(sql).await.unwrap();
        let found = one.get("configuration").await.body;
        assert_eq!((&found["companyId"], &found["companyName"]), (&json!(one.id), &json!("Acme")));
        assert_eq!(
            (&found["templateId"], &found["clonedFrom"], &found["clonedVersion"]),
            (&json!("trade"), &json!("trade"), &json!(3))
        );
        assert_eq!(found["fillerWords"], json!({ "custom": ["like"], "inherited": ["um"] }));
        assert_eq!(found["urgencyKeywords"]["inherited"][0]["weight"], 0.5);

        let refused = one.send(Method::PATCH, "configuration/variables", &json!({ "price": "cheap", "x": "y" })).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(one.get("configuration").await.body["variables"], json!({}), "all or nothing");
        one.set(&json!({ "price": "150", "x": "y" })).await;
        one.set(&json!({ "x": null })).await;
        assert_eq!(one.get("configuration").await.body["variables"], json!({ "price": "150" }));
    });
}

#[test]
fn readiness_says_what_is_missing() {
    world(async |w| {
        let (early, late) = (w.server(), w.server());
        let one = Company::new(&w, &early, "One").await;
        let db = w.as_tenant(one.id).await;
        db.batch_execute("insert into variables (name, required) values ('companyName', true)").await.unwrap();
        let found = one.get("readiness").await.body;
        assert_eq!((&found["score"], &found["missingVariables"]), (&json!(0), &json!(["companyName"])));
        assert_eq!(found["missing"], json!(["variables", "number", "greeting", "knowledge", "keys"]));

        one.set(&json!({ "companyName": "One" })).await;
        one.teach("What?", "That.").await;
        w.configure(one.id, &json!({ "agent_name": "Ada" })).await;
        let account = w.account(1, None).await;
        w.assign("+18005550111", one.id, &account).await;
        assert_eq!(one.get("readiness").await.body["score"], 0, "up to 30 s old");
        let fresh = Company { id: one.id, service: Service { server: &late, token: one.service.token.clone() } };
        let found = fresh.get("readiness").await.body;
        assert_eq!((&found["score"], &found["missing"]), (&json!(80), &json!(["keys"])));
    });
}
