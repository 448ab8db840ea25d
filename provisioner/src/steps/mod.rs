//! What is done to a cluster for one tenant. Each step says what must be so and makes it so; run again, it changes nothing.

mod database;
mod drop;
mod erase;
mod hand_over;
mod logins;
mod master;
mod mirror;
mod prove;
mod roles;
mod rows;
mod schema;

use strowger::control::clusters::{Cluster, Isolation};
use strowger::control::tenants::{self, Tenant};
use strowger::control::{erasures, placements};
use strowger::id::TenantId;
use strowger::vault::{Scope, Secret};

pub(crate) use database::{clone_template, ensure_database};
pub(crate) use drop::{drop_database, drop_roles, drop_schema};
pub(crate) use erase::{refuse_moving_numbers, shred, take_belongings};
pub(crate) use hand_over::{hand_over, may_have_numbers};
pub(crate) use logins::Logins;
pub(crate) use master::{master_known, master_known_of, rewrap};
pub(crate) use mirror::Mirror;
pub(crate) use prove::prove_absent;
pub(crate) use roles::{ensure_roles, expected_settings, fence, leave};
pub(crate) use schema::{Owner, ensure_grants, ensure_roles_and_schema, ensure_schema, now, rights};

use crate::Provisioner;
use crate::error::{Error, Result};

/// Where the admin connects to act on a whole cluster.
pub(crate) const MAINTENANCE_DATABASE: &str = "postgres";

/// The group whose members may connect to the shared database.
///
/// One entry in that database's access list, whatever the number of tenants.
pub(crate) fn shared_group(with: &Provisioner) -> String {
    with.installation.prefix.name("tenants")
}

/// Where the admin connects to make a tenant's roles: its own database only if others share it, for that one is there already.
pub(crate) fn database_for_roles(tenant: &Tenant) -> &str {
    if is_shared(tenant) { &tenant.database } else { MAINTENANCE_DATABASE }
}

/// A tenant by id, or an error that says so.
pub(crate) async fn tenant(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    match tenants::get(&with.control, id).await? {
        Some(tenant) => Ok(tenant),
        None if erasures::get(&with.control, id).await?.is_some() => Err(Error::Conflict(format!(
            "tenant {id} was erased: `strowgerctl tenant receipt {id}` is all that is left"
        ))),
        None => Err(Error::Conflict(format!("there is no tenant {id}"))),
    }
}

/// The password of the login that a tenant is served with, and the epoch of its data.
pub(crate) async fn credential(with: &Provisioner, id: TenantId) -> Result<(Secret, i32)> {
    let route = placements::route(&with.control, id)
        .await?
        .ok_or_else(|| Error::Conflict(format!("tenant {id} has no placement")))?;
    let what = || format!("the password of tenant {id}");
    let key = with.server_ring.unwrap_data_key(Scope::Tenant(id), &route.data_key).map_err(Error::vault(what()))?;
    Ok((key.open(&route.placement.login, &route.password).map_err(Error::vault(what()))?, route.placement.epoch))
}

/// The cluster a tenant lives on.
pub(crate) async fn cluster_of(with: &Provisioner, tenant: &Tenant) -> Result<Cluster> {
    let cluster = strowger::control::clusters::get(&with.control, tenant.cluster_id()).await?;
    cluster.ok_or_else(|| Error::Conflict(format!("tenant {} lives on a cluster that is not registered", tenant.id)))
}

/// Whether a tenant lives in a database with others.
pub(crate) fn is_shared(tenant: &Tenant) -> bool {
    tenant.isolation == Isolation::Schema
}
