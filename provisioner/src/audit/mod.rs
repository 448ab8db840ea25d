//! The audit log, proven and exported.
//!
//! Postgres chains the rows as they are written, and nobody who logs in may change them. A superuser may, with every hash
//! made right again; so the ends of the chains are signed and kept elsewhere, and held against the log later. Nothing is
//! signed that does not verify.

mod file;
pub mod hash;
mod signed;
mod walk;

use std::collections::BTreeMap;
use std::io::Write;

use strowger::clock::Clock;
use strowger::control::chains::{Head, Part, Reading, Row};
use strowger::id::TenantId;
use time::format_description::well_known::Rfc3339;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::signing;
pub use file::{signed_heads, verify as verify_file};
pub use signed::{Signed, Statement};
use walk::Walk;
pub use walk::{Finding, Report, What};

/// Looks along the chains of all, or of one tenant. `signed`: heads kept earlier, which the chains must still pass through.
pub async fn verify(with: &Provisioner, tenant: Option<TenantId>, signed: Option<&Signed>) -> Result<Report> {
    let wanted = |head: &&Head| tenant.is_none_or(|tenant| tenant.get() == head.chain);
    let signed: Vec<Head> = signed.map_or(Vec::new(), |s| s.heads.iter().filter(wanted).cloned().collect());
    let mut walk = Walk::new(true, &signed);
    let mut reading = Reading::open(&with.control, Part { tenant, since: None }).await?;
    along(&mut reading, &mut walk, |_| Ok(())).await?;
    walk.end_at(&reading.heads().await?);
    walk.reach(&signed);
    Ok(walk.end())
}

/// Heads are held against the log only when this installation signed them.
pub async fn refuse_foreign(with: &Provisioner, signed: &Signed) -> Result<()> {
    let pair = signing::find(with).await?;
    let ours = pair.is_some_and(|pair| signing::pem(&pair) == signed.statement.public_key);
    if ours {
        return Ok(());
    }
    Err(Error::Audit(
        "these heads are signed by another key than this installation's: they are another installation's, they were forged, or the \
         key in the control database was exchanged; compare with the public key that you keep"
            .into(),
    ))
}

/// The heads of all chains, signed, as lines of text. The log is verified first.
pub async fn heads(with: &Provisioner) -> Result<String> {
    let pair = signing::key(with).await?;
    let mut walk = Walk::new(true, &[]);
    let mut reading = Reading::open(&with.control, Part::default()).await?;
    along(&mut reading, &mut walk, |_| Ok(())).await?;
    let heads = reading.heads().await?;
    walk.end_at(&heads);
    refuse_unproven(&walk.end())?;
    Ok(signed::sign(&pair, with.installation.prefix.as_str(), &now(), None, &heads))
}

/// Writes rows as lines of JSON and their heads, signed, after them.
pub async fn export(with: &Provisioner, part: Part, to: &mut dyn Write) -> Result<Report> {
    let pair = signing::key(with).await?;
    if part.since.is_some() {
        // The rows that are left out are vouched for too: the first that is exported names the hash before it.
        refuse_unproven(&verify(with, part.tenant, None).await?)?;
    }
    let mut walk = Walk::new(part.since.is_none(), &[]);
    let mut reading = Reading::open(&with.control, part).await?;
    let mut firsts = BTreeMap::new();
    along(&mut reading, &mut walk, |row| {
        firsts.entry(row.chain).or_insert(row.seq);
        to.write_all(signed::line(row).as_bytes()).map_err(Error::io("write the export"))
    })
    .await?;
    let mut heads = reading.heads().await?;
    for head in &mut heads {
        head.first = Some(firsts.get(&head.chain).copied().unwrap_or(head.seq.saturating_add(1)));
    }
    walk.end_at(&heads);
    let report = walk.end();
    refuse_unproven(&report)?;
    let tenant = part.tenant.map(TenantId::get);
    let lines = signed::sign(&pair, with.installation.prefix.as_str(), &now(), tenant, &heads);
    to.write_all(lines.as_bytes()).and_then(|()| to.flush()).map_err(Error::io("write the export"))?;
    Ok(report)
}

/// Walks along all rows, which `each` sees first, holding one batch at a time.
async fn along(reading: &mut Reading, walk: &mut Walk, mut each: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    loop {
        let rows = reading.next().await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            each(&row)?;
            walk.row(row);
        }
    }
}

/// The public half of the key that signs heads, in PEM.
pub async fn public_key(with: &Provisioner) -> Result<String> {
    Ok(signing::pem(&signing::key(with).await?))
}

fn refuse_unproven(report: &Report) -> Result<()> {
    report.complaint().map_or(Ok(()), |complaint| {
        Err(Error::Audit(format!("not signed: {complaint}; `strowgerctl audit verify` names everything")))
    })
}

fn now() -> String {
    Clock::system().now().format(&Rfc3339).unwrap_or_default()
}
