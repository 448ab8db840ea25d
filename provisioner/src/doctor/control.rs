//! What the control database says of itself: stuck numbers, given-up jobs, sealed values that do not open.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use strowger::clock::Clock;
use strowger::control::jobs::{self, Job, State as JobState, Subject};
use strowger::control::keys::Ring;
use strowger::control::numbers::Assignment;
use strowger::control::sealed::{self, Value, What};
use strowger::control::tenants::State;
use strowger::control::tokens::{self, LegacyFor};
use strowger::control::work;
use strowger::control::{accounts, installation, schedules};
use strowger::id::TenantId;
use strowger::vault::{AuthToken, DataKey, LoginPassword, NamedSecret, Scope, Sealed, WorkPayload};

use super::{Finding, Known, Remedy};
use crate::Provisioner;
use crate::backup::{self, Is, Store, Stray};
use crate::error::{Error, Result};

const HERE: &str = "control";
/// A store of backups that takes longer to be listed is said not to answer.
const STORE_ANSWERS: Duration = Duration::from_secs(20);

pub(super) async fn look(with: &Provisioner, known: &Known) -> Result<Vec<Finding>> {
    let mut found = given_up(with).await?;
    found.extend(stuck_numbers(with, known).await?);
    found.extend(belongings_of_nobody(with, known).await?);
    found.extend(unopened(with, known).await?);
    found.extend(legacy_keys(with).await?);
    found.extend(dead_work(with).await?);
    found.extend(forgotten_tenants(with, known).await?);
    found.extend(late_backups(with).await?);
    found.extend(stray_backups(with).await?);
    Ok(found)
}

/// Promises that nobody will keep before an operator has looked.
async fn dead_work(with: &Provisioner) -> Result<Vec<Finding>> {
    let dead = work::list(&with.control, None, Some("dead"), 100).await?;
    let finding = |item: &work::Item| {
        let reason = item.reason.as_deref().unwrap_or("-");
        let what =
            format!("work item {} ({}) of tenant {} was given up: {reason}", item.id, item.kind, item.customer_id);
        let advice = format!("`strowgerctl work retry {0}` once that is mended, or `work drop {0}`", item.id);
        Finding::new("work.dead", HERE, what, advice)
    };
    Ok(dead.iter().map(finding).collect())
}

/// Whoever holds such a secret signs as any of its tenants, and its tokens name no issuer: meant for the time of a change.
async fn legacy_keys(with: &Provisioner) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for key in tokens::legacy(&with.control).await? {
        let whose = match &key.of {
            LegacyFor::All => "every tenant".to_owned(),
            LegacyFor::Only(tenants) => format!("{} tenants", tenants.len()),
        };
        let what = format!(
            "tokens without a key id are accepted for {whose} from who has the secret of legacy key {}",
            key.kid
        );
        let advice = format!("give those services tokens of `token mint`, then `strowgerctl key retire {}`", key.kid);
        found.push(Finding::new("key.legacy", HERE, what, advice));
    }
    Ok(found)
}

async fn of_state(with: &Provisioner, state: JobState) -> Result<Vec<Job>> {
    Ok(jobs::list(&with.control, None, Some(state), i64::MAX).await?)
}

async fn given_up(with: &Provisioner) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for (code, state) in [("job.failed", JobState::Failed), ("job.recovery_failed", JobState::RecoveryFailed)] {
        for job in of_state(with, state).await? {
            let what =
                format!("job {} ({} {}): {}", job.id, job.kind.as_str(), job.subject, job.error().unwrap_or("-"));
            let advice = format!("`strowgerctl job show {0}`, then `job retry {0}` or `job cancel {0}`", job.id);
            found.push(Finding::new(code, HERE, what, advice));
        }
    }
    let now = Clock::system().now();
    for job in of_state(with, JobState::Queued).await? {
        if now - job.not_before > time::Duration::hours(1) {
            let what =
                format!("job {} ({} {}) has been due for more than an hour", job.id, job.kind.as_str(), job.subject);
            found.push(Finding::new("job.overdue", HERE, what, "run `strowgerctl worker`"));
        }
    }
    Ok(found)
}

