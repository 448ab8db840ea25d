//! Service tokens as the real `strowgerctl` makes them, on a server that is running all the while.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provisioner::credentials;
use serde_json::{Value, json};
use strowger::auth::jwt::{self, Tokens};
use strowger::auth::{AuthError, Scope};
use strowger::clock::Clock;
use strowger::control::Control;
use strowger::control::clusters::Isolation;
use strowger::control::tokens::MOST_LEGACY_KEYS;
use strowger::directory::{Directory, Staleness};
use strowger::id::TenantId;

use crate::support::forge::{self, Forge, Signer, but};
use crate::support::{Ran, Server, World, until, world};

async fn status(server: &Server, token: &str) -> u16 {
    server.get("/v1/memories").bearer_auth(token).send().await.unwrap().status().as_u16()
}

/// What one of a token's first two parts says.
fn part(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

fn mint(w: &World, tenant: &str, more: &[&str]) -> String {
    let mut args = vec!["token", "mint", "--tenant", tenant, "--scope", "read:memories write:memories"];
    args.extend(more);
    let ran = w.ctl(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.trim_end().to_owned()
}

/// Red when the trigger on `signing_keys` is dropped, or `News::Key` does nothing.
#[test]
fn keys_come_and_go_without_a_restart() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        let server = w.server();
        let first = mint(&w, &id, &[]);
        assert_eq!(part(&first, 0)["alg"], "EdDSA");
        assert_eq!(status(&server, &first).await, 200);

        w.ctl(&["key", "add", "hs-1", "--algorithm", "HS256"]).json();
        let second = mint(&w, &id, &[]);
        assert_eq!((&part(&second, 0)["alg"], &part(&second, 0)["kid"]), (&json!("HS256"), &json!("hs-1")));
        assert_eq!(status(&server, &second).await, 200, "a key added while it runs");

        w.ctl(&["key", "add", "ed-2"]).json();
        let third = mint(&w, &id, &[]);
        assert_eq!(part(&third, 0)["kid"], "ed-2");
        assert_eq!(status(&server, &third).await, 200);

        w.ctl(&["key", "retire", "hs-1"]).json();
        assert_eq!(status(&server, &second).await, 401, "refused as soon as the command returns");
        assert_eq!((status(&server, &first).await, status(&server, &third).await), (200, 200), "the others hold");
        assert_eq!(w.ctl(&["key", "retire", "missing"]).code, Some(3));
        assert_eq!(w.ctl(&["key", "add", "ed-2"]).code, Some(3), "a key id is used once");
        assert_eq!(w.ctl(&["key", "add", "hs-1"]).code, Some(3), "also after it was retired");
        assert_eq!(w.ctl(&["key", "add", "a key"]).code, Some(3));

        let listed = w.ctl(&["key", "list"]).json();
        let state =
            |kid: &str| listed.as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap()["state"].clone();
        assert_eq!((state("hs-1"), state("ed-2")), (json!("retired"), json!("active")));
        let mut said = String::new();
        for key in listed.as_array().unwrap() {
            said = w.ctl(&["key", "retire", key["kid"].as_str().unwrap()]).stderr;
        }
        assert!(said.contains("no key is left"), "the last one is not retired silently: {said}");
        assert_eq!((status(&server, &first).await, status(&server, &third).await), (401, 401));
        let none_left = w.ctl(&["token", "mint", "--tenant", &id, "--scope", "read:memories"]);
        assert_eq!(none_left.code, Some(3));
        assert!(none_left.stderr.contains("key add"), "says what to do: {}", none_left.stderr);
    });
}

/// A kid that was asked for before its key was there is not remembered as missing.
#[test]
fn a_key_is_found_although_it_was_missed_before() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let server = w.server();
        let (claims, header) = (json!({ "customer_id": tenant }), json!({ "alg": "HS256", "kid": forge::HS }));
        let early = forge_unregistered(&header, &claims);
        assert_eq!(status(&server, &early).await, 401);
        let f = Forge::new(&w).await;
        let claims = f.claims(tenant, &[Scope::ReadMemories]);
        assert_eq!(status(&server, &f.hs(&claims)).await, 200);
        assert_eq!(status(&server, &f.ed(&claims)).await, 200);
        assert_eq!(status(&server, &early).await, 401);
    });
}

fn forge_unregistered(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", encode(header), encode(claims), encode(&json!("signature")))
}

