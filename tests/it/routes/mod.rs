//! The isolation list over HTTP: every route that is served, with every kind of wrong credential.
//!
//! The routes come from the served router's own list. Each needs a row in [`valid`], a request that succeeds with the right
//! credential: a new route without one fails. Three tenants know the same caller and hold a memory with the same id, each
//! with a word of its own, so that a leak would be seen.
//!
//! Red when, in `http/extract.rs`, `claim.check_query` or `claimed.check` or the scope check is left out; in `auth/jwt.rs`,
//! `set_issuer`, `set_audience` or the check of the key id is; in `tenant/router.rs`, `admitted` lets a suspended tenant through;
//! in `tenant/pools.rs`, a pool is taken that is not the tenant's own (`self.read().values().next()`). The algorithm is held to
//! the key's twice, by us and by jsonwebtoken's `Validation`: red when both are left out.

mod rows;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::http::{Access, RouteRow, routes};
use strowger::id::TenantId;
use strowger::vault::Secret;
use tokio_postgres::Client;

use self::rows::{Body, CALLER, DIALLED, MEMORY, QUESTION, SCENARIO, valid};
use crate::support::forge::{self, Forge, Signer, but};
use crate::support::{Account, Answer, Server, World, answer, world};

/// What a legacy key of the second tenant signs with.
const LEGACY_SECRET: &str = "thirty-two bytes or more of the old";

#[test]
#[should_panic(expected = "has no row here")]
fn a_route_without_a_row_fails() {
    let new = RouteRow { method: Method::GET, path: "/v1/new", access: Access::Open };
    valid(&new, 1.try_into().unwrap(), &Account::new(1));
}

/// A tenant, its word, and its own login.
struct Party {
    id: TenantId,
    word: &'static str,
    db: Client,
}

impl Party {
    async fn new(w: &World, word: &'static str, isolation: Isolation) -> Self {
        let id = w.tenant(word, isolation).await.id;
        Self { id, word, db: w.as_tenant(id).await }
    }

    /// The same rows in every tenant, but for the word.
    async fn seed(&self) {
        let word = self.word;
        let sql = format!(
            "delete from memories; delete from caller_profiles;
             insert into memories (id, user_id, content) values ('{MEMORY}', '{CALLER}', 'the story of {word}');
             insert into caller_profiles (user_id, name, quick_bio) values ('{CALLER}', '{word}', '{word}');
             delete from knowledge;
             delete from scenarios;
             delete from variables;
             insert into knowledge (id, question, answer) values ('{QUESTION}', 'When are you open?', '{word}');
             insert into scenarios (id, key, name, phrases, replies)
             values ('{SCENARIO}', 'book', 'Book', '{{book a visit}}', '{{{word}}}');
             insert into variables (name, value) values ('companyName', '{word}');
             delete from cloned_from;
             insert into cloned_from (template_id, version, content) values ('universal', 1, '{{}}');
             update knowledge_version set version = gen_random_uuid();
             delete from call_summaries;
             insert into call_summaries (user_id, call_sid, summary) values ('{CALLER}', 'CA1', 'told {word}')"
        );
        self.db.batch_execute(&sql).await.unwrap();
    }

    /// Everything that a route could change.
    async fn contents(&self) -> String {
        let sql = "select coalesce((select string_agg(m::text, '|' order by id) from memories m), '')
                       || coalesce((select string_agg(c::text, '|' order by call_sid) from calls c), '')
                       || coalesce((select string_agg(s::text, '|' order by id) from call_summaries s), '')
                       || coalesce((select string_agg(p::text, '|' order by user_id) from caller_profiles p), '')
                       || coalesce((select string_agg(f::text, '|' order by version) from configurations f), '')
                       || coalesce((select string_agg(k::text, '|' order by id) from knowledge k), '')
                       || coalesce((select string_agg(s::text, '|' order by id) from scenarios s), '')
                       || coalesce((select string_agg(v::text, '|' order by name) from variables v), '')
                       || coalesce((select string_agg(c::text, '|') from cloned_from c), '')
                       || (select version::text from knowledge_version)";
        self.db.query_one(sql, &[]).await.unwrap().get(0)
    }
}

struct Fixture {
    server: Server,
    forge: Forge,
    account: Account,
    parties: [Party; 3],
    suspended: TenantId,
    deleted: TenantId,
}

