//! `playbook` killed at every statement.

use std::path::Path;

use strowger::control::clusters::Isolation;

use super::is_sound;
use super::tapped::{Tapped, deaths, in_lanes};

fn file(dir: &Path, name: &str, reply: &str) -> String {
    let text = format!(
        "name = '{name}'\n[[scenarios]]\nkey = 'hours'\nname = 'Hours'\ncategory = 'c'\nphrases = ['when are you open']\nreplies = ['{reply}']\n"
    );
    let path = dir.join(format!("{name}-{reply}.toml"));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn killed_import_and_publish_are_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let (_, statements) = tapped.run(&["playbook", "import", &file(&w.dir, "first", "a")]).await;
        let (_, publishing) = tapped.run(&["playbook", "publish", "first"]).await;
        for (n, (at, moment)) in deaths(statements.max(publishing), lane).enumerate() {
            let name = format!("p{n}");
            let (import, publish) = (file(&w.dir, &name, "a"), ["playbook", "publish", &name]);
            if at <= statements {
                tapped.stop(at, moment, &["playbook", "import", &import]).await;
            }
            let (found, _) = tapped.run(&["playbook", "import", &import]).await;
            assert_eq!((&found["version"], &found["state"]), (&1.into(), &"draft".into()), "{moment:?} {at}");
            if at <= publishing {
                tapped.stop(at, moment, &publish).await;
            }
            let (found, _) = tapped.run(&publish).await;
            assert_eq!((&found["version"], &found["state"]), (&1.into(), &"published".into()), "{moment:?} {at}");
        }
        println!("playbook import, publish: killed at each of {statements} and {publishing} statements ({lane:?})");
        is_sound(&w);
    });
}

#[test]
fn a_killed_update_has_happened_or_not() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let id = w.tenant("One", Isolation::Schema).await.id;
        let tenant = id.to_string();
        for reply in ["a", "b"] {
            w.ctl(&["playbook", "import", &file(&w.dir, "trade", reply)]).json();
            w.ctl(&["playbook", "publish", "trade"]).json();
        }
        w.ctl(&["playbook", "clone", "--tenant", &tenant, "trade", "--version", "1"]).json();
        let to = |version| ["playbook", "update", "--tenant", &tenant, "--version", version];
        let (_, statements) = tapped.run(&to("2")).await;
        let db = w.as_tenant(id).await;
        for (at, moment) in deaths(statements, lane) {
            w.ctl(&to("1")).json();
            tapped.stop(at, moment, &to("2")).await;
            let sql = "select (select version from cloned_from), replies[1] from scenarios";
            let row = db.query_one(sql, &[]).await.unwrap();
            let found: (i32, String) = (row.get(0), row.get(1));
            assert!([(1, "a".to_owned()), (2, "b".to_owned())].contains(&found), "{moment:?} {at}: {found:?}");
            tapped.run(&to("2")).await;
            let row = db.query_one(sql, &[]).await.unwrap();
            assert_eq!((row.get(0), row.get(1)), (2, "b".to_owned()), "{moment:?} {at}");
        }
        println!("playbook update: killed at each of {statements} statements ({lane:?})");
        is_sound(&w);
    });
}
