//! What comes from outside: signals, and on standard input what is too secret for the command line.

use std::io::Read as _;

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
