//! What comes from outside: who is at the keyboard, signals, and on standard input what is too secret for the command line.

use std::io::Read as _;

use strowger::control::Actor;
use strowger::telemetry::Stop;
use strowger::vault::Secret as Bytes;
use zeroize::Zeroizing;

use crate::bootstrap::Superuser;
use crate::error::{Error, Result};

/// Takes the signals over that would otherwise kill us.
pub(super) fn listen() -> Result<Stop> {
    Stop::listen().map_err(Error::io("take over the signals"))
}

/// What comes on standard input, without the line's end.
pub(super) fn from_stdin(what: &str) -> Result<Bytes> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().read_to_string(&mut text).map_err(Error::io(format!("read {what} from standard input")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::Conflict(format!("{what} is read from standard input, and there was nothing")));
    }
    Ok(Bytes::new(text.as_bytes().to_vec()))
}

pub(super) fn superuser_from_stdin() -> Result<Superuser> {
    let url = from_stdin("the superuser's URL")?;
    Superuser::from_url(url.expose_str().unwrap_or_default())
}

/// The person at the keyboard, for the audit log.
pub(super) fn actor() -> Actor {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into());
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    Actor::operator(&format!("{user}@{}", host.trim()))
}
