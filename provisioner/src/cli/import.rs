//! `strowgerctl import`: another platform's database into tenants' own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{Import, Output};
use super::output::{say, show};
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::import::{self, Count, From, Options, Report};

/// Carries one of them out and prints what came of it.
pub(super) async fn run(with: &Provisioner, command: &Import, output: Output) -> Result<()> {
    let (way, options) = match command {
        Import::Status { limit } => return show(output, &json!(import::status(with, *limit).await?)),
        Import::Plan(way) => (way, Options { dry_run: true, batch: 500, rejects: way.rejects.clone() }),
        Import::Run { way, dry_run, batch } => {
            let rejects = Some(way.rejects.clone().unwrap_or_else(default_rejects));
            (way, Options { dry_run: *dry_run, batch: usize::from(*batch), rejects })
        }
    };
    let mapping = read(&way.mapping)?.with_tenants(&way.tenants, way.all_to);
    let from = match (&way.dump, &way.source_url) {
        (Some(dump), _) => From::Dump(dump),
        (None, Some(url)) => From::Url(url),
        (None, None) => return Err(Error::Conflict("--source-url or --dump is needed".into())),
    };
    let report = import::run(with, &mapping, &from, &options).await?;
    tell(&report);
    match output {
        Output::Json => show(output, &json!(report))?,
        Output::Text => show(output, &report.counts.iter().map(line).collect())?,
    }
    outcome(&report)
}

fn read(path: &Path) -> Result<import::Mapping> {
    let text = std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
    import::read(&text).map_err(|error| Error::Conflict(format!("{}, {error}", path.display())))
}

fn default_rejects() -> PathBuf {
    let now = strowger::clock::Clock::system().now().unix_timestamp();
    PathBuf::from(format!("import-rejects-{now}.jsonl"))
}

/// What a person should know besides the counts.
fn tell(report: &Report) {
    for shape in &report.shapes.tables {
        let fields: Vec<String> = shape.fields.iter().map(|(field, column)| format!("{field} ← {column}")).collect();
        say(&format!("{} → {}: {}", shape.from, shape.to, fields.join(", ")));
        if !shape.left_out.is_empty() {
            say(&format!("{}: columns that stay where they are: {}", shape.from, shape.left_out.join(", ")));
        }
    }
    for (what, which) in [
        ("the mapping names tables that are not there", report.shapes.missing.join(", ")),
        ("tables that the mapping does not name", report.shapes.other_tables.join(", ")),
        ("statements of the dump that failed, and that no row depends on", report.skipped.join("; ")),
    ] {
        if !which.is_empty() {
            say(&format!("{what}: {which}"));
        }
    }
}

fn line(count: &Count) -> Value {
    json!({
        "table": count.table, "tenant": count.tenant_value, "customer_id": count.customer_id, "source": count.source.rows,
        "imported": count.imported.rows, "newer_here": count.newer_here.rows, "merged": count.merged.rows,
        "rejected": count.rejected.rows, "wrong": count.wrong.rows, "checksum": count.imported.checksum.to_string(),
    })
}

/// Rows that are not as they should be are a failure; rejected ones are the operator's to look at.
fn outcome(report: &Report) -> Result<()> {
    if !report.is_equal() {
        let what = "the tenants do not have what the source has (`wrong`, or counts that do not add up): run it again; if it stays \
                    so, look at those tables before you go on";
        return Err(Error::Incomplete(what.into()));
    }
    match (report.rejected(), &report.rejects) {
        (0, _) => Ok(()),
        (rejected, Some(path)) => {
            let what =
                format!("{rejected} rows cannot be imported; {} says why, and holds callers' data", path.display());
            Err(Error::Unfinished(what))
        }
        (rejected, None) => {
            Err(Error::Unfinished(format!("{rejected} rows cannot be imported; --rejects FILE says why")))
        }
    }
}
