//! What is kept of callers: the templates of their profiles, and the profiles over HTTP.

use std::path::PathBuf;

use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::counting_proxy::Tap;
use crate::support::{Answer, Server, Service, World, world};

const CALLER: &str = "/v2/profile/%2B15551234567";
const SCOPES: [Scope; 3] = [Scope::ReadCallers, Scope::WriteCallers, Scope::ReadCalls];

async fn tenant(w: &World, name: &str, template: Option<&str>) -> TenantId {
    let id = w.tenant(name, Isolation::Schema).await.id;
    if let Some(template) = template {
        w.ctl(&["profile", "bind", "--tenant", &id.to_string(), template]).json();
    }
    id
}

async fn service<'a>(w: &World, server: &'a Server, tenant: TenantId) -> Service<'a> {
    Service { server, token: w.token(tenant, &SCOPES).await }
}

/// Where an answer's faults are.
fn places(found: &Answer) -> Vec<&str> {
    assert_eq!((found.status, &found.body["code"]), (422, &json!("invalid")), "{found:?}");
    found.body["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect()
}

fn file(w: &World, text: &str) -> PathBuf {
    let path = w.dir.join(format!("{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, text).unwrap();
    path
}

fn client() -> Value {
    json!({
        "name": "John Smith", "county": "Orange County", "client_since": "2020", "address": null,
        "policies": { "auto_1": { "year": 2019 }, "auto_2": { "year": 2022 }, "home": { "coverage_amount": 450_000 } },
    })
}

#[test]
fn a_profile_is_held_to_the_template_and_comes_with_its_line() {
    world(async |w| {
        let id = tenant(&w, "One", Some("insurance_v1")).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        assert_eq!(one.get(CALLER).await.status, 404);
        let stored = one.put("/v2/profile/(555)%20123-4567", &client()).await;
        assert_eq!(stored.status, 200, "{stored:?}");
        let mut expected = client();
        expected.as_object_mut().unwrap().shift_remove("address");
        for (name, value) in [
            ("customer_id", json!(id)),
            ("user_id", json!("+15551234567")),
            ("quick_bio", json!("John Smith | Orange County | 2 Auto + 1 Home | Client since 2020")),
            ("template", json!("insurance_v1")),
        ] {
            expected[name] = value;
        }
        assert_eq!(stored.body, expected);
        assert_eq!(one.get(CALLER).await, stored);
        assert_eq!(one.get("/caller/profile/5551234567").await, stored, "the alias");
        assert_eq!(one.put(CALLER, &stored.body).await, stored, "an answer can be sent back");
        let context = one.get("/v2/context/enriched?user_id=5551234567").await.body;
        assert_eq!(context["quick_bio"], expected["quick_bio"]);
        assert_eq!(context["profile"]["policies"], expected["policies"]);
        assert_eq!(context["profile"]["name"], "John Smith");
    });
}

#[test]
fn what_does_not_fit_is_refused_field_by_field_and_nothing_is_stored() {
    world(async |w| {
        let id = tenant(&w, "One", Some("insurance_v1")).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let before = one.put(CALLER, &client()).await;
        let wrong =
            json!({ "policies": { "auto_1": { "year": "2019" } }, "sign": "leo", "family": { "birthdays": ["May"] } });
        let found = one.put(CALLER, &wrong).await;
        assert_eq!(places(&found), ["/family/birthdays/0", "/name", "/policies/auto_1/year", "/sign"]);
        assert_eq!(found.body["errors"][1]["message"], "is required");
        assert!(!found.body.to_string().contains("leo"), "a caller's words are not sent around: {found:?}");
        assert_eq!(places(&one.put(CALLER, &json!({})).await), ["/name"]);
        assert_eq!(places(&one.put(CALLER, &json!({ "name": "x".repeat(70_000) })).await), ["", "/name"]);
        assert_eq!(one.put(CALLER, &json!({ "name": "a\0b" })).await.status, 422);
        assert_eq!(one.put("/v2/profile/nobody", &client()).await.status, 422);
        assert_eq!(one.put(CALLER, &json!([])).await.status, 400);
        assert_eq!(one.get(CALLER).await, before);
    });
}

#[test]
fn without_a_template_a_profile_is_free() {
    world(async |w| {
        let id = tenant(&w, "One", None).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        let found = one.put(CALLER, &json!({ "name": "Jo", "shoes": { "size": 43 } })).await;
        let expected = json!({ "customer_id": id, "user_id": "+15551234567", "name": "Jo", "shoes": { "size": 43 },
                               "quick_bio": "Jo", "template": null });
        assert_eq!((found.status, &found.body), (200, &expected));
        assert_eq!(one.put(CALLER, &json!({})).await.body["name"], json!(null), "it is replaced as a whole");
        assert_eq!(places(&one.put(CALLER, &json!({ "name": 5 })).await), ["/name"]);
    });
}

#[test]
fn another_tenants_caller_is_nobody_here() {
    world(async |w| {
        let (a, b) = (tenant(&w, "A", None).await, tenant(&w, "B", Some("music_shop_v1")).await);
        let server = w.server();
        let (a, b) = (service(&w, &server, a).await, service(&w, &server, b).await);
        a.put(CALLER, &json!({ "name": "Grace" })).await;
        assert_eq!(b.get(CALLER).await.status, 404);
    });
}

/// Turns red when the announcement of tenant_profiles is left out (V11), or a server keeps a template longer than a route.
#[test]
fn a_binding_holds_on_every_server_when_the_command_returns() {
    world(async |w| {
        let id = tenant(&w, "One", None).await;
        let servers = [w.server(), w.server()];
        for server in &servers {
            let found = service(&w, server, id).await.put(CALLER, &json!({ "name": "Jo", "county": "Kent" })).await;
            assert_eq!(found.body["template"], json!(null));
        }
        let report = w.ctl(&["profile", "bind", "--tenant", &id.to_string(), "insurance_v1"]).json();
        assert_eq!((&report["bound"], &report["callers"], &report["unfit"]), (&json!(true), &json!(1), &json!(0)));
        for server in &servers {
            let one = service(&w, server, id).await;
            assert_eq!(places(&one.put(CALLER, &json!({})).await), ["/name"]);
            let found = one.get(CALLER).await.body;
            assert_eq!((&found["template"], &found["quick_bio"]), (&json!("insurance_v1"), &json!("Jo | Kent")));
        }
        let again = w.ctl(&["profile", "bind", "--tenant", &id.to_string(), "real_estate_v1"]);
        assert_eq!(again.code, Some(3), "{}", again.stderr);
        let log = w.ctl(&["audit", "list", "--tenant", &id.to_string()]).json();
        let actions: Vec<&str> = log.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
        assert_eq!(actions.iter().filter(|action| **action == "profile.bind").count(), 1, "{actions:?}");
    });
}

#[test]
fn an_upgrade_names_the_callers_that_do_not_fit() {
    world(async |w| {
        let id = tenant(&w, "One", Some("music_shop_v1")).await;
        let customer = id.to_string();
        let server = w.server();
        let one = service(&w, &server, id).await;
        one.put("/v2/profile/%2B15550000001", &json!({ "name": "Ann", "instruments": ["oboe"] })).await;
        one.put("/v2/profile/%2B15550000002", &json!({ "name": "Ben", "email": "ben@example.com" })).await;
        let next = "name = 'music_shop_v2'\nbio = ['name', 'instruments[0]']\n[fields]\nname = 'text*'\ninstruments = 'array[text]*'\nemail = 'text'";
        let path = file(&w, next);
        w.ctl(&["profile", "import", path.to_str().unwrap()]).json();
        let upgrade =
            |more: &[&str]| w.ctl(&[&["profile", "upgrade", "--tenant", &customer, "music_shop_v2"], more].concat());

        let dry = upgrade(&["--dry-run"]).json();
        let unfit =
            json!([{ "user_id": "+15550000002", "errors": [{ "pointer": "/instruments", "message": "is required" }] }]);
        assert_eq!((&dry["callers"], &dry["unfit_callers"], &dry["bound"]), (&json!(2), &unfit, &json!(false)));
        let refused = upgrade(&[]);
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert_eq!(
            one.get("/v2/profile/%2B15550000001").await.body["template"],
            "music_shop_v1",
            "nothing was changed"
        );

        let forced = upgrade(&["--force"]);
        assert_eq!(forced.code, Some(5), "something is left to do: {}", forced.stderr);
        let (ann, ben) = (one.get("/v2/profile/%2B15550000001").await, one.get("/v2/profile/%2B15550000002").await);
        assert_eq!((&ann.body["template"], &ann.body["quick_bio"]), (&json!("music_shop_v2"), &json!("Ann | oboe")));
        assert_eq!((&ben.body["email"], &ben.body["quick_bio"]), (&json!("ben@example.com"), &json!("Ben")), "kept");
        assert_eq!(places(&one.put("/v2/profile/%2B15550000002", &json!({ "name": "Ben" })).await), ["/instruments"]);
        let unbound = tenant(&w, "Two", None).await.to_string();
        assert_eq!(w.ctl(&["profile", "upgrade", "--tenant", &unbound, "music_shop_v2"]).code, Some(3));
    });
}

/// Turns red when the trigger `is_kept` is left out of V11: then psql changes what callers were validated against.
#[test]
fn a_template_in_use_does_not_change() {
    world(async |w| {
        let text = |bio: &str| format!("name = 'plumber_v1'\nbio = [{bio}]\n[fields]\nname = 'text'");
        let [first, second] = [text("'name'"), text("")].map(|text| file(&w, &text));
        let import = |path: &PathBuf| w.ctl(&["profile", "import", path.to_str().unwrap()]);
        import(&first).json();
        import(&second).json();
        import(&first).json();
        tenant(&w, "One", Some("plumber_v1")).await;
        import(&first).json();
        let refused = import(&second);
        assert_eq!((refused.code, refused.stderr.contains("plumber_v2")), (Some(3), true), "{}", refused.stderr);
        let control = w.superuser("control", &w.prefix.name("control")).await;
        for sql in [
            "update profile_templates set bio = '[]' where name = 'plumber'",
            "delete from tenant_profiles; delete from profile_templates",
        ] {
            let error = control.batch_execute(sql).await.unwrap_err();
            assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("23001"), "{sql}: {error}");
        }
        let shipped = w.ctl(&["profile", "list"]).json();
        let names: Vec<&str> = shipped.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["insurance_v1", "music_shop_v1", "plumber_v1", "real_estate_v1"]);
    });
}

#[test]
fn a_file_is_validated_without_any_database() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/profiles/real_estate_v1.toml");
    let validate = |more: &[&str]| {
        crate::support::run(&[&["--output", "json", "profile", "validate", shipped], more].concat(), "")
    };
    let sarah = r#"{"name":"Sarah Johnson","buyer_or_seller":"buyer","looking_in":"Newport Beach","financing":{"pre_approved":true,"max_budget":500000}}"#;
    assert_eq!(
        validate(&["--fields", sarah]).json()["quick_bio"],
        "Sarah Johnson | Buyer | Pre-approved $500K | Looking in Newport Beach"
    );
    let wrong = validate(&["--fields", r#"{"buyer_or_seller":"neither"}"#]);
    assert_eq!(wrong.code, Some(3));
    assert!(wrong.stderr.contains("/buyer_or_seller: must be one of") && wrong.stderr.contains("/name: is required"));
}

#[test]
fn a_profile_costs_one_round_trip() {
    world(async |w| {
        let tap = Tap::of("");
        w.tap_clusters(&tap).await;
        let id = tenant(&w, "One", Some("insurance_v1")).await;
        let server = w.server();
        let one = service(&w, &server, id).await;
        for _ in 0..2 {
            one.put(CALLER, &client()).await;
            one.get(CALLER).await;
        }
        tap.arm(None);
        assert_eq!(one.put(CALLER, &client()).await.status, 200);
        assert_eq!(tap.round_trips(), 1);
        tap.arm(None);
        assert_eq!(one.get(CALLER).await.status, 200);
        assert_eq!(tap.round_trips(), 1);
    });
}
