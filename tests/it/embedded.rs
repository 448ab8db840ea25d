//! The embedded default as a new user meets it: `demo` and `up` on a data folder, commands beside them, kills and restarts.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{postmaster, run, signal, strowgerctl, until};

/// A data folder; what still runs in it is ended when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("strowger-{name}-{}", std::process::id()));
        assert!(!dir.exists());
        Self(dir)
    }

    fn ctl(&self, args: &[&str], stdin: &str) -> crate::support::Ran {
        let all: Vec<&str> = ["--data", self.path()].into_iter().chain(args.iter().copied()).collect();
        run(&all, stdin)
    }

    fn json(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        self.ctl(&all, "").json()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Process ids of the clusters that run.
    fn postmasters(&self) -> Vec<u32> {
        ["control", "shared", "dedicated"].iter().filter_map(|name| self.postmaster(name)).collect()
    }

    fn postmaster(&self, name: &str) -> Option<u32> {
        postmaster::pid(&self.cluster(name))
    }

    fn cluster(&self, name: &str) -> PathBuf {
        self.0.join("postgres").join(name)
    }

    /// Stops one cluster as its operator would, and waits until it is down.
    async fn stop(&self, name: &str) {
        signal(self.postmaster(name).unwrap(), "INT");
        until("the cluster is down", async || self.postmaster(name).is_none()).await;
    }

    /// Starts it again as it was started before.
    fn start(&self, name: &str) {
        postmaster::start(&self.cluster(name));
    }

    /// A new tenant, and a token to read its memories with.
    fn tenant(&self, name: &str, isolation: &str) -> String {
        let id = self.json(&["tenant", "create", "--name", name, "--isolation", isolation])["customer_id"].to_string();
        self.ctl(&["token", "mint", "--tenant", &id, "--scope", "read:memories"], "").stdout.trim().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for pid in self.postmasters() {
            signal(pid, "QUIT");
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running `strowgerctl up`.
struct Up {
    child: Child,
    base_url: String,
}

impl Up {
    fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Folder, extra: &[&str]) -> Self {
        let mut child = Command::new(strowgerctl())
            .args(["up", "--data", folder.path(), "--port", "0"])
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base_url = line.trim().strip_prefix("listening on ").expect("up says where it listens").to_owned();
        Self { child, base_url }
    }

    async fn is_alive(&self) -> bool {
        reqwest::get(format!("{}/readyz", self.base_url)).await.is_ok_and(|answer| answer.status() == 200)
    }
}

impl Up {
    /// The status of a read, and the code of its refusal.
    async fn read(&self, token: &str) -> (u16, String) {
        let request = reqwest::Client::new().get(format!("{}/v1/memories", self.base_url)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["code"].as_str().unwrap_or("").to_owned())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_gives_the_same_result_on_the_data_it_left() {
    let folder = Folder::new("demo");
    let demo = || folder.json(&["demo", "--exit"]);
    let (first, second) = (demo(), demo());
    let tenants = first["tenants"].as_array().unwrap();
    assert_eq!(tenants.len(), 3);
    for (one, two) in tenants.iter().zip(second["tenants"].as_array().unwrap()) {
        for field in
            ["customer_id", "name", "number", "cluster", "isolation", "login_role", "said", "refusal", "remembers"]
        {
            assert_eq!(one[field], two[field], "{field}");
        }
    }
    assert!(tenants[0]["refusal"].as_str().unwrap().contains("42501"));
    assert!(tenants.iter().all(|t| !t["said"].as_str().unwrap().contains('{')), "every placeholder is filled");
    assert!(folder.postmasters().is_empty(), "what it started is stopped");

    // Nobody runs it now: a command starts the clusters for itself and stops them.
    assert_eq!(folder.json(&["tenant", "list"]).as_array().unwrap().len(), 3);
    assert!(folder.postmasters().is_empty());
    assert_eq!(
        folder.json(&["demo", "--exit", "--fresh"])["tenants"][2]["customer_id"],
        3,
        "fresh starts from nothing"
    );
}

/// Red when the signals are taken over only once everything runs.
#[tokio::test]
async fn a_first_run_that_is_interrupted_stops_what_it_started_and_is_finished_by_the_next() {
    let folder = Folder::new("interrupted");
    let making = || folder.0.join("postgres").read_dir().is_ok_and(|mut all| all.next().is_some());
    let provisioning = || folder.0.join("running").exists();
    for far_enough in [&making as &dyn Fn() -> bool, &provisioning] {
        let mut demo = Command::new(strowgerctl());
        demo.args(["demo", "--data", folder.path()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut demo = demo.spawn().unwrap();
        until("it is far enough", async || far_enough()).await;
        signal(demo.id(), "INT");
        assert_eq!(demo.wait().unwrap().code(), Some(1));
        assert!(folder.postmasters().is_empty(), "nothing is left running");
    }
    assert_eq!(folder.json(&["demo", "--exit"])["tenants"].as_array().unwrap().len(), 3);
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = Folder::new("foreign");
    std::fs::create_dir(&folder.0).unwrap();
    std::fs::write(folder.0.join("letter"), "dear").unwrap();
    std::fs::write(folder.0.join("lock"), "").unwrap();
    let before = std::fs::metadata(&folder.0).unwrap().mode();
    for args in [["demo", "--exit"].as_slice(), &["demo", "--exit", "--fresh"], &["up"], &["tenant", "list"]] {
        let ran = folder.ctl(args, "");
        assert_eq!(ran.code, Some(3), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(std::fs::metadata(&folder.0).unwrap().mode(), before);
    assert_eq!(std::fs::read_to_string(folder.0.join("letter")).unwrap(), "dear");
}

#[tokio::test]
async fn commands_work_beside_up_which_stops_what_it_started() {
    let folder = Folder::new("up");
    let mut up = Up::start_with(&folder, &["--public-url", "https://calls.example"]);
    assert!(up.is_alive().await);
    assert_eq!(folder.json(&["platform", "show"])["public_url"], "https://calls.example", "for `number buy`");
    let taken = folder.ctl(&["up", "--port", "0"], "");
    assert_eq!((taken.code, taken.stderr.contains("in use")), (Some(3), true), "{}", taken.stderr);

    let id = folder.json(&["tenant", "create", "--name", "One", "--isolation", "schema"])["customer_id"].to_string();
    let account = "AC000000000000000000000000000000aa";
    assert_eq!(folder.ctl(&["account", "add", "--provider", "twilio", "--id", account], "token\n").code, Some(0));
    let assigned = folder.json(&["number", "assign", "+18005550100", "--tenant", &id]);
    assert_eq!(
        (&assigned["instances"], &assigned["acknowledged"]),
        (&1.into(), &1.into()),
        "the running server has heard"
    );
    assert_eq!(folder.ctl(&["secret", "set", "--tenant", &id, "model_key"], "sk-1").code, Some(0));
    assert_eq!(
        folder.ctl(&["secret", "set", "--tenant", &id, "model_key"], "").code,
        Some(3),
        "an empty secret is a mistake"
    );
    assert_eq!(folder.json(&["cluster", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(folder.json(&["number", "list"])[0]["number"], "+18005550100");
    let token = folder.ctl(&["token", "mint", "--tenant", &id, "--scope", "read:memories"], "").stdout;
    let answer = reqwest::Client::new()
        .get(format!("{}/v1/memories", up.base_url))
        .bearer_auth(token.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let url = folder.ctl(&["tenant", "connection", &id], "").stdout;
    let own = crate::support::connect(url.trim()).await.unwrap();
    own.batch_execute("select * from memories").await.expect("the schema is on the login's path");

    signal(up.child.id(), "TERM");
    assert!(up.child.wait().unwrap().success());
    assert!(folder.postmasters().is_empty(), "Postgres is stopped");
}

#[tokio::test]
async fn after_a_kill_the_server_ends_and_up_takes_the_running_postgres_over() {
    let folder = Folder::new("killed");
    let mut up = Up::start(&folder);
    folder.json(&["tenant", "create", "--name", "One", "--isolation", "database"]);
    let before = folder.postmasters();
    assert_eq!(before.len(), 3);
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    until("the orphaned server has ended", async || !up.is_alive().await).await;

    let mut again = Up::start(&folder);
    assert_eq!(folder.postmasters(), before, "the clusters went on");
    assert_eq!(folder.json(&["tenant", "list"])[0]["name"], "One");
    signal(again.child.id(), "INT");
    assert!(again.child.wait().unwrap().success());
    assert!(folder.postmasters().is_empty());
}

#[tokio::test]
async fn a_stopped_cluster_and_a_stopped_control_database_come_back_without_a_restart() {
    let folder = Folder::new("stopped");
    let up = Up::start(&folder);
    let [schema, database, cold] =
        [("A", "schema"), ("B", "database"), ("C", "database")].map(|(n, i)| folder.tenant(n, i));
    let served = (200, String::new());
    for warm in [&schema, &database] {
        assert_eq!(up.read(warm).await, served);
    }

    folder.stop("shared").await;
    assert_eq!(up.read(&schema).await, (503, "tenant_database_unavailable".to_owned()));
    assert_eq!(up.read(&database).await, served, "the other cluster's tenants notice nothing");
    folder.start("shared");
    until("the cluster's tenant is served again", async || up.read(&schema).await == served).await;

    folder.stop("control").await;
    for warm in [&schema, &database] {
        assert_eq!(up.read(warm).await, served, "warm tenants go on");
    }
    assert_eq!(up.read(&cold).await, (503, "control_unavailable".to_owned()), "a cold one is refused by name");
    assert!(!up.is_alive().await, "not ready, says /readyz");
    folder.start("control");
    until("cold tenants are served again", async || up.read(&cold).await == served).await;
}

/// Clusters and the control database go away and come back while a worker carries jobs out: each job ends as it was meant to.
///
/// Turns red when an attempt that could not reach a database is the last one, or when a worker does not outlive its connections.
#[tokio::test]
async fn restarts_of_every_database_leave_nothing_half_done() {
    let folder = Folder::new("restarts");
    let _up = Up::start(&folder);
    let [read_only, suspended, rotated, deleted, erased] =
        ["Read", "Suspend", "Rotate", "Delete", "Erase"].map(|name| {
            folder.json(&["tenant", "create", "--name", name, "--isolation", "schema"])["customer_id"].to_string()
        });
    folder.stop("shared").await;
    folder.stop("dedicated").await;
    for n in 0..2 {
        for isolation in ["schema", "database"] {
            folder.json(&[
                "tenant",
                "create",
                "--name",
                &format!("{isolation} {n}"),
                "--isolation",
                isolation,
                "--no-wait",
            ]);
        }
    }
    folder.json(&["tenant", "read-only", &read_only, "--no-wait"]);
    folder.json(&["tenant", "suspend", &suspended, "--no-wait"]);
    folder.json(&["rotate", "tenant", &rotated, "--no-wait"]);
    folder.json(&["tenant", "delete", &deleted, "--no-wait"]);
    folder.json(&["tenant", "erase", &erased, "--now", "--confirm", &erased, "--no-wait"]);
    folder.start("shared");
    folder.start("dedicated");
    for _ in 0..3 {
        for name in ["control", "shared", "dedicated"] {
            folder.stop(name).await;
            folder.start(name);
        }
    }
    until("the control database answers", async || folder.ctl(&["job", "list"], "").code == Some(0)).await;
    let open = || {
        let jobs = folder.json(&["job", "list"]);
        // The deleted tenant's erasure waits for the end of its grace.
        let later = |job: &Value| {
            job["kind"] == "erase" && job["state"] == "queued" && job["subject"] == format!("tenant {deleted}")
        };
        jobs.as_array().unwrap().iter().filter(|job| job["state"] != "done" && !later(job)).cloned().collect::<Vec<_>>()
    };
    // A claim whose answer was lost is claimed again when its lease ends: half a minute.
    for _ in 0..1200 {
        if open().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(open(), Vec::<Value>::new(), "the worker goes on by itself");
    let tenants = folder.json(&["tenant", "list"]);
    let states: Vec<&str> = tenants.as_array().unwrap().iter().map(|t| t["state"].as_str().unwrap()).collect();
    let expected = ["read_only", "suspended", "active", "deleted", "active", "active", "active", "active"];
    assert_eq!(states, expected, "the erased one is gone from the list");
    for sound in [&["doctor"][..], &["audit", "verify"]] {
        let ran = folder.ctl(sound, "");
        assert_eq!(ran.code, Some(0), "{sound:?}: {}{}", ran.stdout, ran.stderr);
    }
}