impl Fixture {
    async fn new(w: &World) -> Self {
        let (schema, database) = (Isolation::Schema, Isolation::Database);
        let parties = [
            Party::new(w, "quokka", schema).await,
            Party::new(w, "axolotl", schema).await,
            Party::new(w, "okapi", database).await,
        ];
        let (suspended, deleted) = (w.tenant("suspended", schema).await.id, w.tenant("deleted", schema).await.id);
        w.ctl(&["tenant", "suspend", &suspended.to_string()]).json();
        w.ctl(&["tenant", "delete", &deleted.to_string()]).json();
        let account = w.account(1, None).await;
        w.assign(DIALLED, parties[0].id, &account).await;
        let bound_to = ["--legacy", "--tenant", &parties[1].id.to_string()];
        w.ctl_with(&[&["key", "add", "legacy"][..], &bound_to].concat(), LEGACY_SECRET).json();
        Self { forge: Forge::new(w).await, server: w.server(), account, parties, suspended, deleted }
    }

    /// A route's valid request as `customer` writes it, with any credential.
    async fn send(&self, route: &RouteRow, customer: TenantId, authorization: Option<&str>) -> Answer {
        let row = valid(route, customer, &self.account);
        answer(self.request(route, &row.path, &row.body, authorization)).await
    }

    fn request(&self, route: &RouteRow, path: &str, body: &Body, authorization: Option<&str>) -> RequestBuilder {
        let mut request = self.server.request(route.method.clone(), path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        match body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Form(fields) => request.form(fields),
        }
    }

    /// Credentials that prove nothing: 401 wherever a token is needed.
    fn forged(&self, scopes: &[Scope]) -> Vec<(&'static str, Option<String>)> {
        let f = &self.forge;
        let claims = f.claims(self.parties[0].id, scopes);
        let good = f.ed(&claims);
        let (head, rest) = good.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        let other = f.good(self.parties[1].id, scopes);
        let other_payload = other.split('.').nth(1).unwrap();
        let with = |alg: &str, kid: Value, signer| f.sign(&but(&json!({ "alg": alg }), "kid", kid), &claims, signer);
        let (ed, hs) = (json!(forge::ED), json!(forge::HS));
        let (secret, public) = (Signer::Hs(&f.secret), Signer::Hs(f.public()));
        let ago = json!(forge::now() - 60);
        let bearer = vec![
            ("empty", String::new()),
            ("no token at all", "x.y.z".into()),
            ("expired", f.ed(&but(&claims, "exp", ago.clone()))),
            ("expired, shared secret", f.hs(&but(&claims, "exp", ago))),
            ("not yet", f.ed(&but(&claims, "nbf", json!(forge::now() + 600)))),
            ("another audience", f.ed(&but(&claims, "aud", json!("other")))),
            ("another issuer", f.ed(&but(&claims, "iss", json!("other")))),
            ("no expiry", f.ed(&but(&claims, "exp", Value::Null))),
            ("no issuer", f.ed(&but(&claims, "iss", Value::Null))),
            ("no audience", f.ed(&but(&claims, "aud", Value::Null))),
            ("no tenant", f.ed(&but(&claims, "customer_id", Value::Null))),
            ("tenant 0", f.ed(&but(&claims, "customer_id", json!(0)))),
            ("tenant -1", f.ed(&but(&claims, "customer_id", json!(-1)))),
            ("tenant 2^32 + 1", f.ed(&but(&claims, "customer_id", json!(4_294_967_297_i64)))),
            ("alg none", with("none", ed.clone(), Signer::Nobody)),
            ("alg None", with("None", ed.clone(), Signer::Nobody)),
            ("alg none, with a signature", with("none", ed.clone(), Signer::Ed)),
            ("no signature", format!("{head}.{payload}.")),
            ("HS256 with the public key as its secret", with("HS256", ed.clone(), public)),
            ("the same, saying EdDSA", with("EdDSA", ed.clone(), public)),
            ("the same under the secret's key id", with("HS256", hs.clone(), public)),
            ("EdDSA under the secret's key id", with("EdDSA", hs.clone(), Signer::Ed)),
            ("the secret, saying EdDSA", with("EdDSA", hs.clone(), secret)),
            ("the secret under the pair's key id", with("HS256", ed, secret)),
            ("another algorithm of the same secret", with("HS512", hs, secret)),
            ("an unknown key id", with("HS256", json!("unknown"), secret)),
            ("another tenant's legacy secret", with("HS256", Value::Null, Signer::Hs(LEGACY_SECRET.as_bytes()))),
            ("the same under its key's name", with("HS256", json!("legacy"), Signer::Hs(LEGACY_SECRET.as_bytes()))),
            ("no key id", with("HS256", Value::Null, secret)),
            ("an empty key id", with("HS256", json!(""), secret)),
            ("U+0000 as key id", with("HS256", json!("\0"), secret)),
            ("a long key id", with("HS256", json!("k".repeat(65)), secret)),
            ("SQL as key id", with("HS256", json!("' or true --"), secret)),
            ("a retired key", with("HS256", json!(forge::RETIRED), secret)),
            ("another tenant's claims under this signature", format!("{head}.{other_payload}.{signature}")),
        ];
        let all = bearer.into_iter().map(|(name, token)| (name, Some(format!("Bearer {token}"))));
        all.chain([("nothing", None), ("Basic", Some(format!("Basic {good}"))), ("no scheme", Some(good))]).collect()
    }
}

