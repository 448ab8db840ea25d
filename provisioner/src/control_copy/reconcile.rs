//! A restored control database corrected by what the clusters say, and served from again once the doctor finds nothing.
//!
//! Nobody is served while this runs, so each correction is a single change: there is no cache to wait for.

use std::collections::BTreeMap;

use strowger::control::numbers::{self, Assignment};
use strowger::control::placements::{self, Regained};
use strowger::control::tenants::{self, State, Tenant};
use strowger::control::{backups, installation, moves};
use strowger::id::TenantId;

use super::survey::{self, Found, Survey};
use crate::admin_db::AdminDb;
use crate::backup::Store;
use crate::doctor::{self, Finding};
use crate::error::{Error, Result};
use crate::steps::{self, Owner};
use crate::{Provisioner, bootstrap, erase, fleet, replication};

/// Ids may have been given and erased since the copy, so that no cluster tells of them: so many are passed over.
const IDS_SINCE: i32 = 1000;

/// How long what a move left is kept, as `tenant move` has it by default: what was said then is lost.
const KEEP_S: i64 = 7 * 86_400;

/// What was found and done.
#[derive(Debug, Default, serde::Serialize)]
pub struct Reconciled {
    /// Erased since the copy, and now here too.
    pub erased: Vec<TenantId>,
    /// Found where control said or elsewhere, with a new epoch.
    pub proven: usize,
    /// Numbers whose owner since the copy is another, or nobody.
    pub numbers: Vec<String>,
    /// What an operator has to decide before anything is served.
    pub open: Vec<String>,
    /// What the doctor finds.
    pub findings: Vec<Finding>,
    /// Whether it is served from again.
    pub serving: bool,
}

/// Corrects control; serves from it again if nothing is left to decide and the doctor finds nothing. Can be run again at any time.
pub async fn reconcile(with: &Provisioner) -> Result<Reconciled> {
    if !with.installation.reconciling {
        let text = "this control database is served from: only one that was restored from a copy is reconciled";
        return Err(Error::Conflict(text.into()));
    }
    survey::shut(with).await?;
    let survey = survey::read(with).await?;
    let mut done = Reconciled { open: survey.strange.clone(), ..Reconciled::default() };
    retire_ids(with, &survey).await?;
    settle_numbers(with, &survey, &mut done).await?;
    for tenant in tenants::list(&with.control).await? {
        match survey.tenants.get(&tenant.id) {
            Some(found) => {
                let proven = prove(with, &tenant, found, &mut done).await?;
                if proven && survey.moving.contains(&tenant.id.get()) {
                    end_streams(with, &tenant, found, &mut done).await;
                }
            }
            None if tenant.state == State::Provisioning => {}
            None => replay_erasure(with, &tenant, &mut done).await?,
        }
    }
    put_right(with, &survey, &mut done).await?;
    done.findings =
        doctor::examine(with).await?.into_iter().filter(|found| found.code != doctor::RECONCILING).collect();
    if done.open.is_empty() && done.findings.is_empty() {
        let mut change = with.change().await?;
        installation::serve_again(&mut change, &bootstrap::server_grants(&with.installation.prefix)).await?;
        change.commit().await?;
        done.serving = true;
    }
    Ok(done)
}

/// Schema versions, and the logins of those who are served. What does not go through is for the operator; the doctor says more.
async fn put_right(with: &Provisioner, survey: &Survey, done: &mut Reconciled) -> Result<()> {
    match fleet::reconcile(with, None).await {
        Ok(all) => done.open.extend(all.into_iter().filter(|found| found.is.is_none()).map(|found| found.finding)),
        Err(error) => done.open.push(format!("schema versions: {error}")),
    }
    for tenant in tenants::list(&with.control).await?.iter().filter(|tenant| tenant.state.is_served()) {
        if survey.tenants.contains_key(&tenant.id)
            && let Err(error) = crate::tenants::repair(with, tenant.id).await
        {
            done.open.push(format!("tenant {}: {error}", tenant.id));
        }
    }
    Ok(())
}

