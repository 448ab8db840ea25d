//! Files that nobody else may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes a file that only we can read, all of it or none of it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = format!("write {}", path.display());
    let aside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&aside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.and_then(|()| fs::rename(&aside, path)).map_err(Error::io(doing))
}
