//! A company clones a playbook, makes it its own, and takes a newer version.

use reqwest::Method;
use serde_json::json;

use super::{BOOK, Company, HOURS, file, import, places, publish};
use crate::support::{Service, world};

#[test]
fn a_clone_is_the_companys_own_and_neither_side_touches_the_other() {
    world(async |w| {
        publish(&w, "trade", &[HOURS, BOOK]);
        let server = w.server();
        let (one, two) = (Company::new(&w, &server, "One").await, Company::new(&w, &server, "Two").await);
        one.set(&json!({ "companyName": "Acme" })).await;
        let preview = one.get("configuration/sync/preview").await;
        assert_eq!((preview.status, &preview.body["code"]), (404, &json!("nothing_cloned")));
        for company in [&one, &two] {
            let taken = company.take("trade").await;
            assert_eq!((&taken["from"], &taken["to"]), (&json!(null), &json!({ "templateId": "trade", "version": 1 })));
            assert_eq!((&taken["kept"], &taken["conflicts"]), (&json!([]), &json!([])));
        }
        assert_eq!(one.hears("when are you open").await, "Acme opens at eight.");
        let found = one.configuration().await;
        assert_eq!((&found["clonedFrom"], &found["clonedVersion"]), (&json!("trade"), &json!(1)));
        assert_eq!(found["fillerWords"], json!({ "inherited": ["um", "well"], "custom": [] }));
        assert_eq!(found["urgencyKeywords"]["inherited"], json!([{ "word": "leak", "weight": 0.5 }]));
        assert_eq!(found["variables"], json!({ "companyName": "Acme" }), "what was set before the clone stays");
        let name = &found["variableDefinitions"][0];
        assert_eq!((&name["origin"], &name["required"]), (&json!("inherited"), &json!(true)));
        assert_eq!(two.get("readiness").await.body["missingVariables"], json!(["companyName"]));

        one.edit("hours", &json!({ "replies": ["Always."] })).await;
        let of_two = two.scenario("hours").await;
        assert_eq!(of_two.unwrap()["replies"], json!(["{companyName} opens at {opens}."]), "another's edit");
        publish(&w, "trade", &[&HOURS.replace("{opens}", "{opens} sharp")]);
        assert_eq!(two.hears("book a visit").await, "Which day?", "the playbook's new version");
        let (before, taken) = (two.configuration().await, one.configuration().await);
        assert_eq!((&before["clonedVersion"], &taken["clonedVersion"]), (&json!(1), &json!(1)));
        assert_eq!(one.hears("when are you open").await, "Always.");
    });
}

#[test]
fn what_the_company_did_not_touch_follows_and_what_it_did_stays() {
    world(async |w| {
        publish(&w, "trade", &[HOURS, BOOK]);
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        one.take("trade").await;
        one.set(&json!({ "companyName": "Acme", "opens": "nine" })).await;
        one.edit("hours", &json!({ "enabled": false, "phrases": ["when are you open", "are you there"] })).await;
        let gone = one.scenario("book").await.unwrap()["id"].as_str().unwrap().to_owned();
        assert_eq!(one.send(Method::DELETE, &format!("scenarios/{gone}"), &json!({})).await.status, 204);

        let hours =
            HOURS.replace("'what are your hours'", "'what are your opening hours'").replace("opens at", "is open from");
        let parking = "[[scenarios]]\nkey = 'parking'\nname = 'Parking'\ncategory = 'basics'\n\
                       phrases = ['where can I park']\nreplies = ['Behind the house.']\n";
        publish(&w, "trade", &[&hours, &BOOK.replace("Which day?", "Which week?"), parking]);
        let preview = one.preview().await;
        assert_eq!(preview["conflicts"], json!([]));
        let changed = ["/scenarios/hours/phrases", "/scenarios/hours/replies", "/scenarios/parking"];
        assert_eq!(places(&preview["changes"]), changed, "{preview}");
        let kept = ["/scenarios/book", "/scenarios/hours/enabled", "/scenarios/hours/phrases"];
        assert_eq!(places(&preview["kept"]), kept, "{preview}");
        assert_eq!(one.configuration().await["clonedVersion"], 1, "a preview changes nothing");
        assert_eq!(one.take("trade").await, preview);

        let hours = one.scenario("hours").await.unwrap();
        assert_eq!(hours["phrases"], json!(["when are you open", "what are your opening hours", "are you there"]));
        assert_eq!(
            (&hours["enabled"], &hours["replies"]),
            (&json!(false), &json!(["{companyName} is open from {opens}."]))
        );
        assert_eq!((&hours["origin"], &hours["edited"]), (&json!("inherited"), &json!(true)));
        assert_eq!(one.scenario("book").await, None, "deleted is deleted");
        assert_eq!(one.configuration().await["variables"], json!({ "companyName": "Acme", "opens": "nine" }));
        assert_eq!(one.hears("where can I park").await, "Behind the house.");
        let again = one.take("trade").await;
        assert_eq!((&again["changes"], &again["from"]), (&json!([]), &again["to"]));
    });
}