#[test]
fn a_minted_token_says_what_was_asked_and_no_more() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let id = tenant.to_string();
        let (token, other) = (mint(&w, &id, &["--ttl", "15m"]), mint(&w, &id, &[]));
        let claims = part(&token, 1);
        let seconds = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!((seconds(&claims), seconds(&part(&other, 1))), (900, 3600));
        assert_eq!(claims["customer_id"], json!(tenant));
        assert_eq!(claims["scope"], "read:memories write:memories");
        assert_eq!(claims["iss"], w.with.installation().token_issuer);
        assert_eq!(claims["aud"], w.with.installation().token_audience);
        assert_ne!(claims["jti"], part(&other, 1)["jti"]);

        let audit = w.ctl(&["audit", "list", "--tenant", &id]).json();
        assert_eq!(audit[0]["action"], "token.mint");
        assert!(!audit.to_string().contains(token.rsplit('.').next().unwrap()), "the token itself is not kept");

        let mint = |tenant: &str, scope: &str, ttl: &str| {
            w.ctl(&["token", "mint", "--tenant", tenant, "--scope", scope, "--ttl", ttl]).code
        };
        for ttl in ["", "0s", "1", "h", "-1h", "1w", "1.5h", "366d", "9223372036854775807d", "1h ", "１h"] {
            assert_eq!(mint(&id, "read:memories", ttl), Some(2), "--ttl {ttl:?}");
        }
        for scope in ["", " ", "read", "read:everything", "admin", "read:memories,write:memories", "READ:memories"] {
            assert_eq!(mint(&id, scope, "1h"), Some(2), "--scope {scope:?}");
        }
        for tenant in ["0", "-1", "x", "2147483648"] {
            assert_eq!(mint(tenant, "read:memories", "1h"), Some(2), "--tenant {tenant}");
        }
        assert_eq!(mint("2000000000", "read:memories", "1h"), Some(3), "there is no such tenant");
        for ttl in ["1s", "365d"] {
            assert_eq!(mint(&id, "read:memories", ttl), Some(0), "--ttl {ttl:?}");
        }
    });
}

/// The edges of what a good token may look like. Wrong ones, on every route: routes.rs.
#[test]
fn clocks_may_differ_a_little_and_unknown_words_grant_nothing() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let (f, server) = (Forge::new(&w).await, w.server());
        let claims = f.claims(tenant, &[Scope::ReadMemories]);
        let now = forge::now();
        for (name, token, expected) in [
            ("just expired", f.ed(&but(&claims, "exp", json!(now - 5))), 200),
            ("expired for longer than clocks differ", f.ed(&but(&claims, "exp", json!(now - 40))), 401),
            ("no iat", f.ed(&but(&claims, "iat", Value::Null)), 200),
            ("no jti", f.ed(&but(&claims, "jti", Value::Null)), 200),
            ("more claims", f.ed(&but(&claims, "admin", json!(true))), 200),
            ("unknown scopes beside", f.ed(&but(&claims, "scope", json!("admin read:memories  *"))), 200),
            ("no scope claim", f.ed(&but(&claims, "scope", Value::Null)), 403),
            ("a scope that only begins so", f.ed(&but(&claims, "scope", json!("read:memories2"))), 403),
            ("a scope of another form", f.ed(&but(&claims, "scope", json!(["read:memories"]))), 401),
            ("an expiry that is a text", f.ed(&but(&claims, "exp", json!("never"))), 401),
            ("an expiry beyond all time", f.ed(&but(&claims, "exp", json!(1e300))), 401),
            (
                "claims that are no object",
                f.sign(&json!({ "alg": "HS256", "kid": forge::HS }), &json!(7), Signer::Hs(&f.secret)),
                401,
            ),
        ] {
            assert_eq!(status(&server, &token).await, expected, "{name}");
        }
        let lower = server.get("/v1/memories").header("authorization", format!("bearer {}", f.ed(&claims)));
        assert_eq!(lower.send().await.unwrap().status(), 200, "the scheme's case does not matter");
    });
}

const OLD_SECRET: &str = "what the services before us signed with";

/// A token as the services before this one sign it: no key id, and four claims.
fn old(f: &Forge, secret: &str, claims: &Value) -> String {
    f.sign(&json!({ "alg": "HS256", "typ": "JWT" }), claims, Signer::Hs(secret.as_bytes()))
}

fn old_claims(tenant: TenantId, scopes: &str) -> Value {
    json!({ "customer_id": tenant, "scope": scopes, "iat": forge::now(), "exp": forge::now() + 600 })
}

fn add_legacy(w: &World, secret: &str, args: &[&str]) -> Ran {
    w.ctl_with(&[&["key", "add"], args].concat(), secret)
}

