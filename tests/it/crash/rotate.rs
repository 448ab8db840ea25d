//! Rotations killed at every statement, under load on a real server: no request fails, whatever is left half done.

use strowger::control::clusters::Isolation;

use super::is_sound;
use super::tapped::{Tapped, deaths, in_more_lanes, one_in};
use crate::rotation::{one_login_is_armed, token};
use crate::support::counting_proxy::Moment;
use crate::support::load::Load;
use crate::support::world;

/// Every third time a repair comes in between, as a worker's might at any moment.
///
/// Turns red when `ensure_roles` disarms whichever login control does not name as the one in use, when `Prepare` makes a second
/// password for a login that is armed already, and when `Switch` does not note who retires.
#[test]
fn killed_rotation_of_a_password_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let id = tenant.id.to_string();
        let rotate = ["rotate", "tenant", &id];
        let server = w.server();
        let load = Load::begin(&[&server], &[token(&w, &tenant).await], 1);
        let (_, statements) = tapped.run(&rotate).await;
        let mut killed = 0;
        for (at, moment) in deaths(statements, lane) {
            load.goes_on(1).await;
            killed += usize::from(tapped.stop_or_end(at, moment, &rotate).await);
            load.goes_on(1).await;
            if at % 3 == 0 {
                w.ctl(&["tenant", "repair", &id]).json();
                load.goes_on(1).await;
            }
            tapped.run(&rotate).await;
            one_login_is_armed(&w, &tenant).await;
        }
        load.end(&format!("rotate tenant, killed {killed} times at {statements} statements ({lane:?})")).await;
        assert!(killed > 30 && killed + 10 > statements, "{killed} of {statements}");
        let jobs = w.ctl(&["job", "list", "--tenant", &id, "--limit", "1000"]).json();
        assert!(jobs.as_array().unwrap().iter().all(|job| job["state"] == "done"), "{jobs}");
        is_sound(&w);
    });
}

/// Turns red when the worker does not claim what a killed command left.
#[test]
fn a_killed_rotation_is_finished_by_a_worker_under_load() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Database).await;
        let id = tenant.id.to_string();
        let rotate = ["rotate", "tenant", &id];
        let servers = [w.server(), w.server()];
        let load = Load::begin(&servers.each_ref(), &[token(&w, &tenant).await], 3);
        let (_, statements) = tapped.run(&rotate).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let mut worker = tapped.spawn(&["worker"]);
        for at in (5..statements).step_by(one_in(7)) {
            load.goes_on(20).await;
            // The worker's own statements are counted too: it is stopped with the command, and another follows.
            worker.kill().await.unwrap();
            tapped.stop_or_end(at, Moment::Unsent, &rotate).await;
            worker = tapped.spawn(&["worker"]);
            let sql = "select not exists (select from jobs where state in ('queued', 'running'))";
            crate::support::until("the worker is done", async || control.query_one(sql, &[]).await.unwrap().get(0))
                .await;
            one_login_is_armed(&w, &tenant).await;
        }
        worker.kill().await.unwrap();
        load.end("rotate tenant, finished by workers").await;
        is_sound(&w);
    });
}

/// Turns red when a rewrapping does not go by what is left to wrap.
#[test]
fn killed_rotation_of_a_master_key_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        w.ctl(&["ring", "add", "s2", "--ring", "server"]).json();
        let rotate = |to: &'static str| ["rotate", "master", "--ring", "server", "--to", to];
        let server = w.server();
        let load = Load::begin(&[&server], &[token(&w, &tenant).await], 1);
        let (_, statements) = tapped.run(&rotate("s2")).await;
        let mut killed = 0;
        for (turn, (at, moment)) in deaths(statements, lane).enumerate() {
            let to = ["s1", "s2"][turn % 2];
            killed += usize::from(tapped.stop_or_end(at, moment, &rotate(to)).await);
            load.goes_on(1).await;
            let (wraps, _) = tapped.run(&rotate(to)).await;
            assert_eq!(
                (&wraps[0]["key"], &wraps[0]["data_keys"], &wraps[1]["data_keys"]),
                (&to.into(), &2.into(), &0.into())
            );
        }
        load.end(&format!("rotate master, killed {killed} times at {statements} statements ({lane:?})")).await;
        assert!(killed > 8 && killed + 10 > statements, "{killed} of {statements}");
        is_sound(&w);
    });
}

#[test]
fn killed_rotation_of_the_provisioners_own_login_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let rotate = ["rotate", "cluster", "shared"];
        let (_, statements) = tapped.run(&rotate).await;
        for (at, moment) in deaths(statements, lane) {
            tapped.stop(at, moment, &rotate).await;
            // Whatever it left: the admin gets in.
            let name = format!("{moment:?} {at}");
            w.tenant(&name, Isolation::Schema).await;
            tapped.run(&rotate).await;
            let db = w.superuser("shared", "postgres").await;
            let sql =
                "select rolname::text from pg_authid where rolname ~ $1 and (rolcanlogin or rolpassword is not null)";
            let armed = db.query(sql, &[&format!("^{}_admin_[ab]$", w.prefix)]).await.unwrap();
            assert_eq!(armed.len(), 1, "{name}");
        }
        println!("rotate cluster: killed at each of {statements} statements ({lane:?})");
        is_sound(&w);
    });
}

/// Whatever is left half done, the former key verifies: nobody's overlap is over.
///
/// Turns red when a key that signs already is added once more when the command is run again, and when the new key is committed without
/// the retirement of the former one.
#[test]
fn killed_rotation_of_the_signing_key_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let rotate = |kid: &str| ["rotate", "signing-key", "--overlap", "1d", "--kid", kid].map(str::to_owned);
        let server = w.server();
        let load = Load::begin(&[&server], &[token(&w, &tenant).await], 1);
        let (first, statements) = tapped.run(&rotate("k0").each_ref().map(String::as_str)).await;
        assert_eq!((&first["kid"], &first["retiring"]), (&"k0".into(), &"ed-1".into()));
        let (mut killed, mut keys) = (0, vec!["ed-1".to_owned(), "k0".to_owned()]);
        for (n, (at, moment)) in deaths(statements, lane).enumerate() {
            let kid = format!("k{}", n + 1);
            let rotate = rotate(&kid);
            let rotate = rotate.each_ref().map(String::as_str);
            killed += usize::from(tapped.stop_or_end(at, moment, &rotate).await);
            load.goes_on(1).await;
            let (now, _) = tapped.run(&rotate).await;
            assert_eq!(now["kid"], kid.as_str(), "{moment:?} {at}");
            load.goes_on(1).await;
            keys.push(kid);
        }
        load.end(&format!("rotate signing-key, killed {killed} times at {statements} statements ({lane:?})")).await;
        assert!(killed > 8 && killed + 10 > statements, "{killed} of {statements}");
        let listed = w.ctl(&["key", "list"]).json();
        let mut kids: Vec<&str> = listed.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        kids.sort_unstable();
        keys.sort_unstable();
        assert_eq!(kids, keys, "each once");
        assert!(listed.as_array().unwrap().iter().all(|key| key["state"] == "active"), "{listed}");
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let sql = "select count(*), count(distinct subject) from jobs where kind = 'retire-key' and state = 'queued'";
        let row = control.query_one(sql, &[]).await.unwrap();
        let retiring = i64::try_from(keys.len()).unwrap() - 1;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (retiring, retiring), "all but the one in use");
        is_sound(&w);
    });
}
