use proptest::prelude::*;
use time::format_description::well_known::Rfc3339;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "documents are written where they are checked")]
fn check(document: Value) -> Result<Configuration, Vec<String>> {
    Configuration::check(document.as_object().unwrap().clone())
        .map_err(|faults| faults.into_iter().map(|fault| fault.pointer).collect())
}

fn at(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "documents are written where they are checked")]
fn hours(zone: &str, weekly: Value, exceptions: Value) -> Hours {
    check(json!({ "hours": { "time_zone": zone, "weekly": weekly, "exceptions": exceptions } })).unwrap().hours.unwrap()
}

#[test]
fn what_is_not_said_has_its_default_and_what_is_survives_the_store() {
    assert_eq!(check(json!({})).unwrap(), Configuration::default());
    let full = json!({
        "agent_name": "Ada", "greeting": "Hi", "greeting_known": "Hi {caller_name}", "language": "de-CH", "languages": ["fr", "it"],
        "voice": "x", "personality": "Kind.\nAnd short.", "sliders": { "warmth": 90 }, "escalation_number": "+41441234567",
        "hours": { "time_zone": "Europe/Zurich", "weekly": { "monday": [{ "from": "08:00", "to": "24:00" }] },
                   "exceptions": [{ "date": "2026-12-25" }] },
        "fallback": "Hm.", "after_hours": "Closed.", "model_allowed": false, "disabled": true, "disabled_sentence": "Off."
    });
    let read = check(full).unwrap();
    assert_eq!(Configuration::stored(json!(read)), read);
    assert_eq!(json!(read)["sliders"].as_object().unwrap().len(), 30);
    assert_eq!((&json!(read)["sliders"]["warmth"], &json!(read)["sliders"]["pace"]), (&json!(90), &json!(50)));
}

#[test]
fn hours_are_told_with_the_days_to_come_that_are_unlike_their_weekday() {
    let span = |from: &str, to: &str| json!({ "from": from, "to": to });
    let weekly =
        json!({ "monday": [span("09:00", "12:00"), span("13:00", "17:30")], "friday": [span("09:00", "24:00")] });
    let exceptions = json!([{ "date": "2026-12-25" }, { "date": "2026-12-24", "spans": [span("09:00", "12:00")] }, { "date": "2026-11-26" }]);
    let told = hours("America/Los_Angeles", weekly, exceptions).in_words(at("2026-11-27T18:05:00Z"));
    let week = "monday 09:00 to 12:00 and 13:00 to 17:30, tuesday closed, wednesday closed, thursday closed, friday 09:00 to 24:00, \
                saturday closed, sunday closed";
    let now = "Now it is friday, 2026-11-27, 10:05: open.";
    let expected = format!("{week}, 2026-12-24 09:00 to 12:00, 2026-12-25 closed (America/Los_Angeles). {now}");
    assert_eq!(told, expected);
}

#[test]
fn every_wrong_field_is_named() {
    let wrong = json!({
        "agent_name": "", "greeting": 5, "language": "English", "languages": ["de", "de"], "voice": "a\u{0}b", "personality": "x".repeat(8001),
        "sliders": { "warmth": 101, "sternness": 5, "pace": 1.5 }, "escalation_number": "911", "model_allowed": "yes", "more": 1
    });
    let mut expected: Vec<String> = [
        "agent_name",
        "escalation_number",
        "greeting",
        "language",
        "languages",
        "model_allowed",
        "more",
        "personality",
        "sliders/pace",
        "sliders/sternness",
        "sliders/warmth",
        "voice",
    ]
    .map(|name| format!("/{name}"))
    .into();
    expected.sort();
    assert_eq!(check(wrong).unwrap_err(), expected);
    let span = |from: &str, to: &str| json!({ "from": from, "to": to });
    for (hours, place) in [
        (json!({ "time_zone": "Mars/Olympus" }), "/hours/time_zone"),
        (json!({ "time_zone": "UTC", "weekly": { "monday": [span("17:00", "09:00")] } }), "/hours/weekly/monday"),
        (
            json!({ "time_zone": "UTC", "weekly": { "friday": [span("08:00", "12:00"), span("11:00", "13:00")] } }),
            "/hours/weekly/friday",
        ),
        (json!({ "time_zone": "UTC", "weekly": { "monday": [span("8:00", "12:00")] } }), "/hours/weekly/monday/0/from"),
        (json!({ "time_zone": "UTC", "weekly": { "someday": [] } }), "/hours/weekly/someday"),
        (json!({ "time_zone": "UTC", "exceptions": [{ "date": "2026-02-30" }] }), "/hours/exceptions/0/date"),
        (
            json!({ "time_zone": "UTC", "exceptions": [{ "date": "2026-02-01" }, { "date": "2026-02-01" }] }),
            "/hours/exceptions/1/date",
        ),
    ] {
        assert_eq!(check(json!({ "hours": hours })).unwrap_err(), [place]);
    }
}

