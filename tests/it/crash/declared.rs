//! `strowgerctl apply`, killed between and within its changes.

use strowger::control::tenants;
use strowger::control::tenants::State;

use super::is_sound;
use super::tapped::{Tapped, one_in};
use crate::support::counting_proxy::Moment;
use crate::support::world;

/// Each of its changes is swept statement by statement elsewhere; here every ninth is enough to hit all of them and what is between (with
/// `STROWGER_TEST_SWEEPS=whole` it is every one).
///
/// Turns red when a change that was begun is not planned again: a tenant that is being made, a number that is moving.
#[test]
fn killed_apply_is_finished_when_run_again() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        std::fs::write(w.dir.join("token"), "token").unwrap();
        let file = |n: usize| {
            let text = format!(
                "[platform]\nbackups_to = \"/tmp/{n}\"\n
                 [[backup-schedule]]\ntenant = \"{n}\"\nevery = \"1d\"\n
                 [[tenant]]\nname = \"{n}\"\nisolation = \"schema\"\nregion = \"US\"\nstate = \"suspended\"\n
                 [[account]]\nprovider = \"twilio\"\nid = \"AC{n:032}\"\ntenant = \"{n}\"\ntoken = {{ file = \"token\" }}\n
                 [[secret]]\nname = \"key\"\ntenant = \"{n}\"\nvalue = {{ file = \"token\" }}\n
                 [[number]]\nvalue = \"+1800555{n:04}\"\ntenant = \"{n}\"\n"
            );
            let path = w.dir.join(format!("{n}.toml"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (_, statements) = tapped.run(&["apply", "-f", &file(0)]).await;
        for at in (2..=statements).step_by(one_in(9)) {
            let file = file(at);
            tapped.stop(at, Moment::UnderWay, &["apply", "-f", &file]).await;
            tapped.run(&["apply", "-f", &file]).await;
            let (left, _) = tapped.run(&["apply", "-f", &file, "--dry-run"]).await;
            assert_eq!(left["changes"], serde_json::json!([]), "killed at {at} of {statements}");
            let tenant = tenants::find(w.with.control(), &at.to_string()).await.unwrap().unwrap();
            assert_eq!(tenant.state, State::Suspended);
        }
        println!("apply: killed along {statements} statements");
        let open = w.superuser("control", &w.prefix.name("control")).await;
        let sql = "select (select count(*) from jobs where state <> 'done') + (select count(*) from numbers where state <> 'active')";
        assert_eq!(open.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
        is_sound(&w);
    });
}
