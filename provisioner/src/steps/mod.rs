//! What is done to a cluster for one tenant. Each step says what must be so and makes it so; run again, it changes nothing.

mod database;
mod mirror;
mod roles;
mod schema;

use strowger::control::clusters::{Cluster, Isolation};
use strowger::control::tenants::Tenant;

pub(crate) use database::{clone_template, ensure_database};
pub(crate) use mirror::Mirror;
pub(crate) use roles::{ensure_roles, expected_settings, fence};
pub(crate) use schema::{Owner, ensure_grants, ensure_schema};

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

/// The cluster a tenant lives on.
pub(crate) async fn cluster_of(with: &Provisioner, tenant: &Tenant) -> Result<Cluster> {
    let cluster = strowger::control::clusters::get(&with.control, tenant.cluster_id()).await?;
    cluster.ok_or_else(|| Error::Conflict(format!("tenant {} lives on a cluster that is not registered", tenant.id)))
}

fn is_shared(tenant: &Tenant) -> bool {
    tenant.isolation == Isolation::Schema
}