fn of_tenants() -> Vec<(RouteRow, Scope)> {
    let with_scope = |route: RouteRow| match route.access {
        Access::Token(scope) => Some((route, scope)),
        Access::Open | Access::Webhook => None,
    };
    routes().into_iter().filter_map(with_scope).collect()
}

#[test]
fn every_tenant_route_answers_its_own_tenant_and_nobody_else() {
    world(async |w| {
        let f = Fixture::new(&w).await;
        for (route, scope) in of_tenants() {
            let name = format!("{} {}", route.method, route.path);
            for (i, own) in f.parties.iter().enumerate() {
                let others: Vec<&Party> = f.parties.iter().filter(|party| party.id != own.id).collect();
                let mut before = Vec::new();
                for party in &f.parties {
                    party.seed().await;
                }
                for other in &others {
                    before.push(other.contents().await);
                }
                let claims = f.forge.claims(own.id, &[scope]);
                let token = if i == 0 { f.forge.hs(&claims) } else { f.forge.ed(&claims) };
                let row = valid(&route, own.id, &f.account);
                let found = f.send(&route, own.id, Some(&format!("Bearer {token}"))).await;
                assert_eq!(found.status, row.status, "{name} with the right token: {found:?}");
                let text = found.body.to_string();
                assert_eq!(text.contains(own.word), row.shows, "{name} shows what is its own: {text}");
                for (other, before) in others.iter().zip(before) {
                    assert!(!text.contains(other.word), "{name} leaks from {} to {}: {text}", other.word, own.word);
                    assert_eq!(other.contents().await, before, "{name} of {} touched {}", own.word, other.word);
                }
            }
        }
    });
}

#[test]
fn every_tenant_route_refuses_every_wrong_credential() {
    world(async |w| {
        let f = Fixture::new(&w).await;
        let [own, other, _] = &f.parties;
        for party in &f.parties {
            party.seed().await;
        }
        let before = (own.contents().await, other.contents().await);
        for (route, scope) in of_tenants() {
            let name = format!("{} {}", route.method, route.path);
            for (what, credential) in f.forged(&[scope]) {
                let found = f.send(&route, own.id, credential.as_deref()).await;
                expect(&name, what, &found, 401, "unauthenticated");
            }
            let good = |tenant, scopes: &[Scope]| format!("Bearer {}", f.forge.good(tenant, scopes));
            let unknown = 2_000_000_000.try_into().unwrap();
            let others: Vec<Scope> = Scope::ALL.iter().copied().filter(|other| *other != scope).collect();
            for (what, credential, customer, status, code) in [
                ("every other scope", good(own.id, &others), own.id, 403, "missing_scope"),
                ("no scope", good(own.id, &[]), own.id, 403, "missing_scope"),
                ("a suspended tenant", good(f.suspended, &[scope]), f.suspended, 403, "tenant_suspended"),
                ("a deleted tenant", good(f.deleted, &[scope]), f.deleted, 404, "not_found"),
                ("an unknown tenant", good(unknown, &[scope]), unknown, 404, "not_found"),
            ] {
                expect(&name, what, &f.send(&route, customer, Some(&credential)).await, status, code);
            }
            let credential = good(own.id, &[scope]);
            let row = valid(&route, own.id, &f.account);
            for customer in [other.id, f.suspended, unknown] {
                if route.path.contains("{company_id}") {
                    let found = f.send(&route, customer, Some(&credential)).await;
                    let refusal =
                        json!({ "error": "Unauthorized", "message": "You do not have access to this company" });
                    assert_eq!((found.status, found.body), (403, refusal), "{name}, another company's id in the path");
                }
                let mark = if row.path.contains('?') { '&' } else { '?' };
                let path = format!("{}{mark}customer_id={customer}", row.path);
                let found = answer(f.request(&route, &path, &row.body, Some(&credential))).await;
                expect(&name, "another customer's id in the query", &found, 403, "other_customer");
                if let Body::Json(_) = row.body {
                    let body = valid(&route, customer, &f.account).body;
                    let found = answer(f.request(&route, &row.path, &body, Some(&credential))).await;
                    expect(&name, "another customer's id in the body", &found, 403, "other_customer");
                }
            }
        }
        assert_eq!((own.contents().await, other.contents().await), before, "what is refused changes nothing");
    });
}

