//! What lies in a store and no row of the catalogue knows: left by who was killed while it deleted, or by a control database that was
//! lost.
//!
//! Others may keep their backups in the same store, so a whole one is ours only if our ring opens it. Of what is not whole nobody can tell
//! whose it is, and nobody has use for it once nothing was written to it for a day.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::json;
use strowger::clock::Clock;
use strowger::control::backups as rows;
use strowger::id::TenantId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, format};
use crate::Provisioner;
use crate::error::{Error, Result};

/// What is younger may be somebody's who is at it, or has a row by now.
const YOUNG: time::Duration = time::Duration::DAY;

/// Something in a store that the catalogue does not know.
#[derive(Debug, Serialize)]
pub struct Stray {
    /// The name that it lies under.
    pub id: Uuid,
    /// Where.
    pub store: String,
    /// What it is.
    pub is: Is,
    /// Whose data it holds; known of a whole one of ours only.
    pub customer_id: Option<TenantId>,
    /// Of when.
    #[serde(with = "time::serde::rfc3339::option")]
    pub taken_at: Option<OffsetDateTime>,
    /// How much.
    pub bytes: u64,
    /// When anything of it was last written.
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// What a stray is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// A whole backup, which our ring opens.
    Backup,
    /// Begun or half deleted: no backup.
    Part,
    /// Whole, and our ring does not open it: another installation's, or damaged. It is left alone.
    Foreign,
}

/// All strays of a store; none where no backup was ever written.
pub(crate) async fn strays(with: &Provisioner, store: &Store) -> Result<Vec<Stray>> {
    if !store.is_there().await? {
        return Ok(Vec::new());
    }
    let old = Clock::system().now() - YOUNG;
    // Before the catalogue is asked: a row is there before anything of its backup is, and after.
    let mut lying = store.list().await?;
    lying.retain(|lying| lying.changed_at < old);
    let ids: Vec<Uuid> = lying.iter().map(|lying| lying.id).collect();
    let known: HashSet<Uuid> = rows::known(&with.control, &ids).await?.into_iter().collect();
    let mut strays = Vec::new();
    for lying in lying.into_iter().filter(|lying| !known.contains(&lying.id)) {
        let mut stray = Stray {
            id: lying.id,
            store: store.url(),
            is: Is::Part,
            customer_id: None,
            taken_at: None,
            bytes: lying.bytes,
            changed_at: lying.changed_at,
        };
        if lying.is_whole {
            stray.is = Is::Foreign;
            if let Ok(opened) = format::open(&store.manifest(lying.id).await?, lying.id, &with.server_ring) {
                stray.is = Is::Backup;
                stray.customer_id = Some(opened.manifest.customer_id);
                stray.taken_at = Some(opened.manifest.taken_at);
            }
        }
        strays.push(stray);
    }
    strays.sort_by_key(|stray| (stray.is as u8, stray.changed_at));
    Ok(strays)
}

/// Deletes what is ours of a store's strays and what is no backup; gives those.
pub(crate) async fn delete_strays(with: &Provisioner, store: &Store) -> Result<Vec<Stray>> {
    if with.installation.reconciling {
        let text =
            "the control database was restored and may not know of every backup: `strowgerctl control reconcile` first";
        return Err(Error::Conflict(text.into()));
    }
    let mut gone = strays(with, store).await?;
    gone.retain(|stray| stray.is != Is::Foreign);
    for stray in &gone {
        let mut change = with.control.change(&with.actor).await?;
        let detail =
            json!({ "backup": stray.id, "store": stray.store, "is": stray.is, "customer_id": stray.customer_id });
        change.record("backup.delete_stray", None, detail).await?;
        change.commit().await?;
        store.delete(stray.id).await?;
    }
    Ok(gone)
}
