//! Everything that is sealed here, at once: for whoever looks whether it still opens.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::keys::Ring;
use super::{Control, ControlError};
use crate::id::TenantId;
use crate::vault::{Scope, WrappedKey};

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The password of a tenant's login.
    Password,
    /// A provider account's token.
    Token,
    /// A named secret.
    Secret,
    /// What a work item says.
    Work,
}

/// A sealed value with the row that it is sealed for.
pub struct Value {
    /// Whose.
    pub scope: Scope,
    /// What for.
    pub what: What,
    /// The row: a login, an account's id, a secret's name.
    pub row: String,
    /// The ciphertext.
    pub bytes: Vec<u8>,
}

fn scope(row: &PgRow) -> Result<Scope, ControlError> {
    let tenant = row.try_get::<Option<i32>, _>("tenant_id")?.map(TenantId::try_from).transpose()?;
    Ok(Scope::of(tenant))
}

/// All data keys.
pub async fn data_keys(control: &Control) -> Result<Vec<(Scope, Ring, WrappedKey)>, ControlError> {
    let sql = "select tenant_id, ring, version, wrapped from data_keys order by tenant_id, ring, version";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            let ring = if row.try_get::<&str, _>("ring")? == "admin" { Ring::Admin } else { Ring::Server };
            Ok((scope(row)?, ring, super::keys::wrapped(row)?))
        })
        .collect()
}

/// All values that are sealed under data keys of the server's ring.
pub async fn values(control: &Control) -> Result<Vec<Value>, ControlError> {
    let sql = "select tenant_id, 'password' as what, login as row, sealed_password as bytes from placements
               union all select tenant_id, 'token', external_id, sealed_secret from accounts
               union all select tenant_id, 'secret', name, sealed from secrets
               union all select tenant_id, 'work', kind || ' ' || source_id, sealed from work_items where sealed is not null
               order by 1, 2, 3";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            let what = match row.try_get::<&str, _>("what")? {
                "password" => What::Password,
                "token" => What::Token,
                "work" => What::Work,
                _ => What::Secret,
            };
            Ok(Value { scope: scope(row)?, what, row: row.try_get("row")?, bytes: row.try_get("bytes")? })
        })
        .collect()
}

/// The epoch that each tenant's identity row must hold.
pub async fn epochs(control: &Control) -> Result<Vec<(TenantId, i32)>, ControlError> {
    let rows = sqlx::query("select tenant_id, epoch from placements").fetch_all(control.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get::<i32, _>(0)?.try_into()?, row.try_get(1)?))).collect()
}
