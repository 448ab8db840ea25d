//! The audit log: listed, verified, exported.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use strowger::control::audit as rows;
use strowger::control::chains::Part;

use super::args::{Audit, Output};
use super::output::{say, show};
use crate::Provisioner;
use crate::audit::{self, Report};
use crate::error::{Error, Result};

/// Carries out a command on the log; what it returns is to be shown.
pub(super) async fn run(with: &Provisioner, command: &Audit, output: Output) -> Result<Option<Value>> {
    match command {
        Audit::List { tenant, limit } => Ok(Some(json!(rows::list(with.control(), *tenant, *limit).await?))),
        Audit::Verify { tenant, heads, .. } => {
            let signed = heads.as_deref().map(audit::signed_heads).transpose()?;
            if let Some(signed) = &signed {
                audit::refuse_foreign(with, signed).await?;
            }
            let report = audit::verify(with, *tenant, signed.as_ref()).await?;
            judge(output, &report, signed.as_ref()).map(|()| None)
        }
        Audit::Heads { out } => {
            let lines = audit::heads(with).await?;
            write(out.as_deref(), async |to| to.write_all(lines.as_bytes()).map_err(Error::io("write the heads")))
                .await
                .map(|()| None)
        }
        Audit::Export { tenant, since, out } => {
            let part = Part { tenant: *tenant, since: *since };
            write(out.as_deref(), async |to| audit::export(with, part, to).await.map(drop)).await.map(|()| None)
        }
        Audit::Key => write(None, async |to| {
            let pem = audit::public_key(with).await?;
            to.write_all(pem.as_bytes()).map_err(Error::io("print"))
        })
        .await
        .map(|()| None),
    }
}

/// Proves an export without any installation.
pub(super) fn verify_file(output: Output, file: &Path, key: Option<&Path>) -> Result<()> {
    let (report, signed) = audit::verify_file(file, key)?;
    judge(output, &report, Some(&signed))?;
    if key.is_none() {
        say("whose key signed it was not checked: give --key FILE, from `strowgerctl audit key`");
    }
    Ok(())
}

/// Shows what was found; findings are a failure.
fn judge(output: Output, report: &Report, signed: Option<&audit::Signed>) -> Result<()> {
    let Some(complaint) = report.complaint() else {
        let of = signed.map(|signed| signed.statement.at.as_str());
        let Report { chains, rows, signed_heads, .. } = report;
        let result =
            json!({ "chains": chains, "rows": rows, "findings": 0, "signed_heads": signed_heads, "signed_at": of });
        return show(output, &result);
    };
    show(output, &json!(report.findings))?;
    Err(Error::Audit(format!(
        "the audit log is not as it was written: {complaint}. Keep the database and your signed heads as they are"
    )))
}

/// Gives `fill` a file that is there only when it is whole, or standard output.
async fn write(path: Option<&Path>, fill: impl AsyncFnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let Some(path) = path else { return fill(&mut io::stdout()).await };
    let doing = || format!("write {}", path.display());
    let aside = path.with_added_extension("new");
    let mut file = BufWriter::new(File::create(&aside).map_err(Error::io(doing()))?);
    let done = fill(&mut file).await;
    let done = done.and_then(|()| {
        let file = file.into_inner().map_err(|error| Error::io(doing())(error.into_error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&aside, path)).map_err(Error::io(doing()))
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    done
}
