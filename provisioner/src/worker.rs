//! Carries out jobs, and looks for what tenants do to themselves. Any number of workers may run at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use strowger::clock::Clock;
use strowger::control::Control;
use strowger::control::changes::{Listener, News};
use strowger::control::clusters::{self, Cluster};
use strowger::control::jobs::{self, Kind, Subject, Wanted};
use strowger::control::{schedules, tenants};
use tokio::sync::Notify;

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::Result;
use crate::steps::{self, MAINTENANCE_DATABASE};
use crate::{archives, erase, fleet, moves, reconcile, restore};

/// How often due jobs are looked for when no news comes.
const POLL: Duration = Duration::from_secs(2);
/// How often clusters are looked over.
const SWEEP: Duration = Duration::from_secs(15);
/// How often every tenant's own migration history is compared with control.
const RECONCILE: Duration = Duration::from_secs(3600);
/// How many backups may be open on a cluster before a schedule asks for another one there.
const BACKUPS_AT_ONCE: i64 = 2;
/// After so many seconds a tenant's transaction is ended, if nobody says otherwise: it holds back vacuum and slots for the whole cluster.
pub const OLDEST_TRANSACTION_S: i64 = 300;

/// Works until the future is dropped. `listening` is a pool of one connection.
pub async fn run(with: Arc<Provisioner>, listening: Control, oldest_transaction_s: i64) {
    let (news, backed_up) = (Notify::new(), Notify::new());
    let lane = |wanted| lane(&with, wanted, &news, &backed_up);
    // Four jobs at once: one that waits for a slow cluster does not hold up the others. Nor does a night of backups.
    let any = || lane(Wanted::Any);
    let unscheduled = || lane(Wanted::Unscheduled);
    let jobs = async { tokio::join!(any(), any(), unscheduled(), unscheduled(), hear(&listening, &news)) };
    let others = async { tokio::join!(compare(&with), keep_schedules(&with, &backed_up), keep_archives(&with)) };
    tokio::join!(jobs, look_around(&with, oldest_transaction_s), others);
}

/// Carries out one job after another; looks for more when there is news, and now and then anyway.
async fn lane(with: &Provisioner, wanted: Wanted, news: &Notify, backed_up: &Notify) {
    loop {
        let told = news.notified();
        while carry_out_one(with, wanted, backed_up).await {}
        let _ = tokio::time::timeout(POLL, told).await;
    }
}

/// Whether there was one.
async fn carry_out_one(with: &Provisioner, wanted: Wanted, backed_up: &Notify) -> bool {
    let claimed = reconcile::claim(with, wanted).await;
    if let Ok(Some((job, _))) = &claimed
        && job.kind == Kind::Backup
    {
        backed_up.notify_one();
    }
    match claimed {
        Ok(None) => return false,
        Ok(Some((job, Ok(())))) => {
            tracing::info!(job.id, kind = job.kind.as_str(), subject = %job.subject, "job done");
        }
        Ok(Some((job, Err(error)))) => {
            tracing::warn!(job.id, kind = job.kind.as_str(), subject = %job.subject, attempts = job.attempts, %error, "job failed");
        }
        Err(error) => {
            tracing::warn!(%error, "cannot claim a job");
            return false;
        }
    }
    true
}

