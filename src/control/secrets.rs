//! Secrets set by name, for a tenant or for the platform.

use sqlx::Row as _;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{NamedSecret, Scope, Sealed};

/// Sets or replaces a secret.
pub async fn put(
    change: &mut Change,
    scope: Scope,
    name: &str,
    sealed: &Sealed<NamedSecret>,
) -> Result<(), ControlError> {
    let sql = "insert into secrets (tenant_id, name, sealed) values ($1, $2, $3)
               on conflict (tenant_id, name) do update set sealed = excluded.sealed, set_at = now()";
    sqlx::query(sql)
        .bind(scope.tenant().map(TenantId::get))
        .bind(name)
        .bind(sealed.as_bytes())
        .execute(change.conn())
        .await?;
    change.record("secret.set", scope.tenant(), serde_json::json!({ "name": name })).await
}

/// The names of all secrets, each with its owner; `None` is the platform.
pub async fn list(control: &Control) -> Result<Vec<(Option<TenantId>, String)>, ControlError> {
    let rows = sqlx::query("select tenant_id, name from secrets order by tenant_id nulls first, name")
        .fetch_all(control.pool())
        .await?;
    let owner = |id: Option<i32>| id.map(TenantId::try_from).transpose();
    rows.iter().map(|row| Ok((owner(row.try_get(0)?)?, row.try_get(1)?))).collect()
}

/// One secret, sealed.
pub async fn get(control: &Control, scope: Scope, name: &str) -> Result<Option<Sealed<NamedSecret>>, ControlError> {
    let sql = "select sealed from secrets where tenant_id is not distinct from $1 and name = $2";
    let sealed: Option<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(scope.tenant().map(TenantId::get))
        .bind(name)
        .fetch_optional(control.pool())
        .await?;
    Ok(sealed.map(Sealed::from_stored))
}

/// Whether a tenant has a secret of its own, or the platform one for all.
pub async fn any_for(control: &Control, tenant: TenantId) -> Result<bool, ControlError> {
    let sql = "select exists (select from secrets where tenant_id = $1 or tenant_id is null)";
    Ok(sqlx::query_scalar(sql).bind(tenant.get()).fetch_one(control.pool()).await?)
}
