//! A tenant's life: created, suspended, resumed; and repaired, when it has harmed itself.
//!
//! Every operation takes the tenant's lock in the control database, writes down as a job what is to be, and carries it out step by
//! step. Killed anywhere, it is finished by the same command run again, or by a worker.

use serde_json::json;
use strowger::control::clusters::{self, Cluster, Isolation};
use strowger::control::jobs::{Job, Kind, Subject};
use strowger::control::keys::{self, Ring};
use strowger::control::placements::{self, NewPlacement};
use strowger::control::tenants::{self, State, Tenant};
use strowger::id::{Region, TenantId};
use strowger::schema;
use strowger::vault::{Scope, Secret};

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::reconcile::{self, hold};
use crate::steps;

/// What a new tenant is to be.
pub struct NewTenant<'a> {
    /// The operator's handle for it, unique.
    pub name: &'a str,
    /// An id, for imports; else the next one.
    pub id: Option<TenantId>,
    /// Schema or database.
    pub isolation: Isolation,
    /// A cluster by name; else the first that fits.
    pub cluster: Option<&'a str>,
    /// Default region of its callers' numbers.
    pub region: Region,
}

/// Creates a tenant, or finishes creating it, or finds that it is there as asked: the same result each time.
pub async fn create(with: &Provisioner, new: &NewTenant<'_>) -> Result<Tenant> {
    if new.name.trim().is_empty() || new.name.chars().count() > 200 || new.name.chars().any(char::is_control) {
        return Err(Error::Conflict(
            "a tenant's name has 1 to 200 characters, none of them a control character".into(),
        ));
    }
    let (id, job) = match tenants::find(&with.control, new.name).await? {
        Some(found) => (as_asked(found, new)?.id, None),
        None => match reserve(with, new).await {
            // Somebody else may have reserved it just now: another command, or the last words of a killed one.
            Err(Error::Conflict(text)) => match tenants::find(&with.control, new.name).await? {
                Some(found) => (as_asked(found, new)?.id, None),
                None => return Err(Error::Conflict(text)),
            },
            reserved => reserved.map(|(id, job)| (id, Some(job)))?,
        },
    };
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    match (tenant.state, job) {
        (State::Provisioning, Some(job)) => held.finish(job).await?,
        (State::Provisioning, None) => held.run(Kind::Create, &json!({})).await?,
        (State::Deleted | State::Erasing | State::Erased, _) => {
            return Err(Error::Conflict(format!("tenant {id} was deleted; its name and id are not used again")));
        }
        (State::Active | State::Suspended, _) => return Ok(tenant),
    }
    get(with, id).await
}

/// A tenant of that name is the one meant only if it is what was asked for.
fn as_asked(found: Tenant, new: &NewTenant<'_>) -> Result<Tenant> {
    let differs = [
        (new.id.is_some_and(|id| id != found.id), "id", found.id.to_string()),
        (new.isolation != found.isolation, "isolation", found.isolation.as_str().to_owned()),
        (new.cluster.is_some_and(|name| name != found.cluster), "cluster", found.cluster.clone()),
        (new.region != found.region, "region", found.region.to_string()),
    ];
    match differs.into_iter().find(|(differs, ..)| *differs) {
        None => Ok(found),
        Some((_, what, value)) => Err(Error::Conflict(format!(
            "there is a tenant {} named \"{}\" with {what} {value}: use another name, or ask for the same",
            found.id, found.name
        ))),
    }
}

