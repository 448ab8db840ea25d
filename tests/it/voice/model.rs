//! What a model is told on the telephone, and what of its answer is said.

use super::{CALLER, Line};
use crate::support::model_stub::{Failing, ModelStub};
use crate::support::world;

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

        stub.say("We do **not** sell them.\nSorry.");
        let greeting = line.greeted(&server).await;
        let question = "Do you sell submarines?";
        let told = line.say(&server, &greeting, question).await;
        assert_eq!(told.said, "We do not sell them. Sorry.");
        let asked = stub.asked();
        let prompt = asked.last().unwrap().body.to_string();
        assert!(prompt.contains("yellow submarine") && prompt.contains(question), "{prompt}");
        assert!(!prompt.contains("canary"), "only what is this caller's: {prompt}");

        stub.fail(&[Failing::Status(400)]);
        let told = line.say(&server, &told, "And boats?").await;
        assert!(told.said.starts_with("I'll connect you with someone who can help"), "{told:?}");
    });
}
