//! Who pays for what a model is asked, and how much a day has.

use serde_json::{Value, json};
use strowger::app::model::{Embedded, NoModel, Purpose};

use super::{Desk, WORDS, consent, platform, spent, tenant, usage};
use crate::support::model_stub::{Failing, ModelStub, vector};
use crate::support::world;

#[test]
fn a_tenant_with_its_own_key_pays_itself_and_another_is_paid_for_by_the_platform() {
    world(async |w| {
        let (stub, own) = (ModelStub::start().await, ModelStub::start().await);
        let (one, two) = (tenant(&w, "One").await, tenant(&w, "Two").await);
        platform(&w, &stub);
        let id = one.to_string();
        assert_eq!(w.ctl_with(&["secret", "set", "model.api_key", "--tenant", &id], "sk-one").code, Some(0));
        let desk = Desk::open(&w).await;
        let (first, second) = (desk.who(&w, one).await, desk.who(&w, two).await);

        assert_eq!(desk.chat(&first).await.unwrap(), format!("You said: {WORDS}"));
        assert_eq!(desk.chat(&second).await.unwrap(), format!("You said: {WORDS}"));
        let asked = stub.asked();
        let keys: Vec<&str> = asked.iter().map(|asked| asked.authorization.as_str()).collect();
        assert_eq!(keys, ["Bearer sk-one", "Bearer sk-platform"]);
        let messages = json!([{ "role": "system", "content": "Be kind." }, { "role": "assistant", "content": "Hello" },
                              { "role": "user", "content": WORDS }]);
        assert_eq!(asked[0].path, "/v1/chat/completions");
        assert_eq!(asked[0].body, json!({ "model": "talk-1", "messages": messages, "max_tokens": 50 }));

        let expected = Embedded { model: "vec-1".into(), vectors: vec![vector("ab"), vector("c")] };
        assert_eq!(desk.model.embed(&second, consent(), &["ab", "c"]).await.unwrap(), expected);
        stub.fail(&[Failing::Base64]);
        assert_eq!(desk.model.embed(&second, consent(), &["ab", "c"]).await.unwrap(), expected);
        assert_eq!(stub.asked()[0].body, json!({ "model": "vec-1", "input": ["ab", "c"] }));

        let counted = |of| {
            let line = |row: &Value| {
                [&row["purpose"], &row["paid_by"], &row["calls"], &row["prompt_tokens"]].map(Value::to_string).join(" ")
            };
            usage(&w, of).iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(counted(one), [r#""turn" "tenant" 1 11"#]);
        assert_eq!(counted(two), [r#""embedding" "platform" 2 10"#, r#""turn" "platform" 1 11"#]);
        assert_eq!((spent(&w, one).await, spent(&w, two).await), (18, 28), "reservations are settled");

        // Another base URL, and the same tenant's key goes there at once; the platform's would not.
        w.ctl(&["model", "set", "--tenant", &id, "--base-url", &own.base_url]).json();
        desk.chat(&first).await.unwrap();
        assert_eq!((stub.asked().len(), own.asked()[0].authorization.as_str()), (0, "Bearer sk-one"));
        w.ctl(&["model", "set", "--tenant", &two.to_string(), "--base-url", &own.base_url]).json();
        assert!(matches!(desk.chat(&second).await, Err(NoModel::NotConfigured)));
        assert_eq!(
            (stub.asked().len(), own.asked().len()),
            (0, 0),
            "the platform's key goes to the platform's URL only"
        );
    });
}

#[test]
fn nobody_is_asked_without_settings_leave_or_budget() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        let desk = Desk::open(&w).await;
        let who = desk.who(&w, one).await;
        assert!(matches!(desk.chat(&who).await, Err(NoModel::NotConfigured)), "nothing is set");
        w.ctl(&["model", "set", "--base-url", &stub.base_url, "--chat-model", "talk-1"]).json();
        assert!(matches!(desk.chat(&who).await, Err(NoModel::NotAllowed)), "nobody said yes");
        w.ctl(&["model", "set", "--allow", "yes"]).json();
        assert!(matches!(desk.chat(&who).await, Err(NoModel::NotConfigured)), "no key");
        w.ctl_with(&["secret", "set", "model.api_key"], "sk-platform");
        assert!(
            matches!(desk.model.embed(&who, consent(), &["x"]).await, Err(NoModel::NotConfigured)),
            "no model for vectors"
        );
        let id = one.to_string();
        w.ctl(&["model", "set", "--tenant", &id, "--allow", "no"]).json();
        assert!(matches!(desk.chat(&who).await, Err(NoModel::NotAllowed)), "the tenant says no");
        w.ctl(&["model", "set", "--tenant", &id, "--allow", "yes", "--tokens-per-day", "100"]).json();
        assert!(
            matches!(desk.chat_for(&who, Purpose::Turn, 100).await, Err(NoModel::BudgetSpent)),
            "it could cost more"
        );
        assert_eq!(stub.asked().len(), 0, "nobody was asked so far");
        assert_eq!(spent(&w, one).await, 0);

        assert!(desk.chat(&who).await.is_ok());
        stub.fail(&[Failing::Uncounted]);
        assert!(desk.chat_for(&who, Purpose::Turn, 40).await.is_ok());
        assert!(spent(&w, one).await > 18 + 40, "what was not counted is taken as reserved");
        assert!(matches!(desk.chat_for(&who, Purpose::Turn, 20).await, Err(NoModel::BudgetSpent)));
        assert_eq!(stub.asked().len(), 2);
        w.ctl(&["model", "clear", "--tenant", &id]).json();
        assert!(desk.chat(&who).await.is_ok(), "the platform's word holds again, its limit too");

        w.ctl(&["tenant", "suspend", &id, "--reason", "test"]);
        assert!(
            matches!(desk.chat(&who).await, Err(NoModel::BudgetSpent)),
            "a tenant that is not served spends nothing"
        );
    });
}

/// Turns red when `reserve` in control/usage.rs loses the condition after `on conflict`.
#[test]
fn concurrent_calls_never_spend_more_than_the_day_has() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        platform(&w, &stub);
        let (a, b) = (Desk::open(&w).await, Desk::open(&w).await);
        let (at_a, at_b) = (a.who(&w, one).await, b.who(&w, one).await);
        // Each reserves 81 at first and comes to 18: two at a time, however many try.
        w.ctl(&["model", "set", "--tokens-per-day", "170"]).json();
        stub.fail(&[Failing::Silence, Failing::Silence]);
        let hanging = async {
            let _ = tokio::join!(a.chat(&at_a), b.chat(&at_b));
        };
        let refused = async {
            crate::support::until("both are under way", async || spent(&w, one).await > 120).await;
            (a.chat(&at_a).await, b.chat(&at_b).await)
        };
        let (first, second) = tokio::select! {
            () = hanging => panic!("the silent ones ended first"),
            refused = refused => refused,
        };
        assert!(matches!((first, second), (Err(NoModel::BudgetSpent), Err(NoModel::BudgetSpent))));
        assert_eq!(stub.asked().len(), 2);
    });
}

/// Turns red when `Unsettled` in `app/model.rs` is not settled by being dropped: there is no usage then, and the reservation stays.
#[test]
fn a_call_that_is_given_up_half_way_is_settled_as_if_it_had_cost_all_it_can() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        platform(&w, &stub);
        let desk = Desk::open(&w).await;
        let who = desk.who(&w, one).await;
        stub.fail(&[Failing::Silence]);
        tokio::select! {
            answered = desk.chat(&who) => panic!("the silent one ended: {answered:?}"),
            () = crate::support::until("the model is asked", async || !stub.asked().is_empty()) => {}
        }
        crate::support::until("it is settled", async || !usage(&w, one).is_empty()).await;
        let used = usage(&w, one);
        assert_eq!((&used[0]["calls"], &used[0]["completion_tokens"]), (&json!(1), &json!(50)), "{used:?}");
        let tokens = used[0]["prompt_tokens"].as_i64().unwrap() + 50;
        assert_eq!(spent(&w, one).await, tokens, "what is spent is what was used");
    });
}
