//! An embedded installation in a data folder of its own, and a running `strowgerctl up`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio_postgres::Client;

use super::{Ran, postmaster, run, signal, strowgerctl, until};

/// A data folder; what still runs in it is ended when the test is over.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("strowger-{name}-{}", std::process::id()));
        assert!(!dir.exists());
        Self(dir)
    }

    pub(crate) fn ctl(&self, args: &[&str], stdin: &str) -> Ran {
        let all: Vec<&str> = ["--data", self.path()].into_iter().chain(args.iter().copied()).collect();
        run(&all, stdin)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
        self.ctl(&all, "").json()
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Process ids of the clusters that run.
    pub(crate) fn postmasters(&self) -> Vec<u32> {
        ["control", "shared", "dedicated"].iter().filter_map(|name| self.postmaster(name)).collect()
    }

    pub(crate) fn postmaster(&self, name: &str) -> Option<u32> {
        postmaster::pid(&self.cluster(name))
    }

    pub(crate) fn cluster(&self, name: &str) -> PathBuf {
        self.0.join("postgres").join(name)
    }

    /// Stops one cluster as its operator would, and waits until it is down.
    pub(crate) async fn stop(&self, name: &str) {
        signal(self.postmaster(name).unwrap(), "INT");
        until("the cluster is down", async || self.postmaster(name).is_none()).await;
    }

    /// Starts it again as it was started before.
    pub(crate) fn start(&self, name: &str) {
        postmaster::start(&self.cluster(name));
    }

    /// A superuser of one of its clusters.
    pub(crate) async fn superuser(&self, name: &str, database: &str) -> Client {
        let read = |path: &str| std::fs::read_to_string(self.0.join(path)).unwrap();
        let port = read(&format!("postgres/{name}/strowger.port"));
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port.trim().parse().unwrap()).dbname(database);
        config.user("postgres").password(read("keys/superuser-password"));
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// A new tenant, and a token to read its memories with.
    pub(crate) fn tenant(&self, name: &str, isolation: &str) -> String {
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
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) base_url: String,
}

impl Up {
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Folder, extra: &[&str]) -> Self {
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

    pub(crate) async fn is_alive(&self) -> bool {
        reqwest::get(format!("{}/readyz", self.base_url)).await.is_ok_and(|answer| answer.status() == 200)
    }
}

impl Up {
    /// The status of a read, and the code of its refusal.
    pub(crate) async fn read(&self, token: &str) -> (u16, String) {
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
