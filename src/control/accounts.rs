//! Accounts at providers, owned by the platform or by a tenant.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Change, Control, ControlError};
use crate::id::{AccountSid, TenantId};
use crate::vault::{AuthToken, Scope, Sealed, WrappedKey};

/// One Twilio account or subaccount.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Account {
    /// `twilio`.
    pub provider: String,
    /// The provider's name for it.
    pub id: String,
    /// Its owner; `None` is the platform.
    #[serde(rename = "customer_id")]
    pub tenant: Option<TenantId>,
}

/// An account with what opens its auth token.
pub struct SealedAccount {
    /// Whose it is.
    pub owner: Scope,
    /// The token.
    pub token: Sealed<AuthToken>,
    /// The key that opens the token.
    pub data_key: WrappedKey,
}

fn owner(row: &PgRow) -> Result<Option<TenantId>, ControlError> {
    Ok(row.try_get::<Option<i32>, _>("tenant_id")?.map(TenantId::try_from).transpose()?)
}

/// The account that a webhook names.
pub async fn sealed(control: &Control, id: &AccountSid) -> Result<Option<SealedAccount>, ControlError> {
    let sql = "select a.tenant_id, a.sealed_secret, k.version, k.wrapped
               from accounts a
               join lateral (select version, wrapped from data_keys
                             where tenant_id is not distinct from a.tenant_id and ring = 'server'
                             order by version desc limit 1) k on true
               where a.provider = 'twilio' and a.external_id = $1";
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(control.pool()).await?;
    row.map(|row| {
        Ok(SealedAccount {
            owner: Scope::of(owner(&row)?),
            token: Sealed::from_stored(row.try_get("sealed_secret")?),
            data_key: super::keys::wrapped(&row)?,
        })
    })
    .transpose()
}

/// All accounts, without their secrets.
pub async fn list(control: &Control) -> Result<Vec<Account>, ControlError> {
    let sql = "select provider, external_id, tenant_id from accounts order by created_at, external_id";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter().map(|row| Ok(Account { provider: row.try_get(0)?, id: row.try_get(1)?, tenant: owner(row)? })).collect()
}

/// Gives an account another owner, its token sealed anew for that one; `false` when a number of it is another tenant's.
pub async fn transfer(
    change: &mut Change,
    id: &AccountSid,
    to: Scope,
    token: &Sealed<AuthToken>,
    reason: &str,
) -> Result<bool, ControlError> {
    // A tenant's account serves that tenant alone; the platform's may serve anybody.
    let sql = "update accounts set tenant_id = $2, sealed_secret = $3
               where provider = 'twilio' and external_id = $1
                 and ($2 is null or not exists (
                     select from numbers where provider = 'twilio' and account_id = $1
                       and (tenant_id <> $2 or next_tenant_id <> $2)))";
    let done = sqlx::query(sql)
        .bind(id.as_str())
        .bind(to.tenant().map(TenantId::get))
        .bind(token.as_bytes())
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({
        "provider": "twilio", "account": id.as_str(), "customer_id": to.tenant(), "reason": reason
    });
    change.record("account.transfer", to.tenant(), detail).await?;
    Ok(done.rows_affected() > 0)
}

/// Adds an account, or replaces the token of one that has the same owner.
pub async fn put(
    change: &mut Change,
    id: &AccountSid,
    owner: Scope,
    token: &Sealed<AuthToken>,
) -> Result<(), ControlError> {
    let sql = "insert into accounts (provider, external_id, tenant_id, sealed_secret) values ('twilio', $1, $2, $3)
               on conflict (provider, external_id) do update set sealed_secret = excluded.sealed_secret
               where accounts.tenant_id is not distinct from excluded.tenant_id";
    let done = sqlx::query(sql)
        .bind(id.as_str())
        .bind(owner.tenant().map(TenantId::get))
        .bind(token.as_bytes())
        .execute(change.conn())
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("account {id} belongs to another owner")));
    }
    change
        .record("account.put", owner.tenant(), serde_json::json!({ "provider": "twilio", "account": id.as_str() }))
        .await
}

/// Forgets an account and the numbers released from it. One that a number still names is refused.
pub async fn remove(change: &mut Change, id: &AccountSid) -> Result<(), ControlError> {
    let sql = "delete from numbers where provider = 'twilio' and account_id = $1 and state = 'released'";
    sqlx::query(sql).bind(id.as_str()).execute(change.conn()).await?;
    let sql = "delete from accounts a where a.provider = 'twilio' and a.external_id = $1 and not exists
               (select from numbers n where n.provider = a.provider and n.account_id = a.external_id)
               returning a.tenant_id";
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(change.conn()).await?;
    let row = row.ok_or_else(|| {
        ControlError::Conflict(format!(
            "account {id} is not known, or numbers are taken from it: see `strowgerctl number list`"
        ))
    })?;
    let detail = serde_json::json!({ "provider": "twilio", "account": id.as_str() });
    change.record("account.remove", owner(&row)?, detail).await
}
