//! Wrapped data keys, one scope at a time.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{Scope, WrappedKey};

/// Which master ring wrapped a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Held by the server and the provisioner.
    Server,
    /// Held by the provisioner alone.
    Admin,
}

impl Ring {
    fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Admin => "admin",
        }
    }
}

pub(super) fn wrapped(row: &PgRow) -> Result<WrappedKey, ControlError> {
    let version: i32 = row.try_get("version")?;
    let version = u32::try_from(version).map_err(|_| ControlError::Unknown(format!("data key version {version}")))?;
    Ok(WrappedKey { version, bytes: row.try_get("wrapped")? })
}

/// The newest data key of a scope.
pub async fn newest(control: &Control, scope: Scope, ring: Ring) -> Result<Option<WrappedKey>, ControlError> {
    let sql = "select version, wrapped from data_keys where tenant_id is not distinct from $1 and ring = $2
               order by version desc limit 1";
    let row = sqlx::query(sql)
        .bind(scope.tenant().map(TenantId::get))
        .bind(ring.as_str())
        .fetch_optional(control.pool())
        .await?;
    row.as_ref().map(wrapped).transpose()
}

/// Stores a new data key.
pub async fn create(change: &mut Change, scope: Scope, ring: Ring, key: &WrappedKey) -> Result<(), ControlError> {
    let tenant = scope.tenant();
    sqlx::query("insert into data_keys (tenant_id, ring, version, wrapped) values ($1, $2, $3, $4)")
        .bind(tenant.map(TenantId::get))
        .bind(ring.as_str())
        .bind(i32::try_from(key.version).unwrap_or(i32::MAX))
        .bind(&key.bytes)
        .execute(change.conn())
        .await?;
    change.record("data_key.create", tenant, serde_json::json!({ "ring": ring.as_str(), "version": key.version })).await
}
