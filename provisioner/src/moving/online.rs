//! A move that copies before it holds, and catches up after: nothing is written only while the last of it is carried along.

use std::time::Duration;

use strowger::clock::Clock;
use strowger::control::clusters::Cluster;
use strowger::control::jobs::Job;
use strowger::control::moves::{self, Hold, Move};
use strowger::control::tenants::{State, Tenant};

use super::{Turned, admit, arriving, drop_schemas, hold, let_go, registered, turn};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::backup::{self, Target};
use crate::error::Result;
use crate::meter::Meter;
use crate::replication::{self, Line};
use crate::steps::{self, Owner};

/// How long all that is done while writes wait may take. Servers let a write wait for twice as long, and a tenant's login waits a second
/// longer for a lock: so none is refused when the turn is given up.
const HELD: Duration = Duration::from_secs(4);
/// How many seconds older transactions have when nobody said so: in jobs of a build that did not ask.
const PATIENCE_S: u64 = 60;

/// Carries a tenant over while it is written to, and turns. What an earlier attempt left is removed first, its hold before all else.
pub(super) async fn carry(
    with: &Provisioner,
    job: &Job,
    (tenant, from): (&Tenant, &Cluster),
    to: &Cluster,
    meter: &Meter,
) -> Result<Turned> {
    if tenant.held {
        let_go(with, job, tenant, from).await?;
    }
    end(with, tenant).await?;
    let (there, password) = arriving(with, tenant).await?;
    let line = Line::open(with, (from, tenant), (to, &there)).await?;
    let mut here = AdminDb::open_for(with, from, &tenant.database, tenant).await?;
    let mut db = AdminDb::open_for(with, to, &there.database, &there).await?;
    // After this no session is opened: who takes the job over ends those that are there.
    note(with, job, tenant, true).await?;
    let prefix = &with.installation.prefix;
    let (_, epoch) = steps::credential(with, tenant.id).await?;

    let reading = Owner::reading(&mut here, prefix, tenant).await?;
    reading.enter(&tenant.schema).await?;
    let version = backup::version_of(&reading, tenant).await?;
    reading.lay_down().await?;
    let way_in = line.begin(with, tenant, version, patience(job)).await?;
    line.lock(tenant, version).await?;
    // It sees the moment in which nobody writes.
    let source = Owner::reading(&mut here, prefix, tenant).await?;
    let copied = line.unlock().await?;
    let into = Owner::of(&mut db, prefix, &there).await?;
    drop_schemas(&into, &prefix.tenant(there.id, "owner")).await?;
    let target = Target { prefix, tenant: &there, epoch: epoch + 1, writes: tenant.state == State::Active, meter };
    let bytes = backup::carry(&source, tenant, &into, &target).await?;
    into.commit().await?;
    source.lay_down().await?;
    line.subscribe(from, tenant, &way_in, &copied).await?;
    meter.say("what was written meanwhile follows".to_owned());
    line.catch_up().await?;

    let began = Clock::system();
    let last = async {
        hold(with, job, tenant, Hold::Brief).await?;
        // Whatever was acknowledged is in the source's log when this returns, and nothing comes after it.
        steps::ensure_grants(with, &mut here, tenant, false).await?;
        line.reach(&line.acknowledged().await?, HELD).await?;
        let source = Owner::reading(&mut here, prefix, tenant).await?;
        let into = Owner::of(&mut db, prefix, &there).await?;
        backup::catch_up(&source, tenant, &into, &there, bytes).await?;
        into.commit().await?;
        source.lay_down().await?;
        line.end().await?;
        note(with, job, tenant, false).await?;
        admit(with, to, &there, &password, epoch + 1).await
    };
    let Ok(done) = tokio::time::timeout(HELD, last).await else { return Ok(Turned::TooLate) };
    done?;
    turn(with, job, tenant, epoch + 1, &began).await?;
    Ok(Turned::Yes)
}

/// How long older transactions may take to end.
fn patience(job: &Job) -> Duration {
    Duration::from_secs(job.params["patience_s"].as_u64().unwrap_or(PATIENCE_S))
}

async fn note(with: &Provisioner, job: &Job, tenant: &Tenant, replicates: bool) -> Result<()> {
    let mut change = with.change_of(job).await?;
    moves::replicate(&mut change, tenant.id, replicates).await?;
    Ok(change.commit().await?)
}

/// Leaves no slot, publication, subscription or login of a tenant's move, if there may be any.
pub(crate) async fn end(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    let Some(Move { place, replicates: true, .. }) = moves::get(&with.control, tenant.id).await? else {
        return Ok(());
    };
    let (from, to) = (steps::cluster_of(with, tenant).await?, registered(with, &place).await?);
    replication::end(with, (&from, tenant), (&to, &tenant.at(&place))).await?;
    let mut change = with.control.change(&with.actor).await?;
    moves::replicate(&mut change, tenant.id, false).await?;
    Ok(change.commit().await?)
}
