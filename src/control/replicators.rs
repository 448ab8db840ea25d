//! What may replicate on a cluster: a login for moves that go on while a tenant is written to.

use serde_json::json;
use sqlx::Row as _;

use super::clusters::ClusterId;
use super::{Change, Control, ControlError};
use crate::vault::{LoginPassword, Sealed};

/// The login that replicates on a cluster, and its password under the provisioner's ring; `None` where nobody allowed it.
pub async fn get(
    control: &Control,
    cluster: ClusterId,
) -> Result<Option<(String, Sealed<LoginPassword>)>, ControlError> {
    let row = sqlx::query("select login, sealed_password from cluster_replicators where cluster_id = $1")
        .bind(cluster.0)
        .fetch_optional(control.pool())
        .await?;
    row.map(|row| Ok((row.try_get(0)?, Sealed::from_stored(row.try_get(1)?)))).transpose()
}

/// Notes it, in the place of what was noted before.
pub async fn put(
    change: &mut Change,
    cluster: ClusterId,
    login: &str,
    password: &Sealed<LoginPassword>,
) -> Result<(), ControlError> {
    let sql = "insert into cluster_replicators (cluster_id, login, sealed_password) values ($1, $2, $3)
               on conflict (cluster_id) do update set login = excluded.login, sealed_password = excluded.sealed_password";
    sqlx::query(sql).bind(cluster.0).bind(login).bind(password.as_bytes()).execute(change.conn()).await?;
    change.record("cluster.allow_online", None, json!({ "cluster": cluster.0, "login": login })).await
}

/// Forgets it.
pub async fn forget(change: &mut Change, cluster: ClusterId) -> Result<(), ControlError> {
    sqlx::query("delete from cluster_replicators where cluster_id = $1").bind(cluster.0).execute(change.conn()).await?;
    change.record("cluster.forbid_online", None, json!({ "cluster": cluster.0 })).await
}
