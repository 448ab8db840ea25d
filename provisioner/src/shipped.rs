//! The profile templates of `ops/profiles/`, which every installation begins with.

use strowger::control::{Actor, Control, profiles};
use strowger::profile::Template;

use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/profile_files.rs"));

/// Imports those that are not there. One of the same name is an operator's own, and stays.
pub(crate) async fn import(control: &Control, actor: &Actor) -> Result<()> {
    let mut missing = Vec::new();
    for (file, text) in PROFILE_FILES {
        let read = Template::parse(text).map_err(|e| Error::Conflict(format!("ops/profiles/{file}: {e}")))?;
        if profiles::get(control, read.name()).await?.is_none() {
            missing.push(read);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut change = control.change(actor).await?;
    for template in &missing {
        profiles::put(&mut change, template).await?;
    }
    Ok(change.commit().await?)
}
