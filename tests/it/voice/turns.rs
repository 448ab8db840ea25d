//! What a caller hears, turn by turn.
//!
//! Red when, in `tenant/turns.rs`, the statement of `save` leaves out `mirror` or `on conflict … do nothing`; when `app/voice/turn.rs` does
//! not look for a turn that was taken.

use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use tokio::task::JoinSet;

use super::{CALLER, DIALLED, Line, PERSON};
use crate::support::{Service, answer, until, world};

#[test]
fn a_caller_is_answered_turn_by_turn_by_whichever_server_is_asked() {
    world(async |w| {
        let (server, other) = (w.server(), w.server());
        let line = Line::open(&w).await;
        line.teach(&w, &server, "When are you open?", "From eight to six.").await;
        line.scenario("I need to schedule an appointment", "I can help with that.", "offer_scheduling").await;
        line.scenario("goodbye", "Thank you, goodbye.", "hang_up").await;

        let greeting = line.greeted(&server).await;
        assert_eq!(greeting.then.as_deref(), Some("/call/turn?turn=1"));
        let first = line.say(&other, &greeting, "um, when are you open?").await;
        assert_eq!((first.said.as_str(), first.then.as_deref()), ("From eight to six.", Some("/call/turn?turn=2")));
        let again = line.say(&server, &first, "Pardon?").await;
        assert_eq!(again.said, "From eight to six.");
        let offer = line.say(&other, &again, "I need to schedule an appointment").await;
        assert_eq!(offer.said, "I can help with that. Which day and time would suit you?");
        let noted = line.say(&server, &offer, "Tuesday at ten").await;
        assert!(noted.said.starts_with("Thank you, I have noted that"), "{noted:?}");
        let end = line.say(&other, &noted, "goodbye").await;
        assert_eq!((end.said.as_str(), end.hangs_up, end.then), ("Thank you, goodbye.", true, None));

        let left = line.db.query_one("select kind, content, user_id, turn from messages", &[]).await.unwrap();
        let left: (String, String, String, i32) = (left.get(0), left.get(1), left.get(2), left.get(3));
        assert_eq!(left, ("appointment".into(), "Tuesday at ten".into(), CALLER.into(), 4));
        let rows = line.db.query("select source from call_turns order by turn", &[]).await.unwrap();
        let sources: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(sources, ["knowledge", "script", "scenario", "script", "scenario"]);
    });
}

#[test]
fn a_turn_that_is_sent_twice_is_answered_with_the_same_and_kept_once() {
    world(async |w| {
        let (server, other) = (w.server(), w.server());
        let line = Line::open(&w).await;
        line.scenario("take a message", "Gladly.", "take_message").await;
        let greeting = line.greeted(&server).await;
        assert_eq!(line.greeted(&other).await, greeting, "a call that is announced twice is greeted the same");
        let asked = line.say(&server, &greeting, "take a message").await;
        assert_eq!(asked.said, "Gladly. What may I pass on?");

        let both = tokio::join!(line.say(&server, &asked, "It is Grace"), line.say(&other, &asked, "It is Grace"));
        assert_eq!(both.0, both.1);
        // The provider heard otherwise the second time: what was stored counts.
        assert_eq!(line.say(&other, &asked, "It is Graze").await, both.0);
        assert_eq!(
            (line.count("messages").await, line.count("call_turns").await, line.count("calls").await),
            (1, 2, 1)
        );
    });
}

#[test]
fn what_was_said_is_summarised_once_the_call_is_over() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        line.scenario("take a message", "Gladly.", "take_message").await;
        let greeting = line.greeted(&server).await;
        let asked = line.say(&server, &greeting, "take a message").await;
        line.say(&server, &asked, "My name is Grace and I would like to sell my submarine on Tuesday").await;
        for _ in 0..2 {
            assert_eq!(line.hang_up(&server).await, 200);
        }
        until("the summary is there", async || line.count("call_summaries where source = 'extractive'").await == 1)
            .await;
        let service = Service { server: &server, token: w.token(line.tenant, &[Scope::ReadCalls]).await };
        let context = service.get("/v2/context/enriched?user_id=%2B15550001111").await;
        assert!(context.body["summaries"][0]["summary"].as_str().unwrap().contains("submarine"), "{context:?}");
        assert_eq!(line.count("personality_metrics").await, 1);
    });
}

#[test]
fn silence_is_asked_about_and_then_ends_the_call() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        let mut told = line.greeted(&server).await;
        for expected in ["Are you still there?", "Are you still there?", "Thank you for calling."] {
            told = line.send(&server, told.then.as_deref().unwrap(), &[]).await;
            assert!(told.said.starts_with(expected), "{told:?}");
        }
        assert!(told.hangs_up && told.then.is_none());
    });
}

/// Red when `app/voice/turn.rs` keeps its connection while it asks for another: then those that hold one wait for each other.
#[test]
fn more_callers_at_once_than_a_tenant_has_connections_are_all_answered() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        let mut callers = JoinSet::new();
        for _ in 0..24 {
            let call = line.account.call(CALLER, DIALLED);
            let asked = line.account.signed(&server, "/call/turn?turn=1", &call);
            callers.spawn(async move { answer(asked).await.status });
        }
        let all: Vec<u16> = callers.join_all().await;
        assert!(all.iter().all(|status| *status == 200), "{all:?}");
        assert_eq!(line.count("call_turns").await, 24);
    });
}

