//! A server that speaks S3, as a process of its own: moto, which checks signatures.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The running server, with a bucket `backups`. Killed when dropped.
pub(crate) struct S3 {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(crate) port: u16,
    key: String,
    secret: String,
}

impl S3 {
    /// Starts it with the Python that `./test` prepared.
    pub(crate) fn start() -> Self {
        let python = std::env::var("STROWGER_TEST_PYTHON").expect("run the tests with ./test: it installs moto");
        let mut child = Command::new(python)
            .args(["-c", include_str!("s3_server.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python with the moto package");
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let (port, key, secret) = serde_json::from_str(&line).expect("moto did not start");
        Self { child, stdin, stdout, port, key, secret }
    }

    /// What a program needs to know to write there; through another port if that stands before it.
    pub(crate) fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
        ]
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.stdin, "{command}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("moto ended")
    }

    /// What lies in the bucket, in order.
    pub(crate) fn keys(&mut self) -> Vec<String> {
        serde_json::from_value(self.ask(&json!(["keys"]))).unwrap()
    }

    /// How many uploads were begun and neither completed nor aborted.
    pub(crate) fn uploads(&mut self) -> i64 {
        self.ask(&json!(["uploads"])).as_i64().unwrap()
    }

    pub(crate) fn get(&mut self, key: &str) -> Vec<u8> {
        STANDARD.decode(self.ask(&json!(["get", key])).as_str().unwrap()).unwrap()
    }

    pub(crate) fn put(&mut self, key: &str, bytes: &[u8]) {
        self.ask(&json!(["put", key, STANDARD.encode(bytes)]));
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.ask(&json!(["delete", key]));
    }

    /// As if everything had been written two days ago.
    pub(crate) fn age(&mut self) {
        self.ask(&json!(["age"]));
    }

    /// Keeps parts of uploads waiting, and whoever reads data.
    pub(crate) fn hold_data(&mut self) {
        self.ask(&json!(["hold data"]));
    }

    /// Until somebody waits.
    pub(crate) fn wait_for_data(&mut self) {
        self.ask(&json!(["wait for data"]));
    }

    pub(crate) fn let_data_go(&mut self) {
        self.ask(&json!(["let data go"]));
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
