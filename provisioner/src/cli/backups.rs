//! `backup`.

use std::path::Path;

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::backups::{self as rows, Backup};
use strowger::control::clusters::{self, ClusterId, Isolation};
use strowger::control::schedules::{self, Schedule};
use strowger::control::tenants::{self, Tenant};
use strowger::id::TenantId;
use strowger::vault::MasterRing;
use time::OffsetDateTime;

use super::args::{self, BackupCommand, Output, Restore, Schedule as ScheduleArgs, ScheduleCommand, Whose};
use super::output::{say, show};
use crate::backups::Keep;
use crate::error::{Error, Result};
use crate::rhythm::Rhythm;
use crate::settings::Given;
use crate::tenants::NewTenant;
use crate::{Provisioner, backups, restore};

pub(super) async fn run(with: &Provisioner, command: &BackupCommand, output: Output) -> Result<Value> {
    let shown = |backup: Backup| if output == Output::Json { json!(backup) } else { in_short(&backup) };
    Ok(match command {
        BackupCommand::Create { whose, to } => {
            let tenants = match meant(with, whose).await? {
                Some(tenants) => tenants,
                None => with_data(with).await?.iter().map(|tenant| tenant.id).collect(),
            };
            return create(with, &tenants, to.as_deref(), output).await;
        }
        BackupCommand::Schedule(args) => scheduled(with, args).await?,
        BackupCommand::List { tenant } => rows::list(with.control(), *tenant).await?.into_iter().map(shown).collect(),
        BackupCommand::Show { id } => json!(backups::get(with, *id).await?),
        BackupCommand::Verify { id } => shown(backups::verify(with, *id).await?),
        BackupCommand::Delete { id } => {
            backups::delete(with, *id).await?;
            json!({ "deleted": id })
        }
        BackupCommand::Restore(args) => restored(with, args).await?,
        BackupCommand::Undo(turn) => json!(restore::undo(with, turn.tenant, turn.keep).await?),
        BackupCommand::Redo(turn) => json!(restore::redo(with, turn.tenant, turn.keep).await?),
        BackupCommand::Prune { tenant, daily, weekly, monthly, dry_run } => {
            let keep = Keep { daily: *daily, weekly: *weekly, monthly: *monthly };
            backups::prune(with, *tenant, keep, *dry_run).await?.into_iter().map(shown).collect()
        }
        BackupCommand::Strays { place, delete } => json!(backups::strays(with, place.as_deref(), *delete).await?),
        BackupCommand::Extract { id, from, out } => {
            let place = match (id, from) {
                (Some(id), _) => backups::place(with, *id).await?,
                (None, from) => from.clone().unwrap_or_default(),
            };
            json!(backups::extract(&place, with.server_ring(), out).await?)
        }
    })
}

async fn scheduled(with: &Provisioner, args: &ScheduleArgs) -> Result<Value> {
    match &args.command {
        None => backups::schedule(with, meant(with, &args.whose).await?.as_deref(), &asked(args)?).await?,
        Some(ScheduleCommand::Remove { all, tenant }) => {
            backups::unschedule(with, if *all { None } else { Some(tenant) }).await?;
        }
        Some(ScheduleCommand::List) => {}
    }
    Ok(schedules::list(with.control()).await?.iter().map(schedule_in_short).collect())
}

fn asked(args: &ScheduleArgs) -> Result<Schedule> {
    let keep = [args.keep_daily, args.keep_weekly, args.keep_monthly];
    let rhythm = Rhythm::new(args.every.unwrap_or_default(), args.at, keep).map_err(Error::Conflict)?;
    Ok(rhythm.from(Clock::system().now()))
}

fn schedule_in_short(row: &schedules::Row) -> Value {
    let rhythm = Rhythm::of(&row.schedule);
    let keep = rhythm.keep();
    let shown = |at: Option<OffsetDateTime>| at.map(|at| at.to_string());
    json!({
        "customer_id": row.tenant, "every": rhythm.every(), "at": rhythm.at(),
        "keep_daily": keep.map(|keep| keep.daily), "keep_weekly": keep.map(|keep| keep.weekly),
        "keep_monthly": keep.map(|keep| keep.monthly), "tenants": row.tenants, "never_backed_up": row.never,
        "oldest": shown(row.oldest), "next": shown(row.next),
    })
}

async fn restored(with: &Provisioner, args: &Restore) -> Result<Value> {
    let id = match (args.id, args.tenant, args.at) {
        (Some(id), ..) => id,
        (None, Some(tenant), Some(at)) => backups::create_of(with, tenant, args.to.as_deref(), at).await?.id,
        _ => return Err(Error::Conflict("say which backup, or whose and of which moment".into())),
    };
    if args.in_place {
        return Ok(json!(restore::in_place(with, id, args.keep).await?));
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
    Ok(json!(restore::as_new_tenant(with, id, &new).await?))
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

/// Whose backups are meant; `None`: everybody's.
async fn meant(with: &Provisioner, whose: &Whose) -> Result<Option<Vec<TenantId>>> {
    let Some(region) = &whose.cluster_region else {
        return Ok(if whose.all { None } else { Some(whose.tenant.clone()) });
    };
    let clusters = clusters::list(with.control()).await?;
    let there: Vec<ClusterId> =
        clusters.iter().filter(|cluster| cluster.region == *region).map(|cluster| cluster.id).collect();
    let tenants = with_data(with).await?;
    let ids: Vec<TenantId> =
        tenants.iter().filter(|tenant| there.contains(&tenant.cluster_id())).map(|tenant| tenant.id).collect();
    if ids.is_empty() {
        return Err(Error::Conflict(format!(
            "no tenant with data lives on a cluster with the region label \"{region}\": see `strowgerctl cluster list`"
        )));
    }
    Ok(Some(ids))
}

async fn with_data(with: &Provisioner) -> Result<Vec<Tenant>> {
    let all = tenants::list(with.control()).await?;
    Ok(all.into_iter().filter(backups::has_data).collect())
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
pub(super) async fn extract_alone(given: &Given, from: &str, out: &Path, output: Output) -> Option<Result<()>> {
    let ring = given.server_key_ring.as_ref().filter(|_| given.control_url.is_none())?;
    let extracted = async { backups::extract(from, &MasterRing::from_file(ring)?, out).await };
    Some(extracted.await.and_then(|manifest| show(output, &json!(manifest))))
}