/// A token or a backup of a tenant that was made since the copy must never be taken for a new tenant's.
async fn retire_ids(with: &Provisioner, survey: &Survey) -> Result<()> {
    let known: Vec<i32> = tenants::list(&with.control).await?.iter().map(|tenant| tenant.id.get()).collect();
    let highest = tenants::highest_id(&with.control).await?;
    let seen = survey.ids.last().copied().unwrap_or_default();
    let mut change = with.change().await?;
    let margin = (!is_passed(with).await?).then(|| highest.max(seen) + IDS_SINCE);
    for id in survey.ids.iter().filter(|id| !known.contains(id)).copied().chain(margin) {
        tenants::retire_id(&mut change, id.try_into()?).await?;
    }
    change
        .record("control.retire_ids", None, serde_json::json!({ "above": highest, "epoch": with.installation.epoch }))
        .await?;
    Ok(change.commit().await?)
}

/// Whether an earlier run has passed the ids over already.
async fn is_passed(with: &Provisioner) -> Result<bool> {
    let rows = strowger::control::audit::of_actions(&with.control, &["control.retire_ids"], 1).await?;
    Ok(rows.first().is_some_and(|row| row.detail["epoch"] == with.installation.epoch))
}

/// Gives each number to whom the tenants' schemas say it is.
async fn settle_numbers(with: &Provisioner, survey: &Survey, done: &mut Reconciled) -> Result<()> {
    let mut unknown: BTreeMap<&String, _> = survey.numbers.iter().collect();
    for row in numbers::list(&with.control).await? {
        let text = row.number.to_string();
        let owners = unknown.remove(&text).into_iter().flatten().copied().collect::<Vec<_>>();
        let disputed = owners.len() > 1;
        let owner = match owners.as_slice() {
            [one] if is_known(with, *one).await? => Some(*one),
            _ => None,
        };
        if disputed {
            done.open.push(format!(
                "{text} is owned by the schemas of tenants {owners:?}: nobody answers it; `strowgerctl number assign {text} --tenant` \
                 the right one, then `strowgerctl doctor --fix`"
            ));
        }
        let already = if disputed {
            row.assignment == Assignment::Moving { from: None, to: None }
        } else {
            row.assignment.settled_on(owner)
        };
        if already {
            continue;
        }
        let mut change = with.change().await?;
        numbers::settle(&mut change, &row.number, owner, disputed).await?;
        change.commit().await?;
        let whose = owner.map_or("nobody's".to_owned(), |owner| format!("tenant {owner}'s"));
        done.numbers.push(format!("{text} is {whose}"));
    }
    for (number, owners) in unknown {
        done.open.push(format!(
            "{number}, which control does not know, is owned by the schemas of tenants {owners:?}: `strowgerctl number assign {number}` \
             under the account that has it, or `strowgerctl doctor --fix` takes it away"
        ));
    }
    Ok(())
}

async fn is_known(with: &Provisioner, id: TenantId) -> Result<bool> {
    Ok(tenants::get(&with.control, id).await?.is_some())
}

/// Where a tenant lives, and its other place. What a move leaves cannot be written to, and its data is of an older epoch; where one was
/// still carrying a tenant nobody has lived, whatever the epoch.
fn tell_apart(found: &[Found]) -> std::result::Result<(&Found, Option<&Found>), &'static str> {
    let mut newest_first: Vec<&Found> = found.iter().collect();
    newest_first.sort_by_key(|found| (found.arrives, std::cmp::Reverse(found.epoch)));
    match newest_first[..] {
        [here, ..] if here.arrives => Err("to each of which a move was only carrying it"),
        [here] => Ok((here, None)),
        [here, other] if other.arrives => Ok((here, Some(other))),
        [_, former] if former.is_written => Err("of which each can be written to"),
        [here, former] if here.epoch > former.epoch => Ok((here, Some(former))),
        [_, _] => Err("with the same epoch"),
        _ => Err("more than a move leaves"),
    }
}

