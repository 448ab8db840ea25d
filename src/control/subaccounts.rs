//! Which subaccount at Twilio was asked for on behalf of which tenant, written down before Twilio is asked.

use super::{Change, Control, ControlError};
use crate::id::{AccountSid, TenantId};

/// A subaccount that there is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The account that it is under.
    pub under: AccountSid,
    /// Its name at Twilio, which no other bears.
    pub friendly_name: String,
}

/// What was written down for a tenant.
pub async fn get(control: &Control, tenant: TenantId) -> Result<Option<Wanted>, ControlError> {
    let sql = "select under, friendly_name from twilio_subaccounts where tenant_id = $1";
    let row: Option<(String, String)> = sqlx::query_as(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    row.map(|(under, friendly_name)| Ok(Wanted { under: under.parse()?, friendly_name })).transpose()
}

/// Writes it down. The name may be a tenant's, so the audit log does not hold it.
pub async fn put(change: &mut Change, tenant: TenantId, wanted: &Wanted) -> Result<(), ControlError> {
    sqlx::query("insert into twilio_subaccounts (tenant_id, under, friendly_name) values ($1, $2, $3)")
        .bind(tenant.get())
        .bind(wanted.under.as_str())
        .bind(&wanted.friendly_name)
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "provider": "twilio", "under": wanted.under.as_str() });
    change.record("account.want", Some(tenant), detail).await
}
