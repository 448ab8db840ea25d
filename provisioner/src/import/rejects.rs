//! What was not imported, and what was merged into another row: one JSON object a line, in a file for us alone.
//!
//! It holds callers' numbers and words. Nothing of it is printed or logged.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use strowger::tenant::imports::Target;

use super::row::Raw;
use crate::error::{Error, Result};

/// The file, if one is wanted.
pub(super) struct Rejects(Option<(PathBuf, BufWriter<File>)>);

impl Rejects {
    /// Begins it. One that is there is never written over: it may be the only copy of what an earlier import said.
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::Conflict(format!("{} is there already: name another file with --rejects", path.display()))
            }
            _ => Error::io(format!("create {}", path.display()))(error),
        })?;
        Ok(Self(Some((path.to_owned(), BufWriter::new(file)))))
    }

    /// Writes one row down. `outcome` is `rejected` or `merged`.
    pub(super) fn note(&mut self, table: &str, target: &Target, raw: &Raw, outcome: &str, reason: &str) -> Result<()> {
        let Some((path, file)) = &mut self.0 else { return Ok(()) };
        let row: Map<String, Value> =
            target.fields.iter().zip(&raw.values).map(|(field, value)| (field.name.to_owned(), json!(value))).collect();
        let line = json!({ "table": table, "id": raw.name(), "tenant": raw.tenant, "outcome": outcome, "reason": reason, "row": row });
        writeln!(file, "{line}").map_err(Error::io(format!("write {}", path.display())))
    }

    /// Makes it durable; where it is.
    pub(super) fn end(self) -> Result<Option<PathBuf>> {
        let Some((path, file)) = self.0 else { return Ok(None) };
        let doing = format!("write {}", path.display());
        let written = file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        written.map_err(Error::io(doing))?;
        Ok(Some(path))
    }
}