#[test]
fn what_nobody_knows_leads_to_a_person_or_to_a_message() {
    world(async |w| {
        let server = w.server();
        let mut line = Line::open(&w).await;
        let greeting = line.greeted(&server).await;
        let asked = line.say(&server, &greeting, "Do you sell submarines?").await;
        assert_eq!(asked.said, "I'll connect you with someone who can help. What may I pass on?");

        line.has_a_person(&w).await;
        line.call = line.account.call(CALLER, DIALLED);
        let greeting = line.greeted(&server).await;
        let dialled = line.say(&server, &greeting, "Do you sell submarines?").await;
        assert_eq!((dialled.dials.as_deref(), dialled.then.as_deref()), (Some(PERSON), Some("/call/turn?turn=2")));
        let sorry = line.send(&server, "/call/turn?turn=2", &[("DialCallStatus", "no-answer")]).await;
        assert!(sorry.said.starts_with("I am sorry, nobody is free"), "{sorry:?}");
        assert!(line.say(&server, &sorry, "Call me back").await.said.starts_with("Thank you, I will pass that on."));
        let key = line.send(&server, "/call/turn?turn=4", &[("Digits", "0")]).await;
        assert_eq!(key.dials.as_deref(), Some(PERSON));
        let end = line.send(&server, "/call/turn?turn=5", &[("DialCallStatus", "completed")]).await;
        assert!(end.hangs_up && end.said.is_empty(), "{end:?}");
    });
}

/// Turns red when `person` in `app/voice/script.rs` says `nobody_free` alone: outside of the hours the caller would not hear to leave.
#[test]
fn what_to_do_about_a_smell_of_gas_is_said_at_night_too() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        w.ctl(&["playbook", "clone", "--tenant", &line.tenant.to_string(), "home_services"]).json();
        let closed = json!({ "escalation_number": PERSON, "hours": { "time_zone": "UTC", "weekly": {} } });
        w.configure(line.tenant, &closed).await;
        let greeting = line.greeted(&server).await;
        let told = line.say(&server, &greeting, "I smell gas").await;
        assert!(told.said.starts_with("Please leave the house now"), "{told:?}");
        assert!(told.said.ends_with("nobody is free to talk at the moment. What may I pass on?"), "{told:?}");
        assert_eq!((told.dials.as_deref(), told.then.as_deref()), (None, Some("/call/turn?turn=2")));
    });
}

#[test]
fn a_tenant_that_is_suspended_or_read_only_meanwhile_says_so_or_leaves_no_trace() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        line.teach(&w, &server, "When are you open?", "From eight to six.").await;
        let greeting = line.greeted(&server).await;
        let id = line.tenant.to_string();
        w.ctl(&["tenant", "read-only", &id]).json();
        let told = line.say(&server, &greeting, "When are you open?").await;
        assert_eq!((told.said.as_str(), line.count("call_turns").await), ("From eight to six.", 0));
        w.ctl(&["tenant", "suspend", &id]).json();
        let told = line.say(&server, &told, "When are you open?").await;
        assert!(told.said.starts_with("We are sorry, this number cannot take calls"), "{told:?}");
        assert!(told.hangs_up && told.then.is_none());
    });
}

/// The new owner of a number hears nothing of a call that began with the former one, but goes on with it.
#[test]
fn a_number_that_changes_hands_during_a_call_takes_the_call_along_without_its_past() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        line.scenario("take a message", "Gladly.", "take_message").await;
        let greeting = line.greeted(&server).await;
        let asked = line.say(&server, &greeting, "take a message").await;
        let next = w.tenant("Two", Isolation::Schema).await.id;
        w.assign(DIALLED, next, &line.account).await;
        let told = line.say(&server, &asked, "for the former owner only").await;
        assert!(told.said.starts_with("I'll connect you"), "the words are a question to the new owner: {told:?}");
        assert_eq!(line.count("messages").await, 0);
        let turns: Vec<_> = w.as_tenant(next).await.query("select turn from call_turns", &[]).await.unwrap();
        assert_eq!(turns.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn malformed_turns_are_refused() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        for path in ["/call/turn", "/call/turn?turn=0", "/call/turn?turn=x", "/call/turn?turn=99999999999"] {
            let found = answer(line.account.signed(&server, path, &line.call)).await;
            assert_eq!((found.status, &found.body["code"]), (400, &Value::from("bad_webhook")), "{path}");
        }
        let long = "word ".repeat(20_000);
        let told = line.send(&server, "/call/turn?turn=1", &[("SpeechResult", &long)]).await;
        assert!(told.then.is_some(), "{told:?}");
        let kept: i32 = line.db.query_one("select length(heard) from call_turns", &[]).await.unwrap().get(0);
        assert!(kept <= 2000);
        let odd = line.send(&server, "/call/turn?turn=2", &[("SpeechResult", "a\u{0}b<Hangup/>")]).await;
        assert!(!odd.hangs_up, "{odd:?}");
    });
}
