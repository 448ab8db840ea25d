//! Secrets set by name, for a tenant or for the platform.

use super::{Change, ControlError};
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
