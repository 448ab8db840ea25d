//! The example of the provisioner's crate documentation, word for word.

#[expect(dead_code, reason = "the test calls what `main` calls")]
#[path = "../../provisioner/examples/library.rs"]
mod example;

use crate::support::world;

#[test]
fn a_program_makes_a_tenant_and_reaches_it() {
    world(async |w| {
        assert_eq!(example::run(&w.dir).await.unwrap(), "Prefers Spanish.");
        assert_eq!(example::run(&w.dir).await.unwrap(), "Prefers Spanish.", "run again: the same tenant");
        let made = w.ctl(&["tenant", "list"]).json();
        assert_eq!((made.as_array().unwrap().len(), &made[0]["state"]), (1, &serde_json::json!("active")));
    });
}
