//! What ends a tenant, and what is left to show for it.

use std::io::Write as _;

use serde_json::{Value, json};
use strowger::id::TenantId;

use super::args::Copies;
use crate::Provisioner;
use crate::erase::{self, NewCopy};
use crate::error::{Error, Result};

pub(super) async fn erase(
    with: &Provisioner,
    id: TenantId,
    now: bool,
    confirm: Option<TenantId>,
    reason: &str,
) -> Result<Value> {
    if confirm.is_some_and(|confirmed| confirmed != id) {
        return Err(Error::Conflict(format!("--confirm must say {id} once more: nothing was changed")));
    }
    erase::erase(with, id, now, reason).await
}

/// The receipt byte for byte.
pub(super) async fn receipt(with: &Provisioner, id: TenantId) -> Result<()> {
    let text = erase::receipt(with, id).await?;
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::io("print"))
}

pub(super) async fn on_copies(with: &Provisioner, command: &Copies) -> Result<Value> {
    match command {
        Copies::Add { cluster, kind, location, kept, .. } => {
            let new = NewCopy { cluster: cluster.as_deref(), kind, location, kept_s: *kept };
            erase::add_copy(with, &new).await?;
        }
        Copies::Remove { id } => erase::remove_copy(with, *id).await?,
        Copies::List => {}
    }
    Ok(json!(erase::copies(with).await?))
}
