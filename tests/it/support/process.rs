//! Our own programs as real processes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use reqwest::{Client, Method, RequestBuilder};

/// A running `strowger`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) base_url: String,
    log: Arc<Mutex<String>>,
    client: Client,
}

impl Server {
    /// Starts one on a free port, with the configuration file of a world.
    pub(super) fn start(config: &Path, extra: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_strowger"))
            .arg("--config")
            .arg(config)
            .args(["--listen", "127.0.0.1:0"])
            .args(extra)
            .env("STROWGER_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (into, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = into.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(base_url) = line.trim().strip_prefix("listening on ") else {
            panic!("the server did not start: {}", log.lock().unwrap());
        };
        Self { base_url: base_url.to_owned(), child, log, client: Client::new() }
    }

    /// A request to it.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// What it has logged so far, one JSON object a line.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What it has logged of everything up to now. A request of our own marks the end.
    pub(crate) async fn settled_log(&self) -> String {
        let answer = self.get("/healthz").send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        super::until("the last request is logged", async || self.log().contains(id)).await;
        self.log()
    }

    /// Nothing went wrong on our side in more than `least` requests, and all of them were logged.
    pub(crate) async fn assert_calm(&self, least: usize) {
        let log = self.settled_log().await;
        assert!(log.matches("\"message\":\"request\"").count() > least, "the control: requests are logged");
        for bad in ["panicked", "\"level\":\"ERROR\"", "\"status\":5"] {
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(bad)).collect();
            assert!(lines.is_empty(), "{bad}: {lines:#?}");
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and wait for the end.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        signal(self.pid(), "TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name. A shell has `kill` built in; a bare machine has no program of that name.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap().success());
}

/// What a `strowgerctl` run came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Its JSON result; it must have succeeded.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// `strowgerctl`, built beside `strowger` by `./test`.
pub(crate) fn strowgerctl() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_strowger")).with_file_name("strowgerctl")
}

/// Runs `strowgerctl` to its end.
pub(crate) fn run(args: &[&str], stdin: &str) -> Ran {
    run_in(&[], args, stdin)
}

/// The same, with more in its environment.
pub(crate) fn run_in(environment: &[(&str, String)], args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(strowgerctl())
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strowgerctl is built: run the tests with ./test");
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut errors = child.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        errors.read_to_string(&mut stderr).unwrap();
        stderr
    });
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let code = child.wait().unwrap().code();
    Ran { code, stdout, stderr: reading.join().unwrap() }
}
