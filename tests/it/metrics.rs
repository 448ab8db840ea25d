//! What a worker shows to Prometheus.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use strowger::control::clusters::Isolation;
use strowger::control::figures::FAMILIES;

use crate::jobs::control;
use crate::support::{World, strowgerctl, world};

/// A real worker that shows figures on a free port. Killed when dropped.
pub(crate) struct Shown {
    child: Child,
    url: String,
}

impl Shown {
    pub(crate) fn start(w: &World) -> Self {
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["worker", "--metrics", "127.0.0.1:0"]);
        command.env("STROWGER_LOG_FORMAT", "json").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find(|line| line.contains("metrics are shown")).expect("it says where");
        // Read on, so that the worker never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let port =
            said.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect::<String>();
        Self { child, url: format!("http://127.0.0.1:{port}/metrics") }
    }

    async fn answer(&self) -> reqwest::Response {
        reqwest::get(&self.url).await.unwrap()
    }

    /// The text, or `None` while there is none.
    pub(crate) async fn read(&self) -> Option<String> {
        let answer = self.answer().await;
        if answer.status() == 503 {
            return None;
        }
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Some(answer.text().await.unwrap())
    }

    /// The figures, once they are what is waited for: they are as old as five seconds.
    async fn once(&self, what: &str, holds: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
        for _ in 0..600 {
            match self.read().await.as_deref().map(figures) {
                Some(all) if holds(&all) => return all,
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
        panic!("never: {what}: {:?}", self.read().await);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn figures(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Turns red when the tenants of the schedule for all are counted as those with their own.
#[test]
fn ages_of_backups_and_jobs_are_shown_without_a_tenants_name() {
    world(async |w| {
        let (one, _two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        let shown = Shown::start(&w);
        let text = shown.read().await.unwrap();
        for family in FAMILIES {
            assert!(text.contains(&format!("# TYPE {} gauge\n", family.name)), "{}: {text}", family.name);
        }
        let all = figures(&text);
        assert!(all.keys().all(|name| FAMILIES.iter().any(|f| name.split('{').next() == Some(f.name))), "{text}");
        assert_eq!(
            (all["strowger_tenants{state=\"active\"}"], all["strowger_tenants{state=\"suspended\"}"]),
            (2.0, 0.0)
        );
        let of = |name: &str, schedule: &str| format!("strowger_backup_{name}{{schedule=\"{schedule}\"}}");
        assert_eq!((all[&of("covered_tenants", "all")], all[&of("overdue_tenants", "all")]), (0.0, 0.0));
        assert!(!all.contains_key(&of("oldest_last_good_seconds", "all")), "no backup has no age");

        // One has been backed up two days ago and has a schedule of its own since; the other has never been, and its store is gone.
        let gone = w.dir.join("file");
        std::fs::write(&gone, b"").unwrap();
        w.ctl(&["platform", "set", "backups_to", gone.to_str().unwrap()]).json();
        let to = w.dir.join("backups");
        w.ctl(&["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()]).json();
        w.ctl(&["backup", "schedule", "--all", "--every", "24h"]).json();
        w.ctl(&["backup", "schedule", "--tenant", &one.id.to_string(), "--every", "24h"]).json();
        let long_ago =
            "update backups set started_at = now() - interval '2 days', taken_at = now() - interval '2 days';
             update backup_schedules set created_at = now() - interval '3 days';
             update tenants set created_at = now() - interval '3 days'";
        control(&w).await.batch_execute(long_ago).await.unwrap();
        let failed = "strowger_jobs{state=\"failed\"}";
        let all = shown.once("both are overdue and have failed", |all| {
            all[&of("overdue_tenants", "all")] + all[&of("overdue_tenants", "own")] + all[failed] > 3.5
        });
        let all = all.await;
        let day = 86400.0;
        for (figure, schedule, value) in [
            ("covered_tenants", "all", 1.0),
            ("covered_tenants", "own", 1.0),
            ("never_tenants", "all", 1.0),
            ("never_tenants", "own", 0.0),
            ("due_tenants", "all", 1.0),
            ("overdue_tenants", "own", 1.0),
        ] {
            assert_eq!(all.get(&of(figure, schedule)), Some(&value), "{figure} {schedule}: {all:?}");
        }
        let near = |value: f64, days: f64| (days * day..days * day + 3600.0).contains(&value);
        assert!(near(all[&of("oldest_last_good_seconds", "own")], 2.0), "{all:?}");
        assert!(!all.contains_key(&of("oldest_last_good_seconds", "all")), "{all:?}");
        assert!(near(all[&of("longest_overdue_seconds", "own")], 1.0), "{all:?}");
        assert!(near(all[&of("longest_overdue_seconds", "all")], 3.0), "{all:?}");
        assert_eq!((all["strowger_backups{state=\"complete\"}"], all["strowger_control_reconciling"]), (1.0, 0.0));
        assert!(all["strowger_backups_stored_bytes"] > 100.0);
        assert!(!shown.read().await.unwrap().contains("Two"), "no names");
    });
}

/// Old figures would hide that nobody knows. Turns red when figures are kept for as long as control is away.
#[test]
fn figures_are_not_shown_while_control_does_not_answer() {
    world(async |w| {
        let shown = Shown::start(&w);
        assert!(shown.read().await.is_some());
        let server = w.superuser("control", "postgres").await;
        let name = w.prefix.name("control");
        server.batch_execute(&format!("alter database {name} allow_connections false")).await.unwrap();
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
        server.execute(end, &[&name]).await.unwrap();
        let mut status = 200;
        for _ in 0..600 {
            status = shown.answer().await.status().as_u16();
            if status != 200 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        server.batch_execute(&format!("alter database {name} allow_connections true")).await.unwrap();
        assert_eq!(status, 503);
        shown.once("back again", |all| all["strowger_control_reconciling"] == 0.0).await;
    });
}
