//! What lies in a store and the catalogue does not know: told, and deleted if it is ours.

use std::process::Command;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;

use super::{back_up, lying, store};
use crate::support::{S3, World, world};

/// As if all that lies there had been written so long ago.
fn age(w: &World) {
    let touch = ["-exec", "touch", "-d", "2 days ago", "{}", "+"];
    assert!(Command::new("find").arg(store(w)).args(touch).status().unwrap().success());
}

/// What each stray is, whose, and its id; in the order in which they are told.
fn told(strays: &Value) -> Vec<(&str, &Value, &str)> {
    let all = strays.as_array().unwrap().iter();
    all.map(|stray| (stray["is"].as_str().unwrap(), &stray["customer_id"], stray["id"].as_str().unwrap())).collect()
}

fn found(ran: &str) -> Vec<String> {
    let found: Value = serde_json::from_str(ran).unwrap();
    found.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Turns red when what is young counts, or what our ring does not open is deleted; or when a backup that has its row does.
#[test]
fn what_no_row_knows_in_a_folder_is_told_and_deleted() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        w.ctl(&["platform", "set", "backups_to", store(&w).to_str().unwrap()]).json();
        assert_eq!(found(&w.ctl(&["doctor"]).stdout), [""; 0], "nothing was ever written there");
        let [kept, lost] = [(); 2].map(|()| back_up(&w, &tenant)["id"].as_str().unwrap().to_owned());
        let control = crate::jobs::control(&w).await;
        control.batch_execute(&format!("delete from backups where id = '{lost}'")).await.unwrap();
        let [part, foreign, young] = [(); 3].map(|()| uuid::Uuid::new_v4().to_string());
        let put = |name: &str, file: &str, text: &str| {
            std::fs::create_dir_all(store(&w).join(name)).unwrap();
            std::fs::write(store(&w).join(name).join(file), text).unwrap();
        };
        put(&format!(".{part}"), "data", "half");
        put(&foreign, "manifest", "{}");
        put("notes", "data", "an operator's");
        let strays = |more: &[&str]| w.ctl(&[&["backup", "strays"], more].concat()).json();
        assert_eq!(strays(&[]), json!([]), "all of it is young");

        age(&w);
        put(&format!(".{young}"), "data", "half");
        let all = strays(&["--in", store(&w).to_str().unwrap()]);
        let ours = [("backup", &json!(1), lost.as_str()), ("part", &Value::Null, part.as_str())];
        assert_eq!(told(&all), [&ours[..], &[("foreign", &Value::Null, foreign.as_str())]].concat());
        assert_eq!(found(&w.ctl(&["doctor"]).stdout), ["backup.stray"; 2]);
        assert_eq!(lying(&w).len(), 6, "looking changes nothing");

        assert_eq!(told(&strays(&["--delete"])), ours);
        let mut left = [kept.clone(), foreign, "notes".into(), format!(".{young}")];
        left.sort_unstable();
        assert_eq!(lying(&w), left);
        w.ctl(&["doctor"]).json();
        w.ctl(&["backup", "verify", &kept]).json();
        w.ctl(&["audit", "verify"]).json();

        // What is not mounted is not empty.
        std::fs::rename(store(&w), w.dir.join("elsewhere")).unwrap();
        let away = w.ctl(&["backup", "strays"]);
        assert_eq!((away.code, away.stderr.contains("mounted")), (Some(4), true), "{}", away.stderr);
    });
}

/// Turns red when the prefix is not minded, or an upload that never got its manifest is not looked for.
#[test]
fn what_no_row_knows_in_a_bucket_is_told_and_deleted() {
    world(async |w| {
        let mut s3 = S3::start();
        let environment = s3.environment(s3.port);
        let ctl = |args: &[&str]| w.ctl_in(&environment, args, "");
        w.tenant("One", Isolation::Schema).await;
        ctl(&["platform", "set", "backups_to", "s3://backups/nightly"]).json();
        let [kept, lost] = [(); 2].map(|()| {
            let made = ctl(&["backup", "create", "--tenant", "1"]).json();
            made[0]["id"].as_str().unwrap().to_owned()
        });
        let control = crate::jobs::control(&w).await;
        control.batch_execute(&format!("delete from backups where id = '{lost}'")).await.unwrap();
        let [part, elsewhere] = [(); 2].map(|()| uuid::Uuid::new_v4().to_string());
        s3.put(&format!("nightly/{part}/data"), b"half");
        s3.put(&format!("weekly/{elsewhere}/data"), b"half");
        assert_eq!(ctl(&["backup", "strays"]).json(), json!([]), "all of it is young");

        s3.age();
        let ours = [("backup", &json!(1), lost.as_str()), ("part", &Value::Null, part.as_str())];
        assert_eq!(told(&ctl(&["backup", "strays"]).json()), ours);
        assert_eq!(found(&ctl(&["doctor"]).stdout), ["backup.stray"; 2]);
        assert_eq!(told(&ctl(&["backup", "strays", "--delete"]).json()), ours);
        let left = [".strowger-backups".to_owned(), format!("{kept}/data"), format!("{kept}/manifest")];
        let mut left = left.map(|name| format!("nightly/{name}")).to_vec();
        left.push(format!("weekly/{elsewhere}/data"));
        assert_eq!(s3.keys(), left);
        ctl(&["doctor"]).json();

        // Who may not look says so, and finds nothing else.
        let secret = ("AWS_SECRET_ACCESS_KEY", "another".to_owned());
        let refused = w.ctl_in(&[&environment[..], &[secret]].concat(), &["doctor"], "");
        assert_eq!(found(&refused.stdout), ["backup.unreadable"], "{}", refused.stderr);
    });
}
