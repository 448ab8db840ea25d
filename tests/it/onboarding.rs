//! The guide's page of commands is true: it leads from nothing to a business that takes calls.

use serde_json::{Value, json};

use crate::support::{Account, answer, page, strowgerctl, world};

/// Turns red when a command or a field of the page is misspelt.
#[test]
fn a_page_of_commands_leads_from_nothing_to_the_first_call() {
    assert!(page::commands().lines().count() <= 30, "a page");
    world(async |w| {
        let (server, account) = (w.server(), Account::new(1));
        let config = w.dir.join("strowgerctl.toml");
        let ran = page::shell(&strowgerctl(), &config, &server.base_url, &account.sid).output().unwrap();
        let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{said}{errors}");
        let mut last = said.lines().rev().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (ready, would_hear) = (last.next().unwrap(), last.next().unwrap());
        assert_eq!((&ready["score"], &ready["missing"]), (&json!(100), &json!([])), "{said}");
        assert_eq!(would_hear["text"], "Acme Insurance insures boats of up to forty feet.", "{said}");

        let call = account.call("+15551234567", "+18005550100");
        let greeting = answer(account.signed(&server, "/call/incoming", &call)).await.body;
        assert!(greeting.as_str().unwrap().contains("Acme Insurance, this is Clara."), "{greeting}");
        let asks = [&call[..], &[("SpeechResult".to_owned(), "Do you insure boats?".to_owned())]].concat();
        let told = answer(account.signed(&server, "/call/turn?turn=1", &asks)).await.body;
        assert!(told.as_str().unwrap().contains("boats of up to forty feet"), "{told}");
    });
}
