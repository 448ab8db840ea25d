//! What is, as the control database says: all that a plan compares with, and all that an export writes.

use std::collections::{BTreeMap, HashMap};

use strowger::control::clusters::{self, Isolation};
use strowger::control::jobs::{self, Subject};
use strowger::control::keys::Ring;
use strowger::control::numbers::{self, Assignment};
use strowger::control::tenants::{self, State};
use strowger::control::{accounts, installation, schedules, secrets};
use strowger::id::{AccountSid, Region, TenantId};
use strowger::phone::Number;
use strowger::vault::{Scope, Secret};

use super::file::Desired;
use crate::Provisioner;
use crate::error::Result;
use crate::placement::Candidate;
use crate::rhythm::Rhythm;

/// Everything that is, tenants known by their names, which are unique.
pub(super) struct Actual {
    pub(super) tenants: Vec<TenantNow>,
    pub(super) clusters: Vec<Candidate>,
    pub(super) accounts: Vec<AccountNow>,
    pub(super) secrets: Vec<SecretNow>,
    pub(super) numbers: Vec<NumberNow>,
    /// What holds for every tenant, by name.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) schedules: Vec<ScheduleNow>,
}

#[derive(Debug, Clone)]
pub(super) struct TenantNow {
    pub(super) id: TenantId,
    pub(super) name: String,
    pub(super) region: Region,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) isolation: Isolation,
    pub(super) cluster: String,
    /// Control says its state, but the job that makes it so has not ended: a killed suspension may not have shut it out.
    pub(super) unsettled: bool,
}

pub(super) struct AccountNow {
    pub(super) id: AccountSid,
    /// `None`: the platform.
    pub(super) owner: Option<String>,
    /// Opened only for an account that the file names.
    pub(super) token: Option<Secret>,
}

pub(super) struct SecretNow {
    pub(super) name: String,
    /// `None`: the platform.
    pub(super) owner: Option<String>,
    /// Opened only for a secret that the file names.
    pub(super) value: Option<Secret>,
}

#[derive(Debug, Clone)]
pub(super) struct NumberNow {
    pub(super) number: Number,
    pub(super) account: AccountSid,
    pub(super) held: Held,
}

#[derive(Debug, Clone)]
pub(super) struct ScheduleNow {
    /// `None`: everybody who has none of their own.
    pub(super) owner: Option<String>,
    pub(super) rhythm: Rhythm,
}

/// Who answers a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    By(String),
    /// Its hand-over has not ended.
    Moving {
        to: Option<String>,
    },
    Released,
}

impl Actual {
    pub(super) fn tenant(&self, name: &str) -> Option<&TenantNow> {
        self.tenants.iter().find(|tenant| tenant.name == name)
    }

    /// The region label of a cluster.
    pub(super) fn label(&self, cluster: &str) -> Option<&str> {
        self.clusters.iter().find(|candidate| candidate.name == cluster).map(|candidate| candidate.region.as_str())
    }
}

/// Reads what is, and opens the secrets that `desired` names, to compare them.
pub(super) async fn read(with: &Provisioner, desired: Option<&Desired>) -> Result<Actual> {
    let control = &with.control;
    let tenants = tenants::list(control).await?;
    let names: HashMap<TenantId, String> = tenants.iter().map(|tenant| (tenant.id, tenant.name.clone())).collect();
    let name_of = |id: Option<TenantId>| id.map(|id| names.get(&id).cloned().unwrap_or_else(|| format!("({id})")));
    // Read first: a job that ends meanwhile is carried out once more, which changes nothing.
    let unsettled = jobs::unsettled(control).await?;
    let mut all = Actual {
        clusters: clusters::occupancy(control).await?.into_iter().map(Candidate::of).collect(),
        accounts: Vec::new(),
        secrets: Vec::new(),
        numbers: numbers::list(control).await?.into_iter().map(|row| number(row, &unsettled, &name_of)).collect(),
        settings: installation::settings(control).await?,
        schedules: schedules::list(control).await?.iter().map(|row| schedule(row, &name_of)).collect(),
        tenants: tenants.into_iter().map(|row| tenant(row, &unsettled)).collect(),
    };
    for account in accounts::list(control).await? {
        let id: AccountSid = account.id.parse()?;
        let wanted = desired.is_some_and(|desired| desired.accounts.iter().any(|wanted| wanted.it.id == id));
        let token = if wanted { token(with, &id, Scope::of(account.tenant)).await? } else { None };
        all.accounts.push(AccountNow { id, owner: name_of(account.tenant), token });
    }
    for (owner, name) in secrets::list(control).await? {
        let wanted = desired.is_some_and(|desired| desired.secrets.iter().any(|wanted| wanted.it.name == name));
        let value = if wanted { value(with, &name, Scope::of(owner)).await? } else { None };
        all.secrets.push(SecretNow { name, owner: name_of(owner), value });
    }
    Ok(all)
}

fn tenant(tenant: tenants::Tenant, unsettled: &[Subject]) -> TenantNow {
    TenantNow {
        unsettled: unsettled.contains(&Subject::Tenant(tenant.id)),
        id: tenant.id,
        name: tenant.name,
        region: tenant.region,
        state: tenant.state,
        reason: tenant.state_reason,
        isolation: tenant.isolation,
        cluster: tenant.cluster,
    }
}

fn schedule(row: &schedules::Row, name_of: &dyn Fn(Option<TenantId>) -> Option<String>) -> ScheduleNow {
    ScheduleNow { owner: name_of(row.tenant), rhythm: Rhythm::of(&row.schedule) }
}

fn number(
    row: numbers::NumberRow,
    unsettled: &[Subject],
    name_of: &dyn Fn(Option<TenantId>) -> Option<String>,
) -> NumberNow {
    let held = match row.assignment {
        Assignment::Active(tenant) if unsettled.contains(&Subject::Number(row.number.clone())) => {
            Held::Moving { to: name_of(Some(tenant)) }
        }
        Assignment::Active(tenant) => name_of(Some(tenant)).map_or(Held::Released, Held::By),
        Assignment::Moving { to, .. } => Held::Moving { to: name_of(to) },
        Assignment::Released => Held::Released,
    };
    NumberNow { number: row.number, account: row.account, held }
}

/// `None` also for one that does not open: it is not the wanted one, and is written anew.
async fn token(with: &Provisioner, id: &AccountSid, scope: Scope) -> Result<Option<Secret>> {
    let Some(sealed) = accounts::sealed(&with.control, id).await? else { return Ok(None) };
    Ok(with.data_key(scope, Ring::Server).await?.open(id.as_str(), &sealed.token).ok())
}

/// The same for a secret set by name.
async fn value(with: &Provisioner, name: &str, scope: Scope) -> Result<Option<Secret>> {
    let Some(sealed) = secrets::get(&with.control, scope, name).await? else { return Ok(None) };
    Ok(with.data_key(scope, Ring::Server).await?.open(name, &sealed).ok())
}