#[test]
fn what_both_changed_waits_for_a_choice() {
    world(async |w| {
        publish(&w, "trade", &[HOURS, BOOK]);
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        one.take("trade").await;
        one.edit("hours", &json!({ "replies": ["Mine."], "name": "My hours" })).await;
        one.edit("book", &json!({ "replies": ["My book."] })).await;
        publish(&w, "trade", &[&HOURS.replace("opens at", "is open from").replace("'Hours'", "'Their hours'")]);
        let preview = one.preview().await;
        let both = ["/scenarios/book", "/scenarios/hours/name", "/scenarios/hours/replies"];
        assert_eq!(places(&preview["conflicts"]), both, "{preview}");
        let replies = &preview["conflicts"][2];
        assert_eq!(
            (&replies["old"], &replies["new"], &replies["yours"]),
            (
                &json!(["{companyName} opens at {opens}."]),
                &json!(["{companyName} is open from {opens}."]),
                &json!(["Mine."])
            )
        );
        let refused = one.sync(json!({ "templateId": "trade" })).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflicts")));
        let named: Vec<_> =
            refused.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(named, both);
        let half = one.sync(json!({ "templateId": "trade", "resolve": { (both[0]): "mine" } })).await;
        assert_eq!((half.status, half.body["errors"].as_array().unwrap().len()), (409, 2), "{half:?}");
        assert_eq!(one.configuration().await["clonedVersion"], 1, "nothing was changed");

        let all = json!({ (both[0]): "mine", (both[1]): "theirs", (both[2]): "mine" });
        let taken = one.sync(json!({ "templateId": "trade", "resolve": all })).await;
        assert_eq!((taken.status, &taken.body["conflicts"]), (200, &json!([])), "{taken:?}");
        let (hours, book) = (one.scenario("hours").await.unwrap(), one.scenario("book").await.unwrap());
        assert_eq!((&hours["name"], &hours["replies"]), (&json!("Their hours"), &json!(["Mine."])));
        assert_eq!((&book["replies"], &book["origin"]), (&json!(["My book."]), &json!("custom")));
        assert_eq!(one.preview().await["changes"], json!([]), "chosen is chosen");
        assert_eq!(one.preview().await["conflicts"], json!([]));
    });
}

#[test]
fn a_value_that_the_new_version_does_not_allow_waits_for_a_choice() {
    world(async |w| {
        publish(&w, "trade", &[HOURS]);
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        one.take("trade").await;
        one.set(&json!({ "opens": "nine" })).await;
        let path = file(&w, "trade", &[HOURS]);
        let text =
            std::fs::read_to_string(&path).unwrap().replace("default = 'eight'", "type = 'number', default = '8'");
        std::fs::write(&path, text).unwrap();
        import(&w, &path).json();
        w.ctl(&["playbook", "publish", "trade"]).json();
        let refused = one.sync(json!({ "templateId": "trade" })).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (409, &json!("/variables/opens")));
        let taken = one.sync(json!({ "templateId": "trade", "resolve": { "/variables/opens": "theirs" } })).await;
        assert_eq!(taken.status, 200, "{taken:?}");
        let found = one.configuration().await;
        assert_eq!((&found["variables"], &found["variableDefinitions"][1]["type"]), (&json!({}), &json!("number")));
    });
}

