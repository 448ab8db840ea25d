//! How calls end: promised to be processed whatever state their tenant is in, and with the last words that were said.

use serde_json::{Value, json};

use super::{CALLER, DIALLED, Line};
use crate::failures::through_proxy;
use crate::support::model_stub::{Failing, ModelStub};
use crate::support::{Server, World, until, world};

impl Line {
    /// A new call in which something was said.
    async fn talk(&mut self, server: &Server, said: &str) {
        self.call = self.account.call(CALLER, DIALLED);
        let greeting = self.greeted(server).await;
        self.say(server, &greeting, said).await;
    }

    async fn is_held(&self, w: &World, held: bool) {
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let sql = "update placements set held = $2, generation = generation + 1 where tenant_id = $1";
        control.execute(sql, &[&i32::from(self.tenant), &held]).await.unwrap();
        w.with.settle().await.unwrap();
    }

    async fn summaries_of(&self, word: &str) -> i64 {
        self.count(&format!("call_summaries where source = 'extractive' and summary like '%{word}%'")).await
    }
}

fn work(w: &World) -> Vec<Value> {
    w.ctl(&["work", "list"]).json().as_array().unwrap().clone()
}

/// Turns red when `status` in `app/voice/mod.rs` refuses in one of these states, or promises without `ended`: the call stays open then.
#[test]
fn a_call_that_ends_while_its_tenant_takes_no_writes_is_processed_when_it_does() {
    world(async |w| {
        let server = w.server();
        let mut line = Line::open(&w).await;
        let id = line.tenant.to_string();
        for (n, (state, word)) in
            [("held", "accordion"), ("read-only", "harmonica"), ("suspend", "ukulele")].into_iter().enumerate()
        {
            line.talk(&server, &format!("Please repair my {word} on Tuesday")).await;
            match state {
                "held" => line.is_held(&w, true).await,
                state => drop(w.ctl(&["tenant", state, &id]).json()),
            }
            assert_eq!(line.hang_up(&server).await, 200, "{state}");
            assert_eq!(line.hang_up(&server).await, 200, "{state}, said twice");
            let all = work(&w);
            assert_eq!((all.len(), &all[0]["state"]), (n + 1, &json!("queued")), "{state}: {all:?}");
            match state {
                "held" => line.is_held(&w, false).await,
                _ => drop(w.ctl(&["tenant", "resume", &id]).json()),
            }
            // A suspension has ended every session of the tenant's, ours too.
            line.db = w.as_tenant(line.tenant).await;
            until("the call is processed", async || line.summaries_of(word).await == 1).await;
            let open = "calls where status <> 'completed' or duration_seconds is distinct from 40";
            assert_eq!(line.count(open).await, 0, "{state}");
        }

        // What left no trace has nothing to be processed.
        w.ctl(&["tenant", "read-only", &id]).json();
        line.talk(&server, "Please repair my tuba on Tuesday").await;
        assert_eq!(line.hang_up(&server).await, 200);
        assert_eq!(work(&w).len(), 3);
    });
}

/// Turns red when `status` in `app/voice/mod.rs` refuses instead of promising, and when an attempt that finds the database away is
/// `Ended::Later`: the item would be dead.
#[test]
fn a_call_that_ends_while_its_tenants_database_is_away_is_processed_when_that_is_back() {
    world(async |w| {
        let mut line = Line::open(&w).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let due = async |more: &str| {
            let sql = format!("update work_items set not_before = now() {more} where state = 'queued'");
            until("the item waits", async || control.execute(&sql, &[]).await.unwrap() == 1).await;
        };
        let proxy = through_proxy(&w, "shared").await;
        let server = w.server();
        line.talk(&server, "Please repair my accordion on Tuesday").await;
        proxy.cut();
        assert_eq!(line.hang_up(&server).await, 200);
        assert_eq!(line.hang_up(&server).await, 200, "said twice");
        let failed = async || {
            let all = work(&w);
            all.len() == 1 && all[0]["state"] == "queued" && all[0]["reason"].to_string().contains("does not answer")
        };
        until("it has failed", failed).await;
        // It would be the last of its attempts, if anything else failed.
        due(", attempts = 9, reason = null").await;
        until("it has failed again", failed).await;
        proxy.mend();
        due("").await;
        until("the call is processed", async || line.summaries_of("accordion").await == 1).await;

        // A database that is there and does not come to it. This waits for the lock as long as a statement of the tenant's may.
        line.talk(&server, "Please repair my harmonica on Tuesday").await;
        line.db.batch_execute("begin; lock table calls in access exclusive mode").await.unwrap();
        assert_eq!(line.hang_up(&server).await, 200);
        line.db.batch_execute("rollback").await.unwrap();
        until("the call is processed", async || line.summaries_of("harmonica").await == 1).await;
        assert_eq!(line.count("calls where status = 'completed' and duration_seconds = 40").await, 2);
        assert_eq!(line.count("call_summaries").await, 2);
    });
}

/// Turns red when the statement of `save` in `tenant/turns.rs` promises nothing of a late turn; when `process_call` is told that what was
/// stored `Stays`; when `replace` in `tenant/summaries.rs` counts the call once more.
#[test]
fn last_words_that_are_stored_after_the_call_was_processed_are_in_its_summary() {
    world(async |w| {
        let (server, stub) = (w.server(), ModelStub::start().await);
        let mut line = Line::open(&w).await;
        line.has_a_model(&w, &stub).await;
        line.talk(&server, "Do you sell submarines?").await;
        stub.asked();
        stub.fail(&[Failing::Held]);
        let last_words = [("SpeechResult", "It is urgent, please repair my accordion on Tuesday")];
        let last = line.send(&server, "/call/turn?turn=2", &last_words);
        let hanging_up = async {
            until("the model is asked", async || !stub.asked().is_empty()).await;
            assert_eq!(line.hang_up(&server).await, 200);
            until("the call is processed", async || line.summaries_of("submarines").await == 1).await;
            assert_eq!(line.summaries_of("accordion").await, 0);
            stub.release();
        };
        tokio::join!(last, hanging_up);
        until("it is processed anew", async || line.summaries_of("accordion").await == 1).await;
        let sql = "select (select count(*) from call_summaries), (select count(*) from personality_metrics), a.calls,
                          m.metrics = a.averages, (a.averages ->> 'urgency')::float8 > 0
                   from personality_averages a, personality_metrics m";
        let row = line.db.query_one(sql, &[]).await.unwrap();
        let (summaries, measured, calls): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((summaries, measured, calls), (1, 1, 1), "it counts once");
        assert!(row.get::<_, bool>(3), "the average of one call is what was measured in it");
        assert!(row.get::<_, bool>(4), "measured anew, with the last words");
        assert_eq!(line.count("outbox").await, 0);
        assert_eq!(line.count("call_turns").await, 2);
    });
}
