//! `profile`: templates of callers' profiles.

use std::path::Path;

use serde_json::{Map, Value, json};
use strowger::id::TenantId;
use strowger::profile::{Profile as Checked, Template, TemplateName};

use super::args::{self, Profile};
use super::output::show;
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::profiles::{self, How};

/// Carries out what was typed.
pub(super) async fn run(with: &Provisioner, command: &Profile, output: args::Output) -> Result<()> {
    let shown = match command {
        Profile::Import { file } => json!(profiles::import(with, &read(file)?).await?),
        Profile::List => json!(strowger::control::profiles::list(with.control()).await?),
        Profile::Show { name } => {
            let stored = profiles::get(with, name).await?;
            let template = profiles::read(&stored.authored)?;
            let mut shown = json!(stored);
            shown["about"] = template.about().into();
            shown["schema"] = template.schema().clone();
            shown["bio"] = json!(template.bio_rule());
            shown
        }
        Profile::Validate { file, fields } => return validate(output, file, fields.as_deref()),
        Profile::Bind { tenant, name, dry_run, force } => {
            return bind(with, *tenant, name, How { first: true, dry_run: *dry_run, force: *force }, output).await;
        }
        Profile::Upgrade { tenant, name, dry_run, force } => {
            return bind(with, *tenant, name, How { first: false, dry_run: *dry_run, force: *force }, output).await;
        }
    };
    show(output, &shown)
}

async fn bind(with: &Provisioner, tenant: TenantId, name: &TemplateName, how: How, output: args::Output) -> Result<()> {
    let report = profiles::bind(with, tenant, name, how).await?;
    show(output, &json!(report))?;
    match (report.bound, report.unfit) {
        (_, 0) => Ok(()),
        (true, unfit) => Err(Error::Unfinished(format!(
            "tenant {tenant} is bound to {name}; {unfit} callers do not fit it and keep their old fields until they are written again"
        ))),
        (false, _) if how.dry_run => Ok(()),
        (false, unfit) => Err(Error::Conflict(format!(
            "{unfit} callers do not fit {name}: correct them, or say --force; nothing was changed"
        ))),
    }
}

/// Checks a file, and what it makes of a caller.
pub(super) fn validate(output: args::Output, file: &Path, fields: Option<&str>) -> Result<()> {
    let template = read(file)?;
    let mut shown =
        json!({ "name": template.name().to_string(), "schema": template.schema(), "bio": template.bio_rule() });
    if let Some(fields) = fields {
        let fields: Map<String, Value> =
            serde_json::from_str(fields).map_err(|error| Error::Conflict(format!("--fields: {error}")))?;
        let checked = Checked::check(Some(&template), fields).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Error::Conflict(format!("this caller does not fit {}:\n  {}", template.name(), lines.join("\n  ")))
        })?;
        shown["quick_bio"] = checked.quick_bio.into();
    }
    show(output, &shown)
}

fn read(file: &Path) -> Result<Template> {
    let what = || format!("read {}", file.display());
    profiles::read(&std::fs::read_to_string(file).map_err(Error::io(what()))?)
}
