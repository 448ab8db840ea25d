//! What a model is told on the telephone, and what of its answer is said.

use serde_json::json;

use super::{CALLER, Line};
use crate::support::model_stub::{Failing, ModelStub};
use crate::support::world;

/// Turns red when `system` in `app/voice/model.rs` leaves out `about`, or `background` in `app/answers.rs` leaves out one of its parts.
#[test]
fn a_model_answers_where_it_may_and_never_shows_its_failures() {
    world(async |w| {
        let (server, stub) = (w.server(), ModelStub::start().await);
        let line = Line::open(&w).await;
        let remembered = format!(
            "insert into memories (user_id, content) values ('{CALLER}', 'Owns a yellow submarine'), ('+15550002222', 'canary')"
        );
        line.db.batch_execute(&remembered).await.unwrap();
        line.has_a_model(&w, &stub).await;
        // What the business says of itself, and one thing that comes near the question without answering it.
        let closed = json!({ "hours": { "time_zone": "UTC", "weekly": {}, "exceptions": [] } });
        w.configure(line.tenant, &closed).await;
        line.teach(&w, &server, "Do you repair the hulls of yachts in winter?", "Hulls are {companyName}'s trade.")
            .await;
        let about =
            "insert into variables (name, label, value) values ('companyName', 'Company', 'Nemo and Daughters');
                     with renewed as (update knowledge_version set version = gen_random_uuid())
                     insert into scenarios (key, name, phrases, replies, behavior, hook, origin)
                     values ('diving', 'Diving', array['do you give lessons in diving with a snorkel'],
                             array['Lessons begin in May.'], 'Sound like the sea.', 'none', 'custom')";
        line.db.batch_execute(about).await.unwrap();

        stub.say("We do **not** sell them.\nSorry.");
        let greeting = line.greeted(&server).await;
        let question = "Do you sell submarines, for lessons or to see hulls of yachts?";
        let told = line.say(&server, &greeting, question).await;
        assert_eq!(told.said, "We do not sell them. Sorry.");
        let asked = stub.asked();
        let prompt = asked.last().unwrap().body.to_string();
        assert!(prompt.contains("yellow submarine") && prompt.contains(question), "{prompt}");
        assert!(!prompt.contains("canary"), "only what is this caller's: {prompt}");
        for of_the_business in [
            "companyName: Nemo and Daughters",
            "monday closed",
            "Hulls are Nemo and Daughters's trade.",
            "Lessons begin in May. (how to say it: Sound like the sea.)",
        ] {
            assert!(prompt.contains(of_the_business), "{of_the_business}: {prompt}");
        }

        stub.fail(&[Failing::Status(400)]);
        let told = line.say(&server, &told, "And boats?").await;
        assert!(told.said.starts_with("I'll connect you with someone who can help"), "{told:?}");
    });
}
