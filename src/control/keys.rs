//! Wrapped data keys, one scope at a time.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{Scope, WrappedKey};

/// Which master ring wrapped a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// Held by the server and the provisioner.
    Server,
    /// Held by the provisioner alone.
    Admin,
}

impl Ring {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Ring {
    type Err = ControlError;
    fn from_str(text: &str) -> Result<Self, ControlError> {
        [Self::Server, Self::Admin]
            .into_iter()
            .find(|ring| ring.as_str() == text)
            .ok_or_else(|| ControlError::Unknown(format!("ring {text}")))
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

/// The id of the master key, as it stands in the header of what it wrapped.
const MASTER: &str = "convert_from(substring(wrapped from 3 for get_byte(wrapped, 1)), 'UTF8')";

/// How many data keys each master key of a ring wraps.
pub async fn masters(control: &Control, ring: Ring) -> Result<Vec<(String, i64)>, ControlError> {
    let sql = format!("select {MASTER}, count(*) from data_keys where ring = $1 group by 1 order by 1");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(ring.as_str()).fetch_all(control.pool()).await?)
}

/// Wraps some data keys anew that another master key than `master` wraps, within a change; how many there were.
///
/// The same data key comes out of the new wrapping: what it has sealed, and whoever has it open, goes on.
pub async fn rewrap<E: From<ControlError>>(
    change: &mut Change,
    ring: Ring,
    master: &str,
    limit: i64,
    anew: impl Fn(Scope, &WrappedKey) -> Result<WrappedKey, E>,
) -> Result<usize, E> {
    let sql = format!(
        "select tenant_id, version, wrapped from data_keys where ring = $1 and {MASTER} <> $2
         order by tenant_id nulls first, version limit $3 for update"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(ring.as_str())
        .bind(master)
        .bind(limit)
        .fetch_all(change.conn())
        .await
        .map_err(ControlError::from)?;
    let (mut tenants, mut versions, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let tenant: Option<i32> = row.try_get("tenant_id").map_err(ControlError::from)?;
        let scope = Scope::of(tenant.map(TenantId::try_from).transpose().map_err(ControlError::from)?);
        tenants.push(tenant);
        versions.push(row.try_get::<i32, _>("version").map_err(ControlError::from)?);
        all.push(anew(scope, &wrapped(row)?)?.bytes);
    }
    let sql = "update data_keys k set wrapped = n.wrapped
               from unnest($2::int[], $3::int[], $4::bytea[]) n (tenant_id, version, wrapped)
               where k.ring = $1 and k.tenant_id is not distinct from n.tenant_id and k.version = n.version";
    sqlx::query(sql)
        .bind(ring.as_str())
        .bind(tenants)
        .bind(versions)
        .bind(all)
        .execute(change.conn())
        .await
        .map_err(ControlError::from)?;
    let detail = serde_json::json!({ "ring": ring, "master_key": master, "data_keys": rows.len() });
    change.record("data_keys.rewrap", None, detail).await?;
    Ok(rows.len())
}