#[test]
fn two_clones_at_once_are_one() {
    world(async |w| {
        publish(&w, "trade", &[HOURS, BOOK]);
        let (server, replica) = (w.server(), w.server());
        let one = Company::new(&w, &server, "One").await;
        let elsewhere = Company { id: one.id, service: Service { server: &replica, token: one.service.token.clone() } };
        let edit = json!({ "customer_id": one.id, "opens": "ten" });
        let want = || json!({ "templateId": "trade" });
        let all = tokio::join!(
            one.sync(want()),
            elsewhere.sync(want()),
            one.sync(want()),
            elsewhere.sync(want()),
            one.send(Method::PATCH, "configuration/variables", &edit),
            elsewhere.send(Method::PATCH, "configuration/variables", &edit)
        );
        for found in [&all.0, &all.1, &all.2, &all.3, &all.4, &all.5] {
            assert_eq!(found.status, 200, "{found:?}");
        }
        let first = [&all.0, &all.1, &all.2, &all.3].iter().filter(|found| found.body["from"].is_null()).count();
        assert_eq!(first, 1, "one of them cloned, the others found it done");
        assert_eq!(one.get("scenarios").await.body["scenarios"].as_array().unwrap().len(), 2);
        let found = one.configuration().await;
        assert_eq!((&found["variables"], &found["clonedVersion"]), (&json!({ "opens": "ten" }), &json!(1)));
    });
}

#[test]
fn an_operator_does_the_same_from_the_command_line() {
    world(async |w| {
        publish(&w, "trade", &[HOURS]);
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        let tenant = one.id.to_string();
        let playbook = |words: &[&str]| w.ctl(&[&["playbook", words[0], "--tenant", &tenant], &words[1..]].concat());
        assert_eq!(playbook(&["update"]).code, Some(3), "nothing is cloned");
        assert_eq!(playbook(&["clone", "nothing"]).code, Some(3));
        for _ in 0..2 {
            assert_eq!(playbook(&["clone", "trade"]).json()["to"]["version"], 1);
        }
        one.edit("hours", &json!({ "replies": ["Mine."] })).await;
        publish(&w, "trade", &[&HOURS.replace("opens at", "is open from"), BOOK]);
        let again = playbook(&["clone", "trade"]);
        assert_eq!((again.code, again.stderr.contains("playbook update")), (Some(3), true), "{}", again.stderr);
        let preview = playbook(&["preview"]).json();
        assert_eq!(
            (places(&preview["changes"]), places(&preview["conflicts"])),
            (vec!["/scenarios/book"], vec!["/scenarios/hours/replies"])
        );
        let refused = playbook(&["update"]);
        assert_eq!(refused.code, Some(3));
        assert!(
            refused.stderr.contains("/scenarios/hours/replies") && refused.stderr.contains("Mine."),
            "{}",
            refused.stderr
        );
        let taken = playbook(&["update", "--resolve", "/scenarios/hours/replies=theirs"]).json();
        assert_eq!(taken["to"]["version"], 2);
        assert_eq!(one.scenario("hours").await.unwrap()["replies"], json!(["{companyName} is open from {opens}."]));
        assert_eq!(playbook(&["update", "--version", "1"]).json()["to"]["version"], 1, "back again");
        assert_eq!(one.scenario("book").await, None);
    });
}

#[test]
fn another_companys_token_clones_nothing() {
    world(async |w| {
        let server = w.server();
        let (one, two) = (Company::new(&w, &server, "One").await, Company::new(&w, &server, "Two").await);
        let path = format!("/api/company/{}/configuration/sync", one.id);
        let found = two.service.post(&path, &json!({ "templateId": "universal" })).await;
        assert_eq!((found.status, &found.body["error"]), (403, &json!("Unauthorized")));
        assert_eq!(two.service.get(&format!("{path}/preview?templateId=universal")).await.status, 403);
        assert_eq!(one.configuration().await["clonedFrom"], json!(null));
        let unknown = one.sync(json!({ "templateId": "nothing" })).await;
        assert_eq!((unknown.status, &unknown.body["code"]), (404, &json!("no_such_template")));
        assert_eq!(one.sync(json!({ "templateId": "universal", "version": 9 })).await.status, 404);
        assert_eq!(one.sync(json!({ "templateId": "' or true --" })).await.status, 404);
    });
}
