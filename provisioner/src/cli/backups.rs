//! `backup`.

use std::path::Path;

use serde_json::{Value, json};
use strowger::control::backups::{self as rows, Backup};
use strowger::control::clusters::Isolation;
use strowger::control::tenants;
use strowger::id::TenantId;
use strowger::vault::MasterRing;

use super::args::{self, BackupCommand, Output, Restore};
use super::output::{say, show};
use crate::backups::Keep;
use crate::error::{Error, Result};
use crate::settings::Given;
use crate::tenants::NewTenant;
use crate::{Provisioner, backups, restore};

pub(super) async fn run(with: &Provisioner, command: &BackupCommand, output: Output) -> Result<Value> {
    let shown = |backup: Backup| if output == Output::Json { json!(backup) } else { in_short(&backup) };
    Ok(match command {
        BackupCommand::Create { tenant, all, to } => {
            let tenants = if *all { with_data(with).await? } else { tenant.clone() };
            return create(with, &tenants, to.as_deref(), output).await;
        }
        BackupCommand::List { tenant } => rows::list(with.control(), *tenant).await?.into_iter().map(shown).collect(),
        BackupCommand::Show { id } => json!(backups::get(with, *id).await?),
        BackupCommand::Verify { id } => shown(backups::verify(with, *id).await?),
        BackupCommand::Delete { id } => {
            backups::delete(with, *id).await?;
            json!({ "deleted": id })
        }
        BackupCommand::Restore(args) => restored(with, args).await?,
        BackupCommand::Undo { tenant, keep } => json!(restore::undo(with, *tenant, *keep).await?),
        BackupCommand::Prune { tenant, daily, weekly, monthly, dry_run } => {
            let keep = Keep { daily: *daily, weekly: *weekly, monthly: *monthly };
            backups::prune(with, *tenant, keep, *dry_run).await?.into_iter().map(shown).collect()
        }
        BackupCommand::Extract { id, from, out } => {
            let folder = match (id, from) {
                (Some(id), _) => backups::folder(with, *id).await?,
                (None, from) => from.clone().unwrap_or_default(),
            };
            json!(backups::extract(&folder, with.server_ring(), out).await?)
        }
    })
}

async fn restored(with: &Provisioner, args: &Restore) -> Result<Value> {
    if args.in_place {
        return Ok(json!(restore::in_place(with, args.id, args.keep).await?));
    }
    let isolation =
        if args.isolation == Some(args::Isolation::Schema) { Isolation::Schema } else { Isolation::Database };
    let new = NewTenant {
        name: args.name.as_deref().unwrap_or_default(),
        id: args.new_id,
        isolation,
        cluster: args.cluster.as_deref(),
        cluster_region: None,
        region: args.region,
    };
    Ok(json!(restore::as_new_tenant(with, args.id, &new).await?))
}

/// One after the other; one that fails does not keep the others from being made, and its job stays for a worker.
async fn create(with: &Provisioner, tenants: &[TenantId], to: Option<&str>, output: Output) -> Result<Value> {
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for tenant in tenants {
        match backups::create(with, *tenant, to).await {
            Ok(backup) => made.push(if output == Output::Json { json!(backup) } else { in_short(&backup) }),
            Err(error) if tenants.len() == 1 => return Err(error),
            Err(error) => failed.push(format!("tenant {tenant}: {error}")),
        }
    }
    if failed.is_empty() {
        return Ok(made.into());
    }
    show(output, &made.into())?;
    for line in &failed {
        say(line);
    }
    Err(Error::Incomplete(format!("{} of {} tenants have no new backup", failed.len(), tenants.len())))
}

async fn with_data(with: &Provisioner) -> Result<Vec<TenantId>> {
    let all = tenants::list(with.control()).await?;
    Ok(all.iter().filter(|tenant| backups::has_data(tenant)).map(|tenant| tenant.id).collect())
}

fn in_short(backup: &Backup) -> Value {
    let taken = backup.taken.as_ref();
    json!({
        "id": backup.id, "customer_id": backup.tenant, "state": backup.state,
        "taken_at": taken.map(|taken| taken.taken_at.to_string()), "rows": taken.map(|taken| taken.rows),
        "bytes": taken.map(|taken| taken.bytes), "stored": taken.map(|taken| taken.stored_bytes),
        "ms": taken.map(|taken| taken.duration_ms), "store": backup.store,
        "verified_at": backup.verified_at.map(|at| at.to_string()),
    })
}

/// `extract --from` with nothing but the key ring: the control database may be gone.
pub(super) async fn extract_alone(given: &Given, from: &Path, out: &Path, output: Output) -> Option<Result<()>> {
    let ring = given.server_key_ring.as_ref().filter(|_| given.control_url.is_none())?;
    let extracted = async { backups::extract(from, &MasterRing::from_file(ring)?, out).await };
    Some(extracted.await.and_then(|manifest| show(output, &json!(manifest))))
}
