//! What is to be, as one file: tenants, accounts, secrets, numbers, backup schedules and settings. Compared with what is, shown, then carried out.
//!
//! `file` reads the format and knows where in the text a mistake stands; `state` reads what is, from the control database; `plan`
//! compares the two, a pure function whose result is the changes in the order they must be made; `carry_out` makes them with the same
//! operations that single commands use, so that a killed `apply` is finished by the next; `export` writes what is in the same format.
//!
//! What a newcomer gets wrong: a file is not the whole truth. What it does not name is left alone; only `--prune` takes numbers,
//! accounts and schedules away, and nothing here ever deletes a tenant or a secret. No secret stands in a file: it says where the value is.

mod carry_out;
mod change;
mod export;
mod file;
mod plan;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;

use strowger::vault::Secret;

pub use carry_out::carry_out;
pub use change::Change;
pub use file::{Desired, Wish};
pub use plan::Plan;

use crate::Provisioner;
use crate::error::{Error, Result};

/// Reads a file's text. `folder` is where its references to files begin. Nothing is changed, and no error quotes a secret.
pub fn read(text: &str, folder: &Path) -> Result<Desired> {
    let parsed = file::parse(text).map_err(Error::Conflict)?;
    file::resolve(text, parsed, &|source| file::value_of(source, folder)).map_err(|problems| refused(&problems))
}

/// Compares with what is. Everything that would be refused on the way is refused here.
pub async fn plan<'d>(with: &Provisioner, desired: &'d Desired, prune: bool) -> Result<Plan<'d>> {
    plan::plan(desired, &state::read(with, Some(desired)).await?, prune).map_err(|problems| refused(&problems))
}

/// What is, in the format that [`read`] takes. Secrets are names of environment variables to fill.
pub async fn export(with: &Provisioner) -> Result<String> {
    Ok(export::write(&state::read(with, None).await?))
}

fn refused(problems: &[String]) -> Error {
    Error::Conflict(format!("nothing was changed:\n  {}", problems.join("\n  ")))
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
fn same(a: &Secret, b: &Secret) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.expose(), b.expose()).is_ok()
}
