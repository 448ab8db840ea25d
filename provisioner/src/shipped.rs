//! The profile templates and playbooks of `ops/`, which every installation begins with.

use strowger::control::{Actor, Control, playbooks, profiles};
use strowger::playbook::Playbook;
use strowger::profile::Template;

use crate::error::{Error, Result};

include!(concat!(env!("OUT_DIR"), "/profile_files.rs"));
include!(concat!(env!("OUT_DIR"), "/playbook_files.rs"));

/// Imports those that are not there, and publishes the playbooks. One of the same name is an operator's own, and stays.
pub(crate) async fn import(control: &Control, actor: &Actor) -> Result<()> {
    let (mut templates, mut books) = (Vec::new(), Vec::new());
    for (file, text) in PROFILE_FILES {
        let read = Template::parse(text).map_err(|e| Error::Conflict(format!("ops/profiles/{file}: {e}")))?;
        if profiles::get(control, read.name()).await?.is_none() {
            templates.push(read);
        }
    }
    for (file, text) in PLAYBOOK_FILES {
        let read = Playbook::parse(text).map_err(|e| Error::Conflict(format!("ops/playbooks/{file}: {e}")))?;
        if playbooks::get(control, read.name(), None).await?.is_none() {
            books.push(read);
        }
    }
    if templates.is_empty() && books.is_empty() {
        return Ok(());
    }
    let mut change = control.change(actor).await?;
    for template in &templates {
        profiles::put(&mut change, template).await?;
    }
    for book in &books {
        if let Some(version) = playbooks::draft(&mut change, book).await? {
            playbooks::publish(&mut change, book.name(), version).await?;
        }
    }
    Ok(change.commit().await?)
}
