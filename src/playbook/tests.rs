//! What a file may say, and what is said of one that may not.

use super::*;

const GOOD: &str = r#"
name = "trade"
about = "For tests."
fillers = ["um"]
urgency = [{ word = "leak", weight = 0.9 }]

[[variables]]
name = "companyName"
required = true

[[scenarios]]
key = "book"
name = "Book"
category = "appointments"
phrases = ["book a visit", "I need an appointment"]
replies = ["{companyName} books it."]
follow_up = "Which day?"
hook = "offer_scheduling"
"#;

fn faults(text: &str) -> Vec<String> {
    match Playbook::parse(text) {
        Err(BadPlaybook::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_read_as_it_is_written() {
    let read = Playbook::parse(GOOD).unwrap();
    assert_eq!((read.name().as_str(), read.about()), ("trade", "For tests."));
    let scenario = &read.content().scenarios[0];
    assert_eq!((scenario.follow_up.as_deref(), scenario.hook), (Some("Which day?"), Hook::OfferScheduling));
    assert!(scenario.enabled);
    let stored = serde_json::to_value(read.content()).unwrap();
    assert_eq!(&serde_json::from_value::<Content>(stored).unwrap(), read.content());
}

#[test]
fn every_fault_is_named_with_its_place() {
    let more = r#"
[[scenarios]]
key = "book"
name = ""
category = "x"
phrases = ["Book a visit!", "", "?!"]
replies = ["Call {owner}."]
follow_up = "Is {price} fine?"
"#;
    let text = format!("{GOOD}{more}")
        .replace("weight = 0.9", "weight = 1.5")
        .replace("fillers = [\"um\"]", "fillers = [\"um\", \"UM\"]");
    let text = text.replace("required = true", "required = true\ntype = 'number'\ndefault = 'Acme'");
    let text = text.replace("{companyName}", "Ada");
    assert_eq!(
        faults(&text),
        [
            "/scenarios/1/name: must have 1 to 200 characters",
            "/scenarios/1/phrases/1: must have 1 to 500 characters",
            "/scenarios/1/key: \"book\" is there already, at /scenarios/0",
            "/scenarios/1/phrases/0: \"Book a visit!\" is claimed by \"book\" too, at /scenarios/0/phrases/0",
            "/scenarios/1/phrases/2: must have a word",
            "/fillers/1: \"um\" is there already, at /fillers/0",
            "/urgency/0/weight: must be more than 0 and at most 1",
            "/variables/0/default: is not what the variable's type says",
            "/scenarios/1/replies/0: {owner} is not defined: add it to the variables",
            "/scenarios/1/followUp: {price} is not defined: add it to the variables",
            "/variables/0/required: \"companyName\" is required, and no reply says it",
        ]
    );
}

#[test]
fn what_is_no_playbook_is_refused_at_its_line() {
    let said = |text: &str| Playbook::parse(text).unwrap_err().to_string();
    assert!(said(&GOOD.replace("hook =", "hok =")).contains("line 18"), "{}", said(&GOOD.replace("hook =", "hok =")));
    assert!(said(&GOOD.replace("offer_scheduling", "dance")).contains("dance"));
    assert!(said(&GOOD.replace("\"trade\"", "\"Trade 1\"")).contains("a-z"));
    assert_eq!(said(&" ".repeat(1_048_577)), "a playbook's file has at most 1048576 bytes");
    assert_eq!(faults("name = 'x'\nscenarios = []"), ["/scenarios: must have 1 to 1000 entries"]);
}
