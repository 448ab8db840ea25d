//! The server as a child process without the admin ring: the split between the two halves is real here too.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::error::{Error, Result};

/// How it is to serve.
pub(super) struct Serving<'a> {
    /// 0: a free one.
    pub(super) port: u16,
    /// `None`: where it listens.
    pub(super) public_url: Option<&'a str>,
    /// The folder of a word-vector model.
    pub(super) word_vectors: Option<&'a Path>,
    /// Where its log goes; `None`: where ours goes.
    pub(super) log: Option<&'a Path>,
}

/// A running `strowger`. It stops when this is dropped, or when we die.
pub(super) struct Server {
    child: Child,
    /// While this is open the server runs. Apart from the child, because waiting for that would close it.
    stdin: Option<ChildStdin>,
    /// Where it listens, such as `http://127.0.0.1:8080`.
    pub(super) base_url: String,
}

impl Server {
    /// Starts it and waits until it answers.
    pub(super) async fn start(data: &Path, serving: &Serving<'_>) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .arg("--config")
            .arg(data.join("strowger.toml"))
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", serving.port));
        command.arg("--stop-with-parent").process_group(0);
        if let Some(url) = serving.public_url {
            command.args(["--public-url", url]);
        }
        if let Some(folder) = serving.word_vectors {
            command.arg("--word-vectors").arg(folder);
        }
        // It gets its own login and ring from its own file: what our shell says of another installation is not for it, and
        // the key to the backups is not either.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("AWS_") || text.starts_with("STROWGER") && text != "STROWGER_LOG_FORMAT" {
                command.env_remove(&name);
            }
        }
        if let Some(path) = serving.log {
            let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            command.stderr(file.map_err(Error::io(format!("open {}", path.display())))?);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(Error::io("start the server"))?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await.map_err(Error::io("hear from the server"))?;
        }
        match line.trim().strip_prefix("listening on ") {
            Some(url) => Ok(Self { child, stdin, base_url: url.to_owned() }),
            None => {
                let where_to_look = serving.log.map_or_else(|| "above".to_owned(), |path| path.display().to_string());
                Err(Error::Unavailable(format!("the server did not start; its log says why: {where_to_look}")))
            }
        }
    }

    /// Done when it ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> Error {
        let status = self.child.wait().await;
        Error::Unavailable(format!(
            "the server ended unexpectedly: {}",
            status.map_or_else(|e| e.to_string(), |s| s.to_string())
        ))
    }

    /// Lets it drain and end.
    pub(super) async fn stop(mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait().await;
    }
}

/// `strowger` beside us, or on the path.
fn binary() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("strowger")));
    let folders = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&folders).map(|folder| folder.join("strowger")))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Conflict("the program strowger is neither beside strowgerctl nor on the PATH: `cargo build --workspace` makes both".into()))
}
