//! Corrects control's copy of schema versions by the tenants' own histories, many of them in one round trip.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;
use strowger::control::clusters::{self, ClusterId};
use strowger::control::migrations;
use strowger::control::tenants::{self, Tenant};
use strowger::id::TenantId;
use strowger::schema::HISTORY_TABLE;

use super::apply::{Trouble, applied};
use super::sequence::{Applied, Sequence, version_of};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::Result;

/// How many histories are read at once: a transaction takes a lock on each, and on each owner role.
const AT_ONCE: usize = 200;

/// A tenant whose history is not what control says, or not one that the migrations could have made.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Which.
    #[serde(rename = "customer_id")]
    pub tenant: TenantId,
    /// The version that control had.
    pub said: i32,
    /// The version in its own history; `None` if that could not be read.
    pub is: Option<i32>,
    /// What was done, or what an operator must look at.
    pub finding: String,
}

type Histories = HashMap<TenantId, std::result::Result<Vec<Applied>, String>>;

/// Compares every tenant's history with control and with the migrations, and corrects control.
///
/// A divergent history is named and changes nothing: which side is right is for an operator to say.
pub async fn reconcile(with: &Provisioner, folder: Option<&Path>) -> Result<Vec<Finding>> {
    let sequence = Sequence::load(folder)?;
    let mut places: BTreeMap<(i32, String), Vec<Tenant>> = BTreeMap::new();
    for tenant in tenants::list(&with.control).await? {
        if tenant.state.is_kept() {
            let place = (tenant.cluster_id().get(), tenant.database.clone());
            places.entry(place).or_default().push(tenant);
        }
    }
    let mut findings = Vec::new();
    for ((_, database), there) in places {
        let histories = histories(with, there[0].cluster_id(), &database, &there).await?;
        for tenant in &there {
            findings.extend(judge(with, &sequence, tenant, histories.get(&tenant.id)).await?);
        }
    }
    Ok(findings)
}

async fn judge(
    with: &Provisioner,
    sequence: &Sequence,
    tenant: &Tenant,
    history: Option<&std::result::Result<Vec<Applied>, String>>,
) -> Result<Option<Finding>> {
    let said = tenant.schema_version;
    let found = |is, finding: String| Some(Finding { tenant: tenant.id, said, is, finding });
    let empty = Vec::new();
    let history = match history {
        Some(Err(error)) => return Ok(found(None, error.clone())),
        Some(Ok(history)) => history,
        None => &empty,
    };
    let is = version_of(history);
    if let Some(wrong) = sequence.divergence(history) {
        return Ok(found(Some(is), wrong));
    }
    if is == said {
        return Ok(None);
    }
    let mut change = with.control.change(&with.actor).await?;
    if !migrations::correct(&mut change, tenant.id, tenant.generation, said, is).await? {
        // Somebody changed its placement since we read it: what we know is old.
        return Ok(None);
    }
    change.commit().await?;
    Ok(found(Some(is), "corrected in control".to_owned()))
}

/// What can be read of the histories in one database.
async fn histories(with: &Provisioner, cluster: ClusterId, database: &str, there: &[Tenant]) -> Result<Histories> {
    let all_fail = |text: String| there.iter().map(|tenant| (tenant.id, Err(text.clone()))).collect();
    let Some(cluster) = clusters::get(&with.control, cluster).await? else {
        return Ok(all_fail("its cluster is not registered".to_owned()));
    };
    let db = match AdminDb::open(with, &cluster, database).await {
        Ok(db) => db,
        Err(error) => return Ok(all_fail(Trouble::unreachable(&error).text())),
    };
    let mut all = Histories::new();
    let mut parts: Vec<&[Tenant]> = there.chunks(AT_ONCE).collect();
    while let Some(part) = parts.pop() {
        match read(with, &db, part).await {
            Ok(rows) => all.extend(rows.into_iter().map(|(tenant, history)| (tenant, Ok(history)))),
            Err(trouble) if part.len() == 1 => drop(all.insert(part[0].id, Err(trouble.text()))),
            // One of them is broken: the halves say which.
            Err(_) => parts.extend([&part[..part.len() / 2], &part[part.len() / 2..]]),
        }
    }
    Ok(all)
}

/// As the owners of all of them, in a transaction that is undone: nobody becomes a member of anything.
async fn read(
    with: &Provisioner,
    db: &AdminDb,
    part: &[Tenant],
) -> std::result::Result<HashMap<TenantId, Vec<Applied>>, Trouble> {
    let prefix = &with.installation.prefix;
    let owners: Vec<String> = part.iter().map(|tenant| ident(&prefix.tenant(tenant.id, "owner"))).collect();
    let one = |tenant: &Tenant| {
        format!(
            "select {} as tenant, version, name, checksum from {}.{HISTORY_TABLE}",
            tenant.id,
            ident(&tenant.schema)
        )
    };
    let sql = format!(
        "begin; set local lock_timeout = '1s'; grant {} to {}; {}; rollback",
        owners.join(", "),
        ident(&prefix.name("admin")),
        part.iter().map(one).collect::<Vec<_>>().join(" union all ")
    );
    let rows = match db.rows(&sql).await {
        Ok(rows) => rows,
        Err(error) => {
            let undone = db.run("rollback").await;
            return Err(Trouble::from("read its history", undone.as_ref().err().unwrap_or(&error)));
        }
    };
    let mut all: HashMap<TenantId, Vec<Applied>> = HashMap::new();
    for row in &rows {
        if let Some(tenant) = row.try_get("tenant").ok().flatten().and_then(|id| id.parse().ok()) {
            all.entry(tenant).or_default().push(applied(row));
        }
    }
    Ok(all)
}