/// Takes a tenant's placement from where its schema is, and raises the epoch of its data: what was connected before the loss, or has
/// cached a route from then, does not pass the proof of identity. Its other place is kept. Whether it could be told apart.
async fn prove(with: &Provisioner, tenant: &Tenant, found: &[Found], done: &mut Reconciled) -> Result<bool> {
    let (here, other) = match tell_apart(found) {
        Ok(told) => told,
        Err(why) => {
            let place = |found: &Found| format!("cluster {}, database {}", found.cluster.name, found.database);
            let places: Vec<String> = found.iter().map(place).collect();
            let text =
                format!("tenant {} is in several places, {why}: {}: drop the wrong one", tenant.id, places.join("; "));
            done.open.push(text);
            return Ok(false);
        }
    };
    let _held = crate::reconcile::hold(with, strowger::control::jobs::Subject::Tenant(tenant.id)).await?;
    if let Some(other) = other.filter(|other| other.arrives) {
        // From here on it is told from its home by more than the stream, which is ended next.
        let mut db = AdminDb::open_for(with, &other.cluster, &other.database, tenant).await?;
        steps::ensure_grants(with, &mut db, tenant, false).await?;
    }
    let newest = found.iter().map(|found| found.epoch).max();
    let mut db = AdminDb::open_for(with, &here.cluster, &here.database, tenant).await?;
    let owner = Owner::of(&mut db, &with.installation.prefix, tenant).await?;
    owner.enter(&tenant.schema).await?;
    let raise = "update identity set epoch = greatest(epoch, $1) + 1 returning epoch";
    let epoch = owner.query_one(raise, &[&newest]).await?.get(0);
    owner.commit().await?;
    let mut change = with.change().await?;
    let regained = Regained {
        cluster: here.cluster.id,
        isolation: here.isolation(),
        database: &here.database,
        epoch,
        installation_epoch: with.installation.epoch,
    };
    placements::regain(&mut change, tenant.id, &regained).await?;
    if let Some(other) = other {
        let (isolation, database) = (other.isolation(), &other.database);
        moves::keep(&mut change, tenant.id, other.cluster.id, isolation, database, KEEP_S).await?;
    }
    change.commit().await?;
    done.proven += 1;
    Ok(true)
}

/// Leaves nothing with which a move carried a tenant's writes along: no job knows of it any more.
async fn end_streams(with: &Provisioner, tenant: &Tenant, found: &[Found], done: &mut Reconciled) {
    for Found { cluster, database, .. } in found {
        if let Err(error) = replication::end_at(with, cluster, database, tenant).await {
            done.open.push(format!(
                "tenant {}: what its move made to replicate on cluster {} is still there: {error}",
                tenant.id, cluster.name
            ));
        }
    }
}

/// Erases here what was erased on its cluster since the copy; not what is merely lost.
async fn replay_erasure(with: &Provisioner, tenant: &Tenant, done: &mut Reconciled) -> Result<()> {
    let id = tenant.id;
    if steps::prove_absent(with, id).await.is_err() {
        done.open.push(format!("tenant {id} has no schema, and something of it is left: see what the doctor finds"));
        return Ok(());
    }
    for backup in backups::list(&with.control, Some(id)).await? {
        let store = Store::named(&backup.store)?;
        if store.must_be_there().await.is_err() || store.has(backup.id).await? {
            done.open.push(format!(
                "tenant {id} is on no cluster, and its backup {} is not known to be gone, so it was perhaps not erased but lost: \
                 `strowgerctl tenant erase {id} --now --confirm {id}`, after `backup restore --as-new-tenant` if it is needed",
                backup.id
            ));
            return Ok(());
        }
    }
    erase::erase(with, id, true, "found erased when the control database was restored").await?;
    done.erased.push(id);
    Ok(())
}
