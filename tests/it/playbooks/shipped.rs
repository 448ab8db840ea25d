//! The playbooks of `ops/playbooks/`.

use std::collections::BTreeSet;

use serde_json::json;
use strowger::playbook::{Playbook, Scenario};
use strowger::selector::{Entry, Index, Tier, Vocabulary};
use uuid::Uuid;

use super::Company;
use crate::support::world;

/// What is shipped, as files.
fn shipped() -> Vec<Playbook> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/playbooks");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let read = |text: String| Playbook::parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
    files.map(read).collect()
}

#[test]
fn what_is_shipped_has_something_to_say() {
    let all = shipped();
    for playbook in &all {
        for scenario in &playbook.content().scenarios {
            let phrases = scenario.phrases.len();
            assert!((20..=40).contains(&phrases), "{} {}: {phrases} phrases", playbook.name(), scenario.key);
        }
    }
    let find = |name: &str| all.iter().find(|one| one.name().as_str() == name).unwrap().content();
    let universal = find("universal");
    let categories: BTreeSet<_> = universal.scenarios.iter().map(|scenario| &scenario.category).collect();
    assert!(categories.len() >= 10 && universal.scenarios.len() >= 40, "{categories:?}");
    assert!(find("home_services").scenarios.len() >= 20 && find("insurance").scenarios.len() >= 20);
}

fn entry(id: Uuid, scenario: &Scenario) -> Entry<'_> {
    let phrases = scenario.phrases.iter().map(String::as_str).collect();
    Entry { id, tier: Tier::Scenario, priority: scenario.priority, phrases }
}

/// Whoever says a scenario's phrase as it is written, with some hesitation, gets that scenario.
#[test]
fn every_shipped_phrase_is_answered_by_its_own_scenario() {
    for playbook in shipped() {
        let content = playbook.content();
        let id = |n: usize| Uuid::from_u128(u128::try_from(n).unwrap());
        let entries: Vec<_> =
            content.scenarios.iter().enumerate().map(|(n, scenario)| entry(id(n), scenario)).collect();
        let vocabulary = Vocabulary { language: "en", fillers: &content.fillers, urgency: &content.urgency };
        let index = Index::new(&vocabulary, &entries, None);
        let mut wrong = Vec::new();
        for (n, scenario) in content.scenarios.iter().enumerate() {
            for phrase in &scenario.phrases {
                let found = index.choose(&format!("um, {phrase}"), None);
                if found.answer.as_ref().is_none_or(|answer| answer.id != id(n)) {
                    wrong.push(format!(
                        "{} {}: {phrase:?}: {:?}",
                        playbook.name(),
                        scenario.key,
                        found.answer.or(found.candidates.first().cloned()).map(|m| (m.phrase, m.score))
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn an_installation_begins_with_the_shipped_playbooks_and_keeps_an_operators_own() {
    world(async |w| {
        let list = w.ctl(&["playbook", "list"]).json();
        let named: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["name"].as_str().unwrap(), row["state"].as_str().unwrap()))
            .collect();
        assert_eq!(named, [("home_services", "published"), ("insurance", "published"), ("universal", "published")]);
        let server = w.server();
        let one = Company::new(&w, &server, "One").await;
        one.take("universal").await;
        let missing = one.get("readiness").await.body["missingVariables"].clone();
        assert_eq!(missing, json!(["address", "businessHours", "companyName"]));
        one.set(&json!({ "companyName": "Acme", "businessHours": "every day from nine to five", "address": "1 Main Street" })).await;
        assert_eq!(one.hears("uh, what time do you close today?").await, "Acme is open every day from nine to five.");
        assert_eq!(one.hears("where are you located").await, "You find Acme at 1 Main Street.");
        let every = one.get("scenarios").await.body["scenarios"].as_array().unwrap().len();
        assert!(every >= 40, "{every}");
    });
}

/// How well a playbook answers what its author did not write down: each phrase is taken out and then said. Prints, holds nothing.
#[test]
#[ignore = "measures: ./test --run-ignored only held_out_phrases --no-capture"]
fn held_out_phrases() {
    for playbook in shipped() {
        let content = playbook.content();
        let vocabulary = Vocabulary { language: "en", fillers: &content.fillers, urgency: &content.urgency };
        let id = |n: usize| Uuid::from_u128(u128::try_from(n).unwrap());
        let (mut right, mut wrong, mut all) = (0, 0, 0);
        for (n, scenario) in content.scenarios.iter().enumerate() {
            for phrase in &scenario.phrases {
                let mut entries: Vec<_> =
                    content.scenarios.iter().enumerate().map(|(n, scenario)| entry(id(n), scenario)).collect();
                entries[n].phrases.retain(|other| other != phrase);
                let found = Index::new(&vocabulary, &entries, None).choose(phrase, None).answer;
                let answered = found.as_ref().map(|found| found.id);
                all += 1;
                right += usize::from(answered == Some(id(n)));
                if let Some(found) = found.filter(|found| found.id != id(n)) {
                    wrong += 1;
                    println!("{}: {phrase:?} is taken for {:?}", scenario.key, found.phrase);
                }
            }
        }
        println!("{}: of {all} phrases {right} right, {wrong} wrong, the rest to the fallback", playbook.name());
    }
}
