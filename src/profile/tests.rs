use serde_json::json;

use super::*;

fn shipped(name: &str) -> Template {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("ops/profiles/{name}.toml"));
    let template = Template::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(template.name().to_string(), name);
    template
}

fn bio(name: &str, fields: &Value) -> String {
    Profile::check(Some(&shipped(name)), fields.as_object().unwrap().clone()).unwrap().quick_bio
}

#[test]
fn an_insurance_agency_knows_its_client_at_a_glance() {
    let client = json!({
        "name": "John Smith", "county": "Orange County", "client_since": "2020", "email": null,
        "policies": {
            "auto_1": { "year": 2019, "make": "Toyota", "model": "Camry", "vin": "x" },
            "auto_2": { "year": 2022 },
            "home": { "address": "1 Elm Street", "coverage_amount": 500_000 }
        },
        "family": { "spouse_name": "Mary", "children": ["Ann"], "birthdays": ["2012-05-01"] }
    });
    assert_eq!(bio("insurance_v1", &client), "John Smith | Orange County | 2 Auto + 1 Home | Client since 2020");
    assert_eq!(bio("insurance_v1", &json!({ "name": "Al" })), "Al");
}

#[test]
fn an_estate_agency_knows_what_its_client_looks_for() {
    let client = json!({
        "name": "Sarah Johnson", "contact_method": "email", "buyer_or_seller": "buyer", "looking_in": "Newport Beach",
        "financing": { "pre_approved": true, "max_budget": 500_000 }
    });
    let line = "Sarah Johnson | Buyer | Pre-approved $500K | Looking in Newport Beach";
    assert_eq!(bio("real_estate_v1", &client), line);
    let mut written = client.clone();
    written["financing"]["max_budget"] = "$500K".into();
    assert_eq!(bio("real_estate_v1", &written), line);
    written["financing"] = json!({ "pre_approved": true });
    assert_eq!(bio("real_estate_v1", &written), "Sarah Johnson | Buyer | Pre-approved | Looking in Newport Beach");
    written["financing"] = json!({ "pre_approved": false, "max_budget": 1 });
    assert_eq!(bio("real_estate_v1", &written), "Sarah Johnson | Buyer | Looking in Newport Beach");
}

#[test]
fn a_music_shop_has_facts_of_its_own() {
    let client = json!({
        "name": "Priya Natarajan", "instruments": ["violin", "viola"], "lessons": { "teacher": "Ms Okafor", "weekday": "thursday" },
        "rentals": { "rental_1": { "instrument": "cello", "since": "2026-09-01" } }
    });
    assert_eq!(
        bio("music_shop_v1", &client),
        "Priya Natarajan | Plays violin, viola | Lessons thursday with Ms Okafor | 1 rental"
    );
}

#[test]
fn fields_are_held_to_the_template_each_by_name() {
    let template = shipped("insurance_v1");
    let wrong =
        json!({ "policies": { "auto_1": { "year": "2019" } }, "horoscope": "x", "family": { "birthdays": ["May"] } });
    let faults = Profile::check(Some(&template), wrong.as_object().unwrap().clone()).unwrap_err();
    let places: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(places, ["/family/birthdays/0", "/horoscope", "/name", "/policies/auto_1/year"]);
}

#[test]
fn without_a_template_fields_are_free_within_limits() {
    let check = |value: Value| Profile::check(None, value.as_object().unwrap().clone());
    let free = check(json!({ "name": "Jo", "shoe_size": 43, "unknown": null })).unwrap();
    assert_eq!(
        (free.name.as_deref(), &free.fields, free.quick_bio.as_str()),
        (Some("Jo"), &json!({ "shoe_size": 43 }), "Jo")
    );
    assert_eq!(check(json!({})).unwrap(), Profile { name: None, fields: json!({}), quick_bio: String::new() });
    for bad in
        [json!({ "name": 5 }), json!({ "name": "" }), json!({ "name": "a\nb" }), json!({ "name": "x".repeat(201) })]
    {
        assert_eq!(check(bad).unwrap_err()[0].pointer, "/name");
    }
    assert!(check(json!({ "x": "x".repeat(70_000) })).is_err());
}

#[test]
fn a_file_that_is_no_template_is_refused_with_the_reason() {
    for (text, says) in [
        ("", "name"),
        ("name = 'x'\nbio = []\n[fields]", "insurance_v1"),
        ("name = 'x_v1'\nbio = []", "either"),
        ("name = 'x_v1'\nbio = []\n[fields]\n[schema]", "either"),
        ("name = 'x_v1'\nbio = []\nmore = 1\n[fields]", "more"),
        ("name = 'x_v1'\nbio = ['(']\n[fields]", "bio"),
        ("name = 'x_v1'\nbio = []\n[fields]\nquick_bio = 'text'", "quick_bio"),
        ("name = 'x_v1'\nbio = []\n[fields]\na = 'string'", "field a"),
        (r#"{"name":"x_v1","bio":[],"schema":{"type":"nonsense"}}"#, "JSON Schema"),
        (r#"{"name":"x_v1","bio":[],"schema":{"properties":{"a":{"$ref":"https://example.com"}}}}"#, "$ref"),
    ] {
        let error = Template::parse(text).err().expect(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let full = r#"{"name":"x_v1","bio":["name"],"schema":{"properties":{"name":{"type":"string"}},"additionalProperties":true}}"#;
    assert_eq!(Template::parse(full).unwrap().authored(), full);
}
