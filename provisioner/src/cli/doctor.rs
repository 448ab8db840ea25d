//! What is not as it must be, and putting it right.

use serde_json::json;

use super::args::Output;
use super::output::{say, show};
use crate::Provisioner;
use crate::doctor;
use crate::error::{Error, Result};

pub(super) async fn run(with: &Provisioner, output: Output, fix: bool, drop_data: bool) -> Result<()> {
    let mut findings = doctor::examine(with).await?;
    if fix && !findings.is_empty() {
        for mended in doctor::fix(with, &findings, drop_data).await? {
            match mended.error {
                None => say(&format!("done: {}", mended.what)),
                Some(error) => say(&format!("not done: {}: {error}", mended.what)),
            }
        }
        findings = doctor::examine(with).await?;
    }
    show(output, &json!(findings))?;
    if findings.is_empty() {
        return Ok(());
    }
    let fixable = findings.iter().filter(|finding| finding.fixable).count();
    Err(Error::Unsound(format!(
        "{} findings; `strowgerctl doctor --fix` mends {fixable} of them, as far as no data is lost",
        findings.len()
    )))
}
