//! Files become drafts, and drafts are published for good.

use super::{BOOK, HOURS, file, import, publish};
use crate::support::{connect, run, world};

#[test]
fn a_draft_is_replaced_until_it_is_published() {
    world(async |w| {
        let (first, second) = (file(&w, "trade", &[HOURS]), file(&w, "trade", &[HOURS, BOOK]));
        let found = import(&w, &first).json();
        assert_eq!((&found["version"], &found["state"]), (&1.into(), &"draft".into()));
        let found = import(&w, &second).json();
        assert_eq!((&found["version"], &found["scenarios"]), (&1.into(), &2.into()), "the draft is replaced");
        for _ in 0..2 {
            let found = w.ctl(&["playbook", "publish", "trade"]).json();
            assert_eq!((&found["version"], &found["state"]), (&1.into(), &"published".into()));
            assert_eq!(import(&w, &second).json()["version"], 1, "what it says already is no next version");
        }
        assert_eq!(import(&w, &first).json()["version"], 2);
        assert_eq!(w.ctl(&["playbook", "publish", "trade", "--version", "3"]).code, Some(3));
        assert_eq!(w.ctl(&["playbook", "publish", "nothing"]).code, Some(3));
        let list = w.ctl(&["playbook", "list"]).json();
        let ours: Vec<_> = list.as_array().unwrap().iter().filter(|row| row["name"] == "trade").collect();
        assert_eq!((ours[0]["state"].as_str(), ours[1]["state"].as_str()), (Some("published"), Some("draft")));
        let shown = w.ctl(&["playbook", "show", "trade", "--version", "1"]).json();
        assert_eq!(shown["authored"], std::fs::read_to_string(&second).unwrap());
        let log = w.ctl(&["audit", "list"]).json();
        let of_ours = |action| {
            let rows = log.as_array().unwrap().iter();
            rows.filter(|row| row["action"] == action && row["detail"]["playbook"] == "trade").count()
        };
        assert_eq!((of_ours("playbook.import"), of_ours("playbook.publish")), (3, 1), "{log}");
    });
}

#[test]
fn a_published_version_never_changes_and_servers_see_no_draft() {
    world(async |w| {
        publish(&w, "trade", &[HOURS]);
        import(&w, &file(&w, "trade", &[BOOK])).json();
        let control = w.superuser("control", &w.prefix.name("control")).await;
        for sql in [
            "update playbooks set content = '{}' where name = 'trade' and version = 1",
            "update playbooks set published_at = null where name = 'trade' and version = 1",
            "delete from playbooks where name = 'trade' and version = 1",
        ] {
            let error = control.batch_execute(sql).await.unwrap_err();
            assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("23001"), "{sql}: {error}");
        }
        let server = connect(&w.urls.server).await.unwrap();
        let sql = "select array_agg(version) from published_playbooks where name = 'trade'";
        assert_eq!(server.query_one(sql, &[]).await.unwrap().get::<_, Vec<i32>>(0), [1]);
        for sql in
            ["select from playbooks", "delete from published_playbooks", "update published_playbooks set about = ''"]
        {
            let error = server.batch_execute(sql).await.unwrap_err();
            assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{sql}: {error}");
        }
    });
}

#[test]
fn a_file_with_faults_is_refused_place_by_place_without_any_database() {
    let text = "name = 'x'\n[[scenarios]]\nkey = 'a'\nname = 'A'\ncategory = 'c'\nphrases = ['Hi', 'hi!']\nreplies = ['{who}']";
    let path = std::env::temp_dir().join(format!("{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, text).unwrap();
    let ran = run(&["playbook", "validate", path.to_str().unwrap()], "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("/scenarios/0/phrases/1: \"hi!\" is claimed by \"a\" too"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/scenarios/0/replies/0: {who} is not defined"), "{}", ran.stderr);
}