/// Turns red when, in auth/jwt.rs, `key.of.covers` is not asked, `required` lacks `exp`, or the issuer is not set; when
/// `verify_for_tenant` stops at the first key whose signature holds; when `not s.legacy` is missing in `tokens::active`, or
/// `not legacy` in `newest_signer`; when `News::Key` does not reach `legacy_keys`.
#[test]
fn a_legacy_secret_signs_for_the_tenants_it_is_bound_to() {
    world(async |w| {
        let mut tenants = Vec::new();
        for name in ["One", "Two", "Three"] {
            tenants.push(w.tenant(name, Isolation::Schema).await.id);
        }
        let [one, two, three] = tenants[..] else { unreachable!() };
        let (f, server) = (Forge::new(&w).await, w.server());
        let token = |tenant, secret| old(&f, secret, &old_claims(tenant, "read:memories"));
        assert_eq!(status(&server, &token(one, OLD_SECRET)).await, 401, "off until an operator says otherwise");

        w.ctl(&["key", "add", "ed-2"]).json();
        let added = add_legacy(&w, OLD_SECRET, &["crm", "--legacy", "--tenant", &one.to_string()]).json();
        assert_eq!(added[0]["legacy_for"], json!([one]), "{added}");
        assert_eq!(status(&server, &token(one, OLD_SECRET)).await, 200, "as soon as the command returns");
        assert_eq!(status(&server, &token(two, OLD_SECRET)).await, 401, "bound to another");
        let claims = old_claims(one, "read:memories");
        for (what, token, expected) in [
            ("another secret", token(one, "another secret of thirty-two bytes"), 401),
            ("another scope", old(&f, OLD_SECRET, &old_claims(one, "write:memories")), 403),
            ("no expiry", old(&f, OLD_SECRET, &but(&claims, "exp", Value::Null)), 401),
            ("expired", old(&f, OLD_SECRET, &but(&claims, "exp", json!(forge::now() - 60))), 401),
            ("another issuer", old(&f, OLD_SECRET, &but(&claims, "iss", json!("other"))), 401),
            ("another audience", old(&f, OLD_SECRET, &but(&claims, "aud", json!("other"))), 401),
            ("no tenant", old(&f, OLD_SECRET, &but(&claims, "customer_id", Value::Null)), 401),
            ("unsigned", f.sign(&json!({ "alg": "none" }), &claims, Signer::Nobody), 401),
            ("another algorithm", f.sign(&json!({ "alg": "HS512" }), &claims, Signer::Hs(OLD_SECRET.as_bytes())), 401),
        ] {
            assert_eq!(status(&server, &token).await, expected, "{what}");
        }
        let named = json!({ "alg": "HS256", "kid": "crm" });
        let whole = f.sign(&named, &f.claims(two, &[Scope::ReadMemories]), Signer::Hs(OLD_SECRET.as_bytes()));
        assert_eq!(status(&server, &whole).await, 401, "its name is no key id: the binding would not be asked");
        assert_eq!(part(&mint(&w, &one.to_string(), &[]), 0)["kid"], "ed-2", "nothing is minted with it");

        add_legacy(&w, OLD_SECRET, &["crm-2", "--legacy", "--tenant", &two.to_string()]).json();
        assert_eq!(status(&server, &token(two, OLD_SECRET)).await, 200, "the same secret under another name");
        assert_eq!(status(&server, &token(three, OLD_SECRET)).await, 401);
        let everybodys = "one secret for the whole platform";
        let added = add_legacy(&w, &format!("{everybodys}\n"), &["platform", "--legacy", "--all-tenants"]).json();
        assert_eq!(added[0]["legacy_for"], "all", "{added}");
        for tenant in [one, two, three] {
            assert_eq!(status(&server, &token(tenant, everybodys)).await, 200);
        }
        w.ctl(&["key", "retire", "platform"]).json();
        assert_eq!(status(&server, &token(one, everybodys)).await, 401, "as soon as the command returns");
        assert_eq!(status(&server, &token(one, OLD_SECRET)).await, 200, "the others hold");
        assert!(!w.ctl(&["audit", "list"]).stdout.contains(OLD_SECRET));
        assert!(!server.log().contains(OLD_SECRET));
    });
}