#[test]
fn hours_are_what_the_clock_on_the_wall_says() {
    let shop = hours("America/Los_Angeles", json!({ "monday": [{ "from": "09:00", "to": "17:30" }] }), json!([]));
    for (moment, open) in [
        ("2026-11-23T16:59:59Z", false),
        ("2026-11-23T17:00:00Z", true),
        ("2026-11-24T01:29:59Z", true),
        ("2026-11-24T01:30:00Z", false),
        ("2026-07-06T16:00:00Z", true),
        ("2026-11-24T18:00:00Z", false),
    ] {
        assert_eq!(shop.is_open(at(moment)), open, "{moment}");
    }
    let holiday =
        json!([{ "date": "2026-11-23" }, { "date": "2026-11-24", "spans": [{ "from": "10:00", "to": "11:00" }] }]);
    let shop = hours("America/Los_Angeles", json!({ "monday": [{ "from": "00:00", "to": "24:00" }] }), holiday);
    assert!(!shop.is_open(at("2026-11-23T20:00:00Z")));
    assert!(shop.is_open(at("2026-11-24T18:30:00Z")));
}

/// Berlin: 02:00 becomes 03:00 on 29 March 2026, and 03:00 becomes 02:00 on 25 October.
#[test]
fn hours_hold_while_clocks_change() {
    let night = json!({ "sunday": [{ "from": "02:00", "to": "03:00" }] });
    let bakery = hours("Europe/Berlin", night, json!([]));
    for moment in ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"] {
        assert!(!bakery.is_open(at(moment)), "the hour is not struck: {moment}");
    }
    for moment in ["2026-10-25T00:00:00Z", "2026-10-25T00:59:59Z", "2026-10-25T01:00:00Z", "2026-10-25T01:59:59Z"] {
        assert!(bakery.is_open(at(moment)), "the hour is struck twice: {moment}");
    }
    assert!(!bakery.is_open(at("2026-10-25T02:00:00Z")));
}

#[test]
fn first_words_fit_the_caller_and_the_hour() {
    let (open, closed) = (at("2026-11-23T10:00:00Z"), at("2026-11-23T20:00:00Z"));
    let mut of = Configuration { agent_name: "Ada".into(), ..Configuration::default() };
    of.hours = Some(hours("UTC", json!({ "monday": [{ "from": "09:00", "to": "17:00" }] }), json!([])));
    assert_eq!(of.first_words(Some("Grace"), open).unwrap(), "Hello Grace, this is Ada. How can I help you today?");
    assert_eq!(of.first_words(None, closed).unwrap(), "Hello, this is Ada. How can I help you?", "nothing else to say");
    of.after_hours = "{agent_name} is asleep.".into();
    assert_eq!(of.first_words(Some("Grace"), closed).unwrap(), "Ada is asleep.");
    of.disabled = true;
    assert_eq!(of.first_words(None, open), None, "the platform's sentence");
    of.disabled_sentence = "Back soon.".into();
    assert_eq!(of.first_words(None, open).unwrap(), "Back soon.");
}

#[test]
fn a_prompt_says_what_stands_out() {
    let plain = prompt(&Configuration::default());
    assert!(SLIDERS.iter().all(|slider| !plain.contains(slider.low) && !plain.contains(slider.high)), "{plain}");
    let sliders = json!({ "warmth": 95, "humour": 20, "pace": 64, "patience": 36, "closing": 0 });
    let of = check(
        json!({ "agent_name": "Ada", "personality": "You love trains.", "sliders": sliders, "languages": ["fr"] }),
    )
    .unwrap();
    assert_eq!(
        prompt(&of),
        "You are Ada, and you answer the phone of a business. Speak en-US unless the caller prefers another language you know: fr.\n\n\
         You love trains.\n\n\
         Above all:\n- Let it be heard that you are glad about the call.\n- End the call as soon as all is said.\n\n\
         Your manner:\n- Make no jokes.\n\n\
         When you do not know the answer, say: I'll connect you with someone who can help."
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        ]
    })
}

/// RFC 7396, section 2, said another way.
fn expected(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let empty = Map::new();
    let old = target.as_object().unwrap_or(&empty);
    let mut new: Map<String, Value> =
        old.iter().filter(|(name, _)| !patch.contains_key(*name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    for (name, value) in patch.iter().filter(|(_, value)| !value.is_null()) {
        new.insert(name.clone(), expected(old.get(name).unwrap_or(&Value::Null), value));
    }
    new.into()
}

proptest! {
    #[test]
    fn a_merge_patch_does_what_the_standard_says(target in json_value(), patch in json_value()) {
        let mut merged = target.clone();
        merge(&mut merged, patch.clone());
        prop_assert_eq!(&merged, &expected(&target, &patch));
        let once = merged.clone();
        merge(&mut merged, patch);
        prop_assert_eq!(merged, once, "twice is once");
    }

    #[test]
    fn any_document_is_checked_without_a_panic(document in json_value()) {
        if let Value::Object(fields) = document {
            let _ = Configuration::check(fields);
        }
    }

    #[test]
    fn open_all_week_is_open_always(second in 0i64..4_102_444_800, zone in proptest::sample::select(vec!["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"])) {
        let all: Map<String, Value> = hours::WEEKDAYS.map(|day| (day.to_owned(), json!([{ "from": "00:00", "to": "24:00" }]))).into_iter().collect();
        let moment = OffsetDateTime::from_unix_timestamp(second).unwrap();
        prop_assert!(hours(zone, all.into(), json!([])).is_open(moment));
        let never = hours(zone, json!({}), json!([]));
        prop_assert!(!never.is_open(moment));
    }
}
