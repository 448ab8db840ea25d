//! A login that may replicate, so that tenants move while they are written to.

use strowger::control::clusters;
use strowger::control::keys::Ring;
use strowger::control::replicators;
use strowger::vault::Secret;

use super::{Superuser, ensure_login};
use crate::Provisioner;
use crate::error::{Error, Result};

/// Makes the login on a registered cluster, or gives it another password, and seals that for the provisioner.
///
/// Before Postgres 16 only a superuser makes subscriptions, so that is what it is. The superuser at hand is kept nowhere.
pub async fn allow_online(with: &Provisioner, superuser: Superuser, name: &str) -> Result<()> {
    let all = clusters::list(&with.control).await?;
    let cluster = all.into_iter().find(|cluster| cluster.name == name);
    let cluster = cluster.ok_or_else(|| Error::Conflict(clusters::unknown_cluster(name)))?;
    if (&cluster.address.host, cluster.address.port) != (&superuser.address.host, superuser.address.port) {
        return Err(Error::Conflict(format!("that URL is of another server than cluster {name}")));
    }
    // The URL cannot say which authority is behind the server's certificate; the cluster's own row does.
    let at = Superuser { address: cluster.address, ..superuser };
    let (login, password) = (with.installation.prefix.name("replicator"), Secret::random_password());
    ensure_login(&at.connect("postgres").await?, &login, "superuser replication connection limit 20", &password)
        .await?;
    let key = with.platform_key(Ring::Admin).await?;
    let mut change = with.control.change(&with.actor).await?;
    replicators::put(&mut change, cluster.id, &login, &key.seal(&login, password.expose())).await?;
    Ok(change.commit().await?)
}
