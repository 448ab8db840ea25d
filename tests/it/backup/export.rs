//! All of a tenant as CSV, and old backups pruned.

use strowger::control::clusters::Isolation;

use super::filled::fill;
use super::{back_up, content, lying, psql, url_of};
use crate::support::world;

/// psql loads the CSV files into another tenant's tables, and finds there what the first one has.
#[test]
fn an_export_holds_everything() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        fill(&url_of(&one), &one.schema);
        let out = w.dir.join("export");
        let said = w.ctl(&["tenant", "export", "1", "--out", out.to_str().unwrap()]).json();
        let mut load = String::from("set search_path = tenant_2;\n");
        let tables = strowger::schema::tables(strowger::schema::MAX);
        for table in tables.iter().filter(|table| !["identity", "numbers"].contains(*table)) {
            let file = out.join(format!("{table}.csv"));
            let text = std::fs::read_to_string(&file).unwrap();
            let columns = text.lines().next().unwrap();
            load.push_str(&format!("truncate {table} cascade;\n"));
            load.push_str(&format!("\\copy {table} ({columns}) from '{}' with (format csv, header)\n", file.display()));
        }
        psql(&url_of(&two), &["-f", "-"], &load);
        let [there, here] = [&one, &two].map(|tenant| content(&url_of(tenant), &tenant.schema));
        assert!(there == here, "psql reads something else");
        assert_eq!(said["rows"]["calls"], 12);
        assert!(out.join("README.md").exists());
        let again = w.ctl(&["tenant", "export", "1", "--out", out.to_str().unwrap()]);
        assert_eq!(again.code, Some(1), "nothing is written over");
    });
}

#[test]
fn pruning_leaves_the_newest_in_the_store() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let [_, _, last] = [back_up(&w, &tenant), back_up(&w, &tenant), back_up(&w, &tenant)];
        let prune = |more: &[&str]| w.ctl(&[&["backup", "prune", "--daily", "1"], more].concat()).json();
        assert_eq!(prune(&["--dry-run"]).as_array().unwrap().len(), 2);
        assert_eq!(lying(&w).len(), 3);
        assert_eq!(prune(&[]).as_array().unwrap().len(), 2);
        assert_eq!(lying(&w), [last["id"].as_str().unwrap()]);
    });
}

/// Turns red when a backup of an earlier moment counts as one of its day: then it goes, or the one that was made on that day does.
#[test]
fn a_backup_of_an_earlier_moment_stays_and_takes_nobodys_place() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let [first, last, past] = [(); 3].map(|()| back_up(&w, &tenant)["id"].as_str().unwrap().to_owned());
        let control = crate::jobs::control(&w).await;
        let aged = format!(
            "update backups set taken_at = date_trunc('day', now()) - interval '3 days' where id = '{first}';
             update backups set taken_at = date_trunc('day', now()) - interval '3 days' + interval '1 hour' where id = '{past}';
             update backups set moment = taken_at where id = '{past}'"
        );
        control.batch_execute(&aged).await.unwrap();
        let prune = |daily: &str| w.ctl(&["backup", "prune", "--daily", daily]).json();
        assert_eq!(prune("2").as_array().unwrap().len(), 0);
        let gone = prune("1");
        assert_eq!((gone.as_array().unwrap().len(), gone[0]["id"].as_str().unwrap()), (1, first.as_str()));
        let mut left = [last, past];
        left.sort_unstable();
        assert_eq!(lying(&w), left);
    });
}