async fn stuck_numbers(with: &Provisioner, known: &Known) -> Result<Vec<Finding>> {
    let mut at_work: Vec<String> = Vec::new();
    for state in [JobState::Running, JobState::Queued] {
        at_work.extend(of_state(with, state).await?.iter().map(|job| job.subject.to_string()));
    }
    let mut found = Vec::new();
    for row in &known.numbers {
        let number = row.number.to_string();
        if matches!(row.assignment, Assignment::Moving { .. })
            && !at_work.contains(&Subject::Number(row.number.clone()).to_string())
        {
            let what = format!("{number} is changing hands and nobody is at it: its callers hear nothing");
            let advice = format!("`strowgerctl number assign {number}` or `number release {number}`");
            found.push(Finding::new("number.moving", HERE, what, advice).mended_by(Remedy::FinishMove(number)));
        }
    }
    Ok(found)
}

/// Numbers and accounts of tenants that were erased.
async fn belongings_of_nobody(with: &Provisioner, known: &Known) -> Result<Vec<Finding>> {
    let gone = |id: &TenantId| !known.tenants.contains_key(&id.get()) && !known.busy.contains(&id.get());
    let mut found = Vec::new();
    for row in &known.numbers {
        if let Assignment::Active(id) = row.assignment
            && gone(&id)
        {
            let what = format!("{} is assigned to tenant {id}, which is not there any more", row.number);
            let advice = format!("`strowgerctl number assign {}` to whom it is now", row.number);
            found.push(Finding::new("number.orphan", HERE, what, advice));
        }
    }
    for account in accounts::list(&with.control).await? {
        if let Some(id) = account.tenant.filter(gone) {
            let what = format!("account {} belongs to tenant {id}, which is not there any more", account.id);
            let advice = "delete its row of accounts in the control database";
            found.push(Finding::new("account.orphan", HERE, what, advice));
        }
    }
    Ok(found)
}

/// Data keys and what they seal. Nothing of what opens is kept or shown.
async fn unopened(with: &Provisioner, known: &Known) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut keys: HashMap<Scope, Vec<DataKey>> = HashMap::new();
    let mut unreadable: HashSet<Scope> = HashSet::new();
    for (scope, ring, wrapped) in sealed::data_keys(&with.control).await? {
        match with.ring(ring).unwrap_data_key(scope, &wrapped) {
            Ok(key) if ring == Ring::Server => keys.entry(scope).or_default().push(key),
            Ok(_) => {}
            Err(error) => {
                unreadable.insert(scope);
                let ring = if ring == Ring::Server { "server" } else { "admin" };
                let what = format!("data key {} of {} under the {ring} ring: {error}", wrapped.version, owner(scope));
                let advice = "give the ring that holds its master key, or restore the row from a backup";
                found.push(Finding::new("sealed.unreadable", HERE, what, advice));
            }
        }
    }
    for id in known.tenants.values().map(|tenant| tenant.id) {
        let scope = Scope::Tenant(id);
        if !keys.contains_key(&scope) && !unreadable.contains(&scope) {
            let what = format!("tenant {id} has no data key: its password, accounts and secrets cannot be opened");
            let advice = "restore its row of data_keys from a backup of the control database";
            found.push(Finding::new("key.missing", HERE, what, advice));
        }
    }
    for value in sealed::values(&with.control).await? {
        let Some(keys) = keys.get(&value.scope) else { continue };
        if !keys.iter().any(|key| opens(key, &value)) {
            let what = format!("the {} {} of {} does not open", name(value.what), value.row, owner(value.scope));
            let advice = match value.what {
                What::Password => "restore its row of placements from a backup of the control database",
                What::Token => "`strowgerctl account add` with its token",
                What::Secret => "`strowgerctl secret set` with its value",
                What::Work => "restore its row of work_items from a backup of the control database",
            };
            found.push(Finding::new("sealed.unreadable", HERE, what, advice));
        }
    }
    Ok(found)
}

fn owner(scope: Scope) -> String {
    scope.tenant().map_or_else(|| "the platform".to_owned(), |id| format!("tenant {id}"))
}

fn opens(key: &DataKey, value: &Value) -> bool {
    let bytes = value.bytes.clone();
    match value.what {
        What::Password => key.open(&value.row, &Sealed::<LoginPassword>::from_stored(bytes)).is_ok(),
        What::Token => key.open(&value.row, &Sealed::<AuthToken>::from_stored(bytes)).is_ok(),
        What::Secret => key.open(&value.row, &Sealed::<NamedSecret>::from_stored(bytes)).is_ok(),
        What::Work => key.open(&value.row, &Sealed::<WorkPayload>::from_stored(bytes)).is_ok(),
    }
}

