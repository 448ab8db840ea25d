//! A tenant's life: created, suspended, resumed, deleted; and repaired, when it has harmed itself.
//!
//! Every operation takes the tenant's lock in the control database, says in control what is to be, makes it so on the
//! cluster, and says in control that it is. Killed anywhere, it is finished by the same command run again, or by a worker.

use serde_json::json;
use strowger::control::clusters::{self, Cluster, Isolation};
use strowger::control::jobs::{self, Kind};
use strowger::control::keys::{self, Ring};
use strowger::control::locks;
use strowger::control::placements::{self, NewPlacement};
use strowger::control::tenants::{self, State, Tenant};
use strowger::id::{Region, TenantId};
use strowger::schema;
use strowger::vault::{Scope, Secret};
use time::format_description::well_known::Rfc3339;

use crate::Provisioner;
use crate::error::{Error, Result};
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
    let tenant = match tenants::find(&with.control, new.name).await? {
        Some(found) => as_asked(found, new)?,
        None => match reserve(with, new).await {
            // Somebody else may have reserved it just now: another command, or the last words of a killed one.
            Err(Error::Conflict(text)) => match tenants::find(&with.control, new.name).await? {
                Some(found) => as_asked(found, new)?,
                None => return Err(Error::Conflict(text)),
            },
            reserved => reserved?,
        },
    };
    finish_create(with, tenant.id).await
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
async fn reserve(with: &Provisioner, new: &NewTenant<'_>) -> Result<Tenant> {
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
    jobs::enqueue(&mut change, Kind::Create, id).await?;
    change.record("tenant.reserve", Some(id), json!({ "name": new.name, "cluster": cluster.name })).await?;
    change.commit().await?;
    get(with, id).await
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

/// Carries out whatever is missing of a reserved tenant and activates it.
pub async fn finish_create(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    let _lock = lock(with, id).await?;
    let tenant = get(with, id).await?;
    match tenant.state {
        State::Provisioning => {}
        State::Deleted => {
            return Err(Error::Conflict(format!("tenant {id} was deleted; its name and id are not used again")));
        }
        State::Active | State::Suspended => return Ok(tenant),
    }
    let cluster = steps::cluster_of(with, &tenant).await?;
    let (password, epoch) = credential(with, id).await?;
    steps::ensure_roles(with, &cluster, &tenant, &password).await?;
    steps::ensure_database(with, &cluster, &tenant).await?;
    steps::ensure_schema(with, &cluster, &tenant, epoch, &now()).await?;
    let mut change = with.control.change(&with.actor).await?;
    tenants::transition(&mut change, id, State::Active, "created").await?;
    jobs::finish(&mut change, Kind::Create, id).await?;
    change.commit().await?;
    get(with, id).await
}

/// Blocks a tenant, in Postgres itself: no login works and no session is left when this returns.
pub async fn suspend(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    block(with, id, State::Suspended, reason).await
}

/// Blocks a tenant for good and keeps everything.
pub async fn delete(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    block(with, id, State::Deleted, reason).await
}

async fn block(with: &Provisioner, id: TenantId, state: State, reason: &str) -> Result<Tenant> {
    let _lock = lock(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    tenants::transition(&mut change, id, state, reason).await?;
    if state == State::Deleted {
        jobs::finish(&mut change, Kind::Create, id).await?;
    }
    jobs::finish(&mut change, Kind::Repair, id).await?;
    change.commit().await?;
    let tenant = get(with, id).await?;
    steps::fence(with, &steps::cluster_of(with, &tenant).await?, &tenant).await?;
    with.settle().await?;
    Ok(tenant)
}

/// Serves a suspended tenant again.
pub async fn resume(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    let _lock = lock(with, id).await?;
    let tenant = get(with, id).await?;
    if tenant.state != State::Active {
        if tenant.state != State::Suspended {
            return Err(Error::Conflict(format!("tenant {id} is {} and cannot be resumed", tenant.state.as_str())));
        }
        mend(with, &tenant).await?;
        let mut change = with.control.change(&with.actor).await?;
        tenants::transition(&mut change, id, State::Active, reason).await?;
        change.commit().await?;
        with.settle().await?;
    }
    get(with, id).await
}

/// Puts an active tenant's roles, password, settings and grants back to what control says.
pub async fn repair(with: &Provisioner, id: TenantId) -> Result<()> {
    let _lock = lock(with, id).await?;
    let tenant = get(with, id).await?;
    if tenant.state == State::Active {
        mend(with, &tenant).await?;
    }
    let mut change = with.control.change(&with.actor).await?;
    jobs::finish(&mut change, Kind::Repair, id).await?;
    change.record("tenant.repair", Some(id), json!({})).await?;
    Ok(change.commit().await?)
}

async fn mend(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    let cluster = steps::cluster_of(with, tenant).await?;
    let (password, _) = credential(with, tenant.id).await?;
    steps::ensure_roles(with, &cluster, tenant, &password).await?;
    steps::ensure_database(with, &cluster, tenant).await?;
    steps::ensure_grants(with, &cluster, tenant).await
}

/// The tenant login's libpq URL, for support. The audit log says who took it, before it is shown.
pub async fn connection(with: &Provisioner, id: TenantId) -> Result<String> {
    let tenant = get(with, id).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let (password, _) = credential(with, id).await?;
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
    tenants::get(&with.control, id).await?.ok_or_else(|| Error::Conflict(format!("there is no tenant {id}")))
}

pub(crate) async fn lock(with: &Provisioner, id: TenantId) -> Result<locks::Lock> {
    Ok(locks::hold(&with.control, &locks::of_tenant(id)).await?)
}

async fn credential(with: &Provisioner, id: TenantId) -> Result<(Secret, i32)> {
    let route = placements::route(&with.control, id)
        .await?
        .ok_or_else(|| Error::Conflict(format!("tenant {id} has no placement")))?;
    let what = || format!("the password of tenant {id}");
    let key = with.server_ring.unwrap_data_key(Scope::Tenant(id), &route.data_key).map_err(Error::vault(what()))?;
    Ok((key.open(&route.placement.login, &route.password).map_err(Error::vault(what()))?, route.placement.epoch))
}

fn now() -> String {
    strowger::clock::Clock::system().now().format(&Rfc3339).unwrap_or_default()
}