/// Turns red when `jwt::verify` hands a token without a key id on to `verify_for_tenant`.
#[test]
fn a_legacy_token_holds_on_tenants_routes_only() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let f = Forge::new(&w).await;
        add_legacy(&w, OLD_SECRET, &["crm", "--legacy", "--all-tenants"]).json();
        let control = Control::lazy(&w.urls.server, "test", 1).unwrap();
        let clock = Clock::system();
        let directory = Arc::new(Directory::new(control, w.server_ring.clone(), &clock, Staleness::default()));
        let (of, token) = (w.with.installation(), old(&f, OLD_SECRET, &old_claims(tenant, "read:memories")));
        let tokens = Tokens::new(Arc::clone(&directory), of.clone(), &clock);
        assert_eq!(tokens.verify_for_tenant(&token).await.unwrap().principal.tenant(), tenant);
        assert!(matches!(jwt::verify(&directory, of, &token).await, Err(AuthError::Invalid(_))));
        assert!(jwt::verify(&directory, of, &f.good(tenant, &[])).await.is_ok(), "the control");
        directory.control().close().await;
    });
}

/// A token that has held is remembered, and believed no longer than its key and its own time allow.
///
/// Turns red when `still_holds` compares the key ids instead of the keys, or does not look at `exp`.
#[test]
fn a_remembered_token_ends_with_its_key_and_its_time() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let control = Control::lazy(&w.urls.server, "test", 1).unwrap();
        let (clock, ring) = (Clock::system(), w.server_ring.clone());
        let directory = Arc::new(Directory::new(control, ring, &clock, Staleness::default()));
        let tokens = Tokens::new(Arc::clone(&directory), w.with.installation().clone(), &clock);
        let token = w.token(tenant, &[Scope::ReadMemories]).await;
        for _ in 0..2 {
            let found = tokens.verify_for_tenant(&token).await.unwrap();
            assert!(found.principal.tenant() == tenant && found.scopes.contains(Scope::ReadMemories));
        }
        // Of every other token nothing is remembered, however much it resembles this one.
        let cut = &token[..token.len() - 1];
        assert!(matches!(tokens.verify_for_tenant(cut).await, Err(AuthError::Invalid(_))));

        // It ran out less than half a minute ago, which is still allowed for, and then no longer.
        let ending = credentials::mint(&w.with, tenant, &[Scope::ReadMemories], -26).await.unwrap();
        assert!(tokens.verify_for_tenant(&ending).await.is_ok());
        until("it has run out", async || tokens.verify_for_tenant(&ending).await.is_err()).await;

        // The same key id with another key, as a server finds it that was not told.
        let db = w.superuser("control", &w.prefix.name("control")).await;
        let swap = "update signing_keys set public_key = sha256(public_key) where algorithm = 'EdDSA'";
        assert!(db.execute(swap, &[]).await.unwrap() > 0);
        assert!(tokens.verify_for_tenant(&token).await.is_ok(), "the directory still has the key");
        clock.turn_forward(Duration::from_secs(61));
        assert!(matches!(tokens.verify_for_tenant(&token).await, Err(AuthError::Invalid(_))));
        directory.control().close().await;
    });
}

/// Turns red without `SHORTEST_LEGACY_SECRET`, `refuse_too_many`, or the groups of the arguments.
#[test]
fn a_legacy_key_is_long_bound_and_one_of_few() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        let short = add_legacy(&w, &OLD_SECRET[..31], &["short", "--legacy", "--all-tenants"]);
        assert_eq!(short.code, Some(3));
        assert!(short.stderr.contains("32 bytes"), "{}", short.stderr);
        for (args, code) in [
            (&["k", "--legacy"][..], 2),
            (&["k", "--legacy", "--all-tenants", "--tenant", &id], 2),
            (&["k", "--legacy", "--all-tenants", "--algorithm", "HS256"], 2),
            (&["k", "--tenant", &id], 2),
            (&["k", "--all-tenants"], 2),
            (&["k", "--legacy", "--tenant", "2000000000"], 3),
            (&["a key", "--legacy", "--all-tenants"], 3),
        ] {
            assert_eq!(add_legacy(&w, OLD_SECRET, args).code, Some(code), "{args:?}");
        }
        assert_eq!(add_legacy(&w, "", &["k", "--legacy", "--all-tenants"]).code, Some(3), "nothing on standard input");
        let active = || {
            let listed = w.ctl(&["key", "list"]).json();
            listed.as_array().unwrap().iter().filter(|key| !key["legacy_for"].is_null()).count()
        };
        assert_eq!(active(), 0, "what is refused adds nothing");
        for n in 0..MOST_LEGACY_KEYS {
            add_legacy(&w, OLD_SECRET, &[&format!("k{n}"), "--legacy", "--tenant", &id]).json();
        }
        let one_more = ["more", "--legacy", "--tenant", &id];
        assert_eq!(add_legacy(&w, OLD_SECRET, &one_more).code, Some(3));
        w.ctl(&["key", "retire", "k0"]).json();
        assert_eq!(add_legacy(&w, OLD_SECRET, &one_more).code, Some(0), "a retired one makes room");
    });
}