fn name(what: What) -> &'static str {
    match what {
        What::Password => "password of login",
        What::Token => "token of account",
        What::Secret => "secret",
        What::Work => "work item",
    }
}

/// Tenants whose schedules promise a backup that is not there.
async fn late_backups(with: &Provisioner) -> Result<Vec<Finding>> {
    let late = schedules::late(&with.control).await?;
    let finding = |late: &schedules::Late| {
        let id = late.tenant;
        let (code, last) = match late.last_at {
            Some(at) => ("backup.overdue", format!("was last backed up at {at}")),
            None => ("backup.missing", "was never backed up".to_owned()),
        };
        let what = format!("tenant {id} {last}; its schedule asked for a backup by {}", late.due_at);
        let advice = format!("run `strowgerctl worker`; `strowgerctl job list --tenant {id}` says what went wrong");
        Finding::new(code, HERE, what, advice)
    };
    Ok(late.iter().map(finding).collect())
}

/// What lies where backups go and the catalogue does not know. A catalogue that was restored is not asked before it is right.
async fn stray_backups(with: &Provisioner) -> Result<Vec<Finding>> {
    let place = installation::setting(&with.control, backup::BACKUPS_TO).await?;
    let Some(place) = place.filter(|_| !with.installation.reconciling) else { return Ok(Vec::new()) };
    let look = async { backup::strays(with, &Store::named(&place)?).await };
    let looked = tokio::time::timeout(STORE_ANSWERS, look).await;
    let silent = || Error::Unavailable(format!("{place} did not answer within {} seconds", STORE_ANSWERS.as_secs()));
    let strays = match looked.unwrap_or_else(|_| Err(silent())) {
        Ok(strays) => strays,
        Err(error) => {
            let what = format!("where backups go cannot be looked at from here: {error}");
            let advice = "see that it is there, and that whoever runs `strowgerctl` may read it; a worker must too";
            return Ok(vec![Finding::new("backup.unreadable", place, what, advice)]);
        }
    };
    let finding = |stray: &Stray| {
        let (whose, advice) = match stray.customer_id {
            None => ("a part of a backup".to_owned(), "`strowgerctl backup strays --delete` deletes it".to_owned()),
            Some(id) => (
                format!("a backup of tenant {id}"),
                format!(
                    "`strowgerctl backup extract --from {}/{}` reads it, `strowgerctl backup strays --delete` deletes it",
                    stray.store, stray.id
                ),
            ),
        };
        let what = format!("{whose} that the catalogue does not know lies under {}", stray.id);
        Finding::new("backup.stray", stray.store.clone(), what, advice)
    };
    Ok(strays.iter().filter(|stray| stray.is != Is::Foreign).map(finding).collect())
}

/// Tenants that nobody is bringing to the end they are meant for.
async fn forgotten_tenants(with: &Provisioner, known: &Known) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for tenant in known.tenants.values() {
        let id = tenant.id;
        if tenant.held && !known.elsewhere.iter().any(|(_, elsewhere)| *elsewhere == id.get()) {
            let what = format!("nothing can be written to tenant {id}, which does not move any more");
            let advice =
                format!("`strowgerctl job list --tenant {id}`, then `job retry` or `job cancel` of its newest move");
            found.push(Finding::new("tenant.held", HERE, what, advice));
        }
        match tenant.state {
            State::Deleted if jobs::erasure(&with.control, id).await?.is_none() => {
                let what = format!("tenant {id} is deleted, and nothing will erase it");
                let advice =
                    format!("`strowgerctl tenant delete {id}` queues its erasure, `tenant undelete {id}` serves it");
                found.push(Finding::new("tenant.kept", HERE, what, advice));
            }
            State::Provisioning => {
                let open = |job: &Job| job.state.is_open();
                if !jobs::list(&with.control, Some(id), None, i64::MAX).await?.iter().any(open) {
                    let what = format!("tenant {id} is not made yet, and nobody is at it");
                    let advice = format!("`strowgerctl job list --tenant {id}`, then `job retry` or `job cancel`");
                    found.push(Finding::new("tenant.unfinished", HERE, what, advice));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
