//! The page of commands in docs/receptionist.md that sets up a business. The bench reads it here too.

use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../../docs/receptionist.md");

/// The commands, as they stand there.
pub(crate) fn commands() -> &'static str {
    let section = GUIDE.split("\n## From nothing to the first call\n").nth(1).unwrap();
    section.split("\n```sh\n").nth(1).unwrap().split("\n```").next().unwrap()
}

/// A shell that carries them out, with a `strowgerctl` that works on the installation of `config`, and a server at `api`.
pub(crate) fn shell(strowgerctl: &Path, config: &Path, api: &str, account: &str) -> Command {
    let path = format!("{}:{}", strowgerctl.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", commands()]).env("PATH", path).env("API", api);
    command.env("STROWGERCTL_CONFIG", config).env_remove("STROWGER_DATA");
    command.env("TWILIO_ACCOUNT_SID", account).env("TWILIO_AUTH_TOKEN", "auth-token-1").env("MODEL_API_KEY", "sk");
    command
}