async fn hear(listening: &Control, news: &Notify) {
    loop {
        if let Ok(mut listener) = Listener::open(listening).await {
            while let Ok(heard) = listener.next().await {
                if matches!(heard, News::Job | News::Everything) {
                    news.notify_waiters();
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn compare(with: &Provisioner) {
    let mut reconcile = tokio::time::interval(RECONCILE);
    loop {
        reconcile.tick().await;
        compare_versions(with).await;
        tell_late_backups(with).await;
    }
}

/// Adds base backups to the archives that are ours to keep.
async fn keep_archives(with: &Provisioner) {
    let mut look = tokio::time::interval(RECONCILE);
    loop {
        look.tick().await;
        match archives::keep_up(with, Clock::system().now()).await {
            Ok(failed) => {
                for (cluster, error) in failed {
                    tracing::warn!(cluster, %error, "no base backup was added to the cluster's archive");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for archives"),
        }
    }
}

/// Asks for the backups that are due: as soon as one has ended, and now and then anyway.
async fn keep_schedules(with: &Provisioner, backed_up: &Notify) {
    loop {
        if let Err(error) = ask_for_backups(with).await {
            tracing::warn!(%error, "cannot ask for the backups that are due");
        }
        let _ = tokio::time::timeout(SWEEP, backed_up.notified()).await;
    }
}

async fn ask_for_backups(with: &Provisioner) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    if schedules::queue(&mut change, BACKUPS_AT_ONCE).await? > 0 {
        change.commit().await?;
    }
    Ok(())
}

/// Nothing that watches the log has to ask the doctor.
async fn tell_late_backups(with: &Provisioner) {
    match schedules::late(&with.control).await {
        Ok(late) => {
            if let Some(first) = late.first() {
                tracing::warn!(
                    tenants = late.len(), tenant.id = %first.tenant, due = %first.due_at,
                    "backups are older than their schedules allow: `strowgerctl doctor` names them"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for late backups"),
    }
}

async fn look_around(with: &Provisioner, oldest_transaction_s: i64) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        sweep.tick().await;
        match jobs::expire(&with.control).await {
            Ok(0) => {}
            Ok(expired) => {
                tracing::warn!(expired, "jobs were not done by their deadline: `strowgerctl job list --state failed`");
            }
            Err(error) => tracing::warn!(%error, "cannot look for jobs past their deadline"),
        }
        if let Err(error) = erase::end_expired(with).await {
            tracing::warn!(%error, "cannot look for erasures whose last copy has expired");
        }
        if let Err(error) = restore::end_kept(with).await {
            tracing::warn!(%error, "cannot drop what restores replaced and is kept no longer");
        }
        if let Err(error) = moves::end_kept(with).await {
            tracing::warn!(%error, "cannot drop what is kept no longer where tenants lived before");
        }
        if let Err(error) = archives::look(with).await {
            tracing::warn!(%error, "cannot note how archives are");
        }
        look_over(with, oldest_transaction_s).await;
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

async fn look_over(with: &Provisioner, oldest_transaction_s: i64) {
    let all = match clusters::list(&with.control).await {
        Ok(all) => all,
        Err(error) => return tracing::warn!(%error, "cannot read the clusters"),
    };
    for cluster in all {
        if let Err(error) = look_over_cluster(with, &cluster, oldest_transaction_s).await {
            tracing::warn!(cluster = cluster.name, %error, "cannot look the cluster over");
        }
    }
}

/// Logins that changed their own settings get a repair; tenants' over-age transactions are ended.
async fn look_over_cluster(with: &Provisioner, cluster: &Cluster, oldest_transaction_s: i64) -> Result<()> {
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
        if !tenant.state.is_served() || tenant.cluster_id() != cluster.id {
            continue;
        }
        let expected = vec![(steps::expected_settings(&tenant.schema), false)];
        let logins = ["a", "b"].map(|turn| with.installation.prefix.tenant(tenant.id, turn));
        if let Some(login) = logins.iter().find(|login| found.get(*login) != Some(&expected)) {
            tracing::warn!(tenant.id = %tenant.id, login, "a login changed its own settings; repairing");
            let mut change = with.control.change(&with.actor).await?;
            // Said once: while a repair waits, the next look changes nothing.
            if jobs::queue(&mut change, Kind::Repair, &Subject::Tenant(tenant.id)).await? {
                change.record("tenant.settings_changed", Some(tenant.id), json!({ "login": login })).await?;
                change.commit().await?;
            }
        }
    }
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where usename ~ $1 and xact_start < now() - $2::bigint * interval '1 second'";
    let ended: i64 = db.query(sql, &[&ours, &oldest_transaction_s]).await?.first().map_or(0, |row| row.get(0));
    if ended > 0 {
        tracing::warn!(cluster = cluster.name, ended, "ended tenants' transactions that were too old");
    }
    Ok(())
}
