//! What was exported: read again, with or without a database.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use strowger::control::chains::Row;

use super::signed::{self, Signed};
use super::walk::{Report, Walk};
use crate::error::{Error, Result};
use crate::signing;

/// Reads a file line by line: rows, if there are any, then signed heads, whose signature must hold.
fn read(path: &Path, mut each: impl FnMut(Row)) -> Result<Signed> {
    let named = |what: &str| Error::Audit(format!("{}: {what}", path.display()));
    let failed = || Error::io(format!("read {}", path.display()));
    let mut lines = BufReader::new(File::open(path).map_err(failed())?);
    let (mut line, mut heads, mut count) = (String::new(), String::new(), 0_u64);
    while lines.read_line(&mut line).map_err(failed())? > 0 {
        count += 1;
        if !heads.is_empty() || signed::begins(&line) {
            heads.push_str(&line);
        } else {
            each(serde_json::from_str(&line).map_err(|_| {
                named(&format!("line {count} is not a row as `strowgerctl audit export` writes them: it was changed"))
            })?);
        }
        line.clear();
    }
    if heads.is_empty() {
        return Err(named("it ends without signed heads: its end is missing"));
    }
    signed::read(&heads).map_err(|what| named(&what))
}

/// Signed heads, from a file of their own or from the end of an export.
pub fn signed_heads(path: &Path) -> Result<Signed> {
    read(path, |_| ())
}

/// Proves an exported file by itself. `key`: a PEM file with the key that must have signed it.
pub fn verify(path: &Path, key: Option<&Path>) -> Result<(Report, Signed)> {
    let mut walk = Walk::new(false, &[]);
    let signed = read(path, |row| walk.row(row))?;
    if let Some(file) = key {
        let wanted = std::fs::read_to_string(file).map_err(Error::io(format!("read {}", file.display())))?;
        if signing::from_pem(&wanted) != signing::from_pem(&signed.statement.public_key) {
            let text = format!("{} is signed by another key than that in {}", path.display(), file.display());
            return Err(Error::Audit(text));
        }
    }
    if signed.heads.iter().any(|head| head.first.is_none()) {
        let text = format!("{}: heads without rows: give them to `strowgerctl audit verify --heads`", path.display());
        return Err(Error::Conflict(text));
    }
    walk.end_at(&signed.heads);
    Ok((Report { signed_heads: signed.heads.len(), ..walk.end() }, signed))
}
