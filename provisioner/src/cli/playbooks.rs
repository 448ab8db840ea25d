//! `playbook`: what tenants clone.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{self, Playbook};
use super::output::show;
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::playbooks;

/// Carries out what was typed.
pub(super) async fn run(with: &Provisioner, command: &Playbook) -> Result<Value> {
    Ok(match command {
        Playbook::Import { file } => json!(playbooks::import(with, &read(file)?).await?),
        Playbook::Publish { name, version } => json!(playbooks::publish(with, name, *version).await?),
        Playbook::List => json!(strowger::control::playbooks::list(with.control()).await?),
        Playbook::Show { name, version } => {
            let found = playbooks::get(with, name, *version).await?;
            let mut shown = json!(found);
            shown["authored"] = playbooks::authored(with, &found).await?.into();
            shown
        }
        Playbook::Clone { tenant, name, version } => json!(playbooks::clone(with, *tenant, name, *version).await?),
        Playbook::Preview { tenant, name, version } => {
            json!(playbooks::preview(with, *tenant, name.as_ref(), *version).await?)
        }
        Playbook::Update { tenant, name, version, resolve } => {
            let choices = resolve.iter().cloned().collect();
            json!(playbooks::update(with, *tenant, name.as_ref(), *version, &choices).await?)
        }
        Playbook::Validate { .. } => Value::Null,
    })
}

/// Checks a file, and counts what it says.
pub(super) fn validate(output: args::Output, file: &Path) -> Result<()> {
    let playbook = read(file)?;
    let content = playbook.content();
    let categories: BTreeSet<&str> = content.scenarios.iter().map(|scenario| scenario.category.as_str()).collect();
    let phrases: usize = content.scenarios.iter().map(|scenario| scenario.phrases.len()).sum();
    show(
        output,
        &json!({
            "name": playbook.name(),
            "about": playbook.about(),
            "categories": categories,
            "scenarios": content.scenarios.len(),
            "phrases": phrases,
            "fillers": content.fillers.len(),
            "urgency": content.urgency.len(),
            "variables": content.variables.iter().map(|variable| &variable.name).collect::<Vec<_>>(),
        }),
    )
}

fn read(file: &Path) -> Result<strowger::playbook::Playbook> {
    let what = || format!("read {}", file.display());
    playbooks::read(&std::fs::read_to_string(file).map_err(Error::io(what()))?)
}
