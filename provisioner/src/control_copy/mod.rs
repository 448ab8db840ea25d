//! The control database copied as a file, and made again from one after it was lost.
//!
//! An old copy is wrong about what happened since, and the clusters are not: each tenant's own schema says whose it is, which numbers
//! it owns and which epoch its data has. So a restored control database serves nobody. The server's login may read nothing in it, no
//! tenant's login works, and that ends only when [`reconcile`] has corrected it by what the clusters say and the doctor finds nothing.
//!
//! What a newcomer gets wrong: what is absent is not proof of an erasure. A tenant is taken for erased only if no cluster has
//! anything of it and no backup that was known is there: an erasure leaves neither.

mod dump;
mod file;
mod load;
mod reconcile;
mod survey;

use std::path::{Path, PathBuf};

use strowger::vault::MasterRing;

pub use dump::back_up;
pub use file::{Manifest, Table};
pub use load::{Restored, restore};
pub use reconcile::{Reconciled, reconcile};
pub use survey::shut;

use crate::error::{Error, Result};

/// The table that stands in a file of its own, so that wrapped keys can be kept elsewhere, and for a shorter time.
const KEYS: &str = "data_keys";

/// Where a copy's keys are, unless somebody says otherwise.
pub fn keys_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".keys");
    name.into()
}

/// Opens all of a copy and keeps nothing: what it holds, or why it cannot be restored.
pub fn prove(path: &Path, keys: &Path, ring: &MasterRing) -> Result<Manifest> {
    let manifest = file::Reader::open(path, "control", ring)?.prove()?;
    let of_keys = file::Reader::open(keys, "keys", ring)?.prove()?;
    if of_keys.copy != manifest.copy {
        let text = format!("{} holds the keys of another copy than {}", keys.display(), path.display());
        return Err(Error::Conflict(format!("{text}: nothing was changed")));
    }
    Ok(manifest)
}
