//! pgBackRest, asked and told.

use std::io::ErrorKind;
use std::process::Stdio;

use serde_json::Value;
use strowger::control::archives::Archive;
use time::OffsetDateTime;
use tokio::process::Command;

use crate::error::{Error, Result};
use crate::postgres::User;

/// A base backup of a whole cluster. Recovery can begin with it for every moment after its end.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BaseBackup {
    /// pgBackRest's name for it.
    pub label: String,
    /// `full`, `diff` or `incr`.
    pub kind: String,
    /// To the second.
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
    /// To the second.
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    /// What it takes in the archive, without what it shares with earlier ones.
    pub stored_bytes: u64,
}

impl BaseBackup {
    /// The first moment that recovery from it can stop at: its end, which is known to the second.
    pub(crate) fn reaches_back_to(&self) -> OffsetDateTime {
        self.ended_at + time::Duration::SECOND
    }
}

/// pgBackRest for one archive, as the user that Postgres runs as, outside our terminal's signals.
pub(crate) fn pgbackrest(archive: &Archive, user: Option<User>) -> Command {
    let mut command = as_user("pgbackrest", user);
    command.arg(format!("--config={}", archive.config)).arg(format!("--stanza={}", archive.stanza));
    command.args(["--log-level-console=off", "--log-level-file=off", "--log-level-stderr=warn"]);
    command
}

/// A program as the user that Postgres runs as, from a folder that user can enter.
pub(crate) fn as_user(program: &str, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C").process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs it to its end; what it printed.
pub(crate) async fn run(mut command: Command, doing: &str) -> Result<Vec<u8>> {
    let out = match command.output().await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(not_installed()),
        out => out.map_err(Error::io(doing))?,
    };
    if out.status.success() {
        return Ok(out.stdout);
    }
    if out.status.code() == Some(127) {
        return Err(not_installed());
    }
    Err(Error::Unavailable(format!("{doing}: pgBackRest says: {}", String::from_utf8_lossy(&out.stderr).trim())))
}

fn not_installed() -> Error {
    Error::Conflict(
        "pgBackRest is not installed on this machine. Install it and run this again: `apt-get install pgbackrest` on Debian and \
         Ubuntu, `brew install pgbackrest` on macOS"
            .into(),
    )
}

/// The base backups that an archive holds, oldest first.
pub(crate) async fn bases(archive: &Archive, user: Option<User>) -> Result<Vec<BaseBackup>> {
    let mut command = pgbackrest(archive, user);
    command.args(["info", "--output=json"]);
    let doing = format!("read the archive of cluster {}", archive.cluster_name);
    let said = run(command, &doing).await?;
    let odd = || Error::Unavailable(format!("{doing}: pgBackRest says something that this build does not understand"));
    let said: Value = serde_json::from_slice(&said).map_err(|_| odd())?;
    let stanza = said.as_array().and_then(|all| all.first()).ok_or_else(odd)?;
    // 2: it is there, and holds no backup yet.
    if !matches!(stanza["status"]["code"].as_i64(), Some(0 | 2)) {
        let why = stanza["status"]["message"].as_str().unwrap_or("unknown");
        return Err(Error::Unavailable(format!("{doing}: pgBackRest says: {why}")));
    }
    let none = Vec::new();
    let listed = stanza["backup"].as_array().unwrap_or(&none).iter();
    let mut all: Vec<BaseBackup> =
        listed.filter(|one| one["error"] != Value::Bool(true)).map(base).collect::<Option<_>>().ok_or_else(odd)?;
    all.sort_by_key(|base| base.ended_at);
    Ok(all)
}

fn base(said: &Value) -> Option<BaseBackup> {
    let moment = |which: &str| OffsetDateTime::from_unix_timestamp(said["timestamp"][which].as_i64()?).ok();
    Some(BaseBackup {
        label: said["label"].as_str()?.to_owned(),
        kind: said["type"].as_str()?.to_owned(),
        began_at: moment("start")?,
        ended_at: moment("stop")?,
        stored_bytes: said["info"]["repository"]["delta"].as_u64().unwrap_or_default(),
    })
}
