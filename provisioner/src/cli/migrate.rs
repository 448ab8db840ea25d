//! `strowgerctl migrate`: the fleet's schemas.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{Cli, FleetWay, Migrate, Output};
use super::output::{say, show};
use super::progress;
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::fleet::{self, Options, Plan, Status};

impl FleetWay {
    fn options(&self) -> Result<Options> {
        // The run may be taken up again from elsewhere.
        let absolute = |path: &PathBuf| {
            path.canonicalize().map_err(|e| Error::Conflict(format!("--migrations {}: {e}", path.display())))
        };
        Ok(Options {
            canaries: self.canary.clone(),
            canary_count: self.canary_count,
            waves: self.waves.clone(),
            parallel: self.parallel,
            max_failures: self.max_failures,
            lock_timeout_ms: self.lock_timeout,
            attempts: self.attempts,
            migrations: self.migrations.as_ref().map(absolute).transpose()?,
        })
    }
}

/// Carries one of them out and prints what came of it.
pub(super) async fn on_fleet(cli: &Cli, with: Provisioner, command: &Migrate) -> Result<()> {
    let with = Arc::new(with);
    match command {
        Migrate::Plan(way) => show_plan(cli.output, &fleet::plan(&with, &way.options()?).await?),
        Migrate::Run { way, verify } => {
            let options = way.options()?;
            if *verify {
                for found in fleet::reconcile(&with, options.migrations.as_deref()).await? {
                    say(&format!("tenant {}, version {}: {}", found.tenant, found.said, found.finding));
                }
            }
            match fleet::run(&with, options, progress::watch()).await? {
                Some(status) => ended(cli.output, &with, &status).await,
                None => show(cli.output, &json!({ "run": null, "state": "everybody is up to date" })),
            }
        }
        Migrate::Resume { run } => {
            ended(cli.output, &with, &fleet::resume(&with, *run, progress::watch()).await?).await
        }
        Migrate::Status { run, all } => show_status(cli.output, &with, &fleet::status(&with, *run).await?, *all).await,
        Migrate::Stop { run } => show(cli.output, &json!(fleet::stop(&with, *run).await?)),
        Migrate::Reconcile { migrations } => {
            show(cli.output, &json!(fleet::reconcile(&with, migrations.as_deref()).await?))
        }
    }
}

fn show_plan(output: Output, plan: &Plan) -> Result<()> {
    if output == Output::Json {
        return show(output, &json!(plan));
    }
    let migrations = plan.migrations.join(", ");
    let row = |wave: &fleet::Wave| {
        let first: Vec<String> = wave.tenants.iter().take(5).map(ToString::to_string).collect();
        let more = if wave.tenants.len() > 5 { ", …" } else { "" };
        json!({ "wave": wave.name, "tenants": wave.tenants.len(), "customer_ids": first.join(", ") + more,
                "to_version": plan.target, "migrations": migrations })
    };
    show(output, &plan.waves.iter().filter(|wave| !wave.tenants.is_empty()).map(row).collect())
}

/// A run that left somebody behind is not a success.
async fn ended(output: Output, with: &Provisioner, status: &Status) -> Result<()> {
    show_status(output, with, status, false).await?;
    if status.failed == 0 {
        return Ok(());
    }
    Err(Error::Incomplete(format!(
        "{} of {} tenants were not migrated and are served at the version they had; {}",
        status.failed + status.waiting,
        status.done + status.failed + status.waiting,
        status.next
    )))
}

async fn show_status(output: Output, with: &Provisioner, status: &Status, all: bool) -> Result<()> {
    let tenants = fleet::tenants_of(with, status.run, all).await?;
    if output == Output::Text {
        show(output, &json!(status))?;
        return if tenants.is_empty() { Ok(()) } else { show(output, &json!(tenants)) };
    }
    let mut whole = json!(status);
    whole["tenants"] = Value::Array(tenants.iter().map(|tenant| json!(tenant)).collect());
    show(output, &whole)
}