fn expect(route: &str, what: &str, found: &Answer, status: u16, code: &str) {
    assert_eq!(found.status, status, "{route}, {what}: {found:?}");
    assert_eq!(found.body["code"], code, "{route}, {what}: {found:?}");
    let text = found.body.to_string();
    assert!(!text.contains("quokka") && !text.contains("axolotl"), "{route}, {what}: {found:?}");
}

/// With the clusters out of reach the refusals are the same: no tenant database was needed for them.
#[test]
fn blocked_and_unknown_tenants_are_refused_without_any_tenant_database() {
    world(async |w| {
        let f = Fixture::new(&w).await;
        let database = w.prefix.name("control");
        w.superuser("control", &database).await.batch_execute("update clusters set port = 1").await.unwrap();
        w.with.settle().await.unwrap();
        let unknown = 2_000_000_000.try_into().unwrap();
        for (route, scope) in of_tenants() {
            let name = format!("{} {}", route.method, route.path);
            for (what, tenant, status, code) in [
                ("the control: an active tenant", f.parties[0].id, 503, "tenant_database_unavailable"),
                ("suspended", f.suspended, 403, "tenant_suspended"),
                ("deleted", f.deleted, 404, "not_found"),
                ("unknown", unknown, 404, "not_found"),
            ] {
                let credential = format!("Bearer {}", f.forge.good(tenant, &[scope]));
                expect(&name, what, &f.send(&route, tenant, Some(&credential)).await, status, code);
            }
        }
    });
}

#[test]
fn open_routes_need_nothing_and_webhooks_a_signature() {
    world(async |w| {
        let f = Fixture::new(&w).await;
        let bearer = format!("Bearer {}", f.forge.good(f.parties[0].id, Scope::ALL));
        let sign = |account: &Account, url: &str, fields: &[(String, String)]| {
            strowger::auth::webhook::sign_twilio(&Secret::new(account.token.clone().into_bytes()), url, fields)
        };
        for route in routes() {
            let row = valid(&route, f.parties[0].id, &f.account);
            let name = format!("{} {}", route.method, route.path);
            if route.access == Access::Open {
                assert_eq!(f.send(&route, f.parties[0].id, None).await.status, 200, "{name}");
            }
            let (Access::Webhook, Body::Form(fields)) = (route.access, &row.body) else { continue };
            for credential in [None, Some(bearer.as_str())] {
                let found = f.send(&route, f.parties[0].id, credential).await;
                expect(&name, "unsigned", &found, 400, "unsigned");
            }
            let url = format!("{}{}", f.server.base_url, row.path);
            let wrong = Account { token: "wrong".into(), ..f.account.clone() };
            for signature in [sign(&wrong, &url, fields), sign(&f.account, &format!("{url}x"), fields), "%".into()] {
                let request = f.request(&route, &row.path, &row.body, Some(&bearer));
                let found = answer(request.header("x-twilio-signature", signature)).await;
                expect(&name, "a wrong signature", &found, 403, "bad_signature");
            }
            let found = answer(f.account.signed(&f.server, &row.path, fields)).await;
            assert_eq!(found.status, row.status, "{name} rightly signed: {found:?}");
        }
    });
}