/// Writes down, in one transaction, everything that the steps need: a crash after it leaves a job that can be finished.
async fn reserve(with: &Provisioner, new: &NewTenant<'_>) -> Result<(TenantId, Job)> {
    let cluster = choose_cluster(with, new).await?;
    let prefix = &with.installation.prefix;
    let mut change = with.control.change(&with.actor).await?;
    let id = tenants::reserve(&mut change, new.id, new.name, new.region).await?;
    let (key, wrapped) = with.server_ring.new_data_key(Scope::Tenant(id), 1);
    keys::create(&mut change, Scope::Tenant(id), Ring::Server, &wrapped).await?;
    let login = prefix.tenant(id, "a");
    let placement = NewPlacement {
        cluster: cluster.id,
        isolation: new.isolation,
        database: &match new.isolation {
            Isolation::Schema => Cluster::shared_database(prefix),
            Isolation::Database => prefix.tenant_database(id),
        },
        schema: &schema::name(id),
        login: &login,
        password: &key.seal(&login, Secret::random_password().expose()),
    };
    placements::create(&mut change, id, &placement).await?;
    // Not the name: audit rows are never changed, and an erasure leaves no name.
    change.record("tenant.reserve", Some(id), json!({ "cluster": cluster.name })).await?;
    let job = reconcile::begin(with, &mut change, Kind::Create, &Subject::Tenant(id), &json!({})).await?;
    change.commit().await?;
    Ok((id, job))
}

async fn choose_cluster(with: &Provisioner, new: &NewTenant<'_>) -> Result<Cluster> {
    let kind = new.isolation.cluster_kind();
    let fits = |cluster: &Cluster| cluster.kind == kind && new.cluster.is_none_or(|name| name == cluster.name);
    let found = clusters::list(&with.control).await?.into_iter().find(fits);
    found.ok_or_else(|| {
        let wanted = new.cluster.map_or_else(String::new, |name| format!(" named {name}"));
        Error::Conflict(format!(
            "there is no {kind} cluster{wanted}: see `strowgerctl cluster list`, add one with `cluster add`"
        ))
    })
}

/// Blocks a tenant, in Postgres itself: no login works and no session is left when this returns.
pub async fn suspend(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    change_state(with, id, Kind::Suspend, State::Suspended, reason).await
}

/// Serves a suspended tenant again.
pub async fn resume(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    match get(with, id).await?.state {
        State::Provisioning => {
            return Err(Error::Conflict(format!("tenant {id} is not made yet: `strowgerctl job list --tenant {id}`")));
        }
        State::Deleted => {
            let text = format!("tenant {id} is deleted: `strowgerctl tenant undelete {id}` serves it again");
            return Err(Error::Conflict(text));
        }
        _ => {}
    }
    change_state(with, id, Kind::Resume, State::Active, reason).await
}

async fn change_state(with: &Provisioner, id: TenantId, kind: Kind, next: State, reason: &str) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    if !tenant.state.may_become(next) {
        let text = format!("tenant {id} is {} and cannot become {}", tenant.state.as_str(), next.as_str());
        return Err(Error::Conflict(text));
    }
    held.run(kind, &json!({ "reason": reason })).await?;
    get(with, id).await
}

/// Puts an active tenant's roles, password, settings and grants back to what control says.
pub async fn repair(with: &Provisioner, id: TenantId) -> Result<()> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    if tenant.state != State::Active {
        let text = format!("tenant {id} is {}: only an active one is repaired", tenant.state.as_str());
        return Err(Error::Conflict(text));
    }
    held.run(Kind::Repair, &json!({})).await
}

/// The tenant login's libpq URL, for support. The audit log says who took it, before it is shown.
pub async fn connection(with: &Provisioner, id: TenantId) -> Result<String> {
    let tenant = get(with, id).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let (password, _) = steps::credential(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("tenant.connection", Some(id), json!({ "login": tenant.login_role })).await?;
    change.commit().await?;
    let hosts: Vec<String> =
        cluster.address.host.split(',').map(|host| format!("{host}:{}", cluster.address.port)).collect();
    let (mode, _) = cluster.address.tls.to_columns();
    Ok(format!(
        "postgres://{}:{}@{}/{}?sslmode={mode}&options=-csearch_path%3D{}",
        tenant.login_role,
        password.expose_str().unwrap_or_default(),
        hosts.join(","),
        tenant.database,
        tenant.schema
    ))
}

/// A tenant by id, or an error that says so.
pub async fn get(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    steps::tenant(with, id).await
}
