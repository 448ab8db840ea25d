//! Carries out jobs, and looks for what tenants do to themselves. Any number of workers may run at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use strowger::control::Control;
use strowger::control::changes::{Listener, News};
use strowger::control::clusters::{self, Cluster};
use strowger::control::jobs::{self, Job, Kind};
use strowger::control::tenants::{self, State};

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::Result;
use crate::fleet;
use crate::steps::{self, MAINTENANCE_DATABASE};
use crate::tenants as operations;

/// How often due jobs are looked for when no news comes.
const POLL: Duration = Duration::from_secs(2);
/// How often clusters are looked over.
const SWEEP: Duration = Duration::from_secs(15);
/// How often every tenant's own migration history is compared with control.
const RECONCILE: Duration = Duration::from_secs(3600);
/// A tenant's transaction that is older is ended: it holds back vacuum and slots for the whole cluster.
const OLDEST_TRANSACTION: &str = "5 minutes";

/// Works until the future is dropped. `listening` is a pool of one connection.
pub async fn run(with: Arc<Provisioner>, listening: Control) {
    let mut poll = tokio::time::interval(POLL);
    let mut sweep = tokio::time::interval(SWEEP);
    let mut reconcile = tokio::time::interval(RECONCILE);
    let mut listener = None;
    loop {
        if listener.is_none() {
            listener = Listener::open(&listening).await.ok();
        }
        let news = async {
            match &mut listener {
                Some(open) => open.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = news => match news {
                Ok(News::Job | News::Everything) => work(&with).await,
                Ok(_) => {}
                Err(_) => listener = None,
            },
            _ = poll.tick() => work(&with).await,
            _ = sweep.tick() => look_over(&with).await,
            _ = reconcile.tick() => compare_versions(&with).await,
        }
    }
}

async fn work(with: &Provisioner) {
    let due = match jobs::due(&with.control).await {
        Ok(due) => due,
        Err(error) => return tracing::warn!(%error, "cannot read the jobs"),
    };
    for job in due {
        match carry_out(with, &job).await {
            Ok(()) => tracing::info!(job.id, kind = ?job.kind, tenant.id = %job.tenant, "job done"),
            Err(error) => {
                tracing::warn!(job.id, kind = ?job.kind, tenant.id = %job.tenant, attempts = job.attempts + 1, %error, "job failed; it will be tried again");
                if let Err(error) = jobs::postpone(&with.control, job.id, &error.to_string()).await {
                    tracing::warn!(%error, "cannot note the failure");
                }
            }
        }
    }
}

async fn carry_out(with: &Provisioner, job: &Job) -> Result<()> {
    match job.kind {
        Kind::Create => operations::finish_create(with, job.tenant).await.map(drop),
        Kind::Repair => operations::repair(with, job.tenant).await,
    }
}

async fn compare_versions(with: &Provisioner) {
    match fleet::reconcile(with, None).await {
        Ok(findings) => {
            for found in findings {
                tracing::warn!(tenant.id = %found.tenant, said = found.said, is = found.is, "schema version: {}", found.finding);
            }
        }
        Err(error) => tracing::warn!(%error, "cannot compare schema versions"),
    }
}

async fn look_over(with: &Provisioner) {
    let all = match clusters::list(&with.control).await {
        Ok(all) => all,
        Err(error) => return tracing::warn!(%error, "cannot read the clusters"),
    };
    for cluster in all {
        if let Err(error) = look_over_cluster(with, &cluster).await {
            tracing::warn!(cluster = cluster.name, %error, "cannot look the cluster over");
        }
    }
}

/// Logins that changed their own settings get a repair; tenants' over-age transactions are ended.
async fn look_over_cluster(with: &Provisioner, cluster: &Cluster) -> Result<()> {
    let db = AdminDb::open(with, cluster, MAINTENANCE_DATABASE).await?;
    let ours = format!("^{}_t[0-9]+_[ab]$", with.installation.prefix);
    let sql = "select r.rolname::text, (select array_agg(x order by x) from unnest(s.setconfig) x), s.setdatabase <> 0
               from pg_db_role_setting s join pg_roles r on r.oid = s.setrole where r.rolname ~ $1";
    // The tenants first: one that is activated after this has its settings by then, but is not looked at.
    let tenants = tenants::list(&with.control).await?;
    let mut found: HashMap<String, Vec<(Vec<String>, bool)>> = HashMap::new();
    for row in db.query(sql, &[&ours]).await? {
        found.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    for tenant in tenants {
        if tenant.state != State::Active || tenant.cluster_id() != cluster.id {
            continue;
        }
        let expected = vec![(steps::expected_settings(&tenant.schema), false)];
        let logins = ["a", "b"].map(|turn| with.installation.prefix.tenant(tenant.id, turn));
        if let Some(login) = logins.iter().find(|login| found.get(*login) != Some(&expected)) {
            tracing::warn!(tenant.id = %tenant.id, login, "a login changed its own settings; repairing");
            let mut change = with.control.change(&with.actor).await?;
            // Said once: while a repair waits, the next look changes nothing.
            if jobs::enqueue(&mut change, Kind::Repair, tenant.id).await? {
                change.record("tenant.settings_changed", Some(tenant.id), json!({ "login": login })).await?;
                change.commit().await?;
            }
        }
    }
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where usename ~ $1 and xact_start < now() - interval '{OLDEST_TRANSACTION}'"
    );
    let ended: i64 = db.query(&sql, &[&ours]).await?.first().map_or(0, |row| row.get(0));
    if ended > 0 {
        tracing::warn!(cluster = cluster.name, ended, "ended tenants' transactions that were too old");
    }
    Ok(())
}
