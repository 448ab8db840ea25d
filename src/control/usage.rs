//! What calls to the model may cost and did cost, a tenant and a UTC day at a time.
//!
//! Before a call the most it can cost is reserved; after it the reservation becomes what it did cost. Postgres counts, so the
//! limit holds across all servers, and Postgres says what day it is. A reservation of a server that was killed stays counted.

use sqlx::Row as _;
use time::Date;

use super::{Control, ControlError};
use crate::id::TenantId;
use crate::vault::Scope;

/// What a model was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A turn of a call: somebody is listening.
    Turn,
    /// The summary of a call that has ended.
    Summary,
    /// Vectors for search.
    Embedding,
    /// An answer in writing.
    Reply,
}

impl Purpose {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Summary => "summary",
            Self::Embedding => "embedding",
            Self::Reply => "reply",
        }
    }
}

/// Tokens that are taken out of a tenant's day and not settled yet.
#[derive(Debug)]
#[must_use = "settle it, or its tokens stay spent"]
pub struct Reserved {
    tenant: TenantId,
    day: Date,
    tokens: i64,
}

/// Reserves tokens out of `limit` for today; `None` when they are not there, or the tenant is not served.
pub async fn reserve(
    control: &Control,
    tenant: TenantId,
    tokens: i64,
    limit: i64,
) -> Result<Option<Reserved>, ControlError> {
    let sql = "insert into token_budgets as b (tenant_id, day, spent)
               select t.id, (now() at time zone 'utc')::date, $2 from tenants t
               where t.id = $1 and t.state in ('active', 'read_only') and $2 <= $3
               on conflict (tenant_id, day) do update set spent = b.spent + $2 where b.spent + $2 <= $3
               returning day";
    let day =
        sqlx::query_scalar(sql).bind(tenant.get()).bind(tokens).bind(limit).fetch_optional(control.pool()).await?;
    Ok(day.map(|day| Reserved { tenant, day, tokens }))
}

/// Gives a reservation back: the provider was not reached, or has refused.
pub async fn release(control: &Control, reserved: Reserved) -> Result<(), ControlError> {
    sqlx::query("update token_budgets set spent = greatest(spent - $3, 0) where tenant_id = $1 and day = $2")
        .bind(reserved.tenant.get())
        .bind(reserved.day)
        .bind(reserved.tokens)
        .execute(control.pool())
        .await?;
    Ok(())
}

/// One call, as it will be billed.
#[derive(Debug)]
pub struct Used<'a> {
    /// What for.
    pub purpose: Purpose,
    /// Whose key was used.
    pub paid_by: Scope,
    /// The provider's name of the model.
    pub model: &'a str,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
}

/// Puts what a call did cost in the place of its reservation, on the day of that.
pub async fn settle(control: &Control, reserved: Reserved, used: &Used<'_>) -> Result<(), ControlError> {
    let sql = "with settled as (update token_budgets set spent = greatest(spent - $3 + $7 + $8, 0)
                                where tenant_id = $1 and day = $2)
               insert into usage as u (tenant_id, day, purpose, paid_by, model, calls, prompt_tokens, completion_tokens)
               select t.id, $2, $4, $5, $6, 1, $7, $8 from tenants t
               where t.id = $1 and t.state not in ('erasing', 'erased')
               on conflict (tenant_id, day, purpose, paid_by, model) do update
               set calls = u.calls + 1, prompt_tokens = u.prompt_tokens + $7,
                   completion_tokens = u.completion_tokens + $8";
    sqlx::query(sql)
        .bind(reserved.tenant.get())
        .bind(reserved.day)
        .bind(reserved.tokens)
        .bind(used.purpose.as_str())
        .bind(if used.paid_by == Scope::Platform { "platform" } else { "tenant" })
        .bind(used.model)
        .bind(used.prompt_tokens)
        .bind(used.completion_tokens)
        .execute(control.pool())
        .await?;
    Ok(())
}

/// A line of what was used.
#[derive(Debug, serde::Serialize)]
pub struct UsageRow {
    /// By whom.
    pub customer_id: TenantId,
    /// The UTC day, as `2026-07-01`.
    pub day: String,
    /// What for.
    pub purpose: String,
    /// `tenant` or `platform`.
    pub paid_by: String,
    /// The provider's name of the model.
    pub model: String,
    /// How many calls.
    pub calls: i64,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
}

/// What was used, newest day first: of one tenant or of all, on one day or on the last 31.
pub async fn list(
    control: &Control,
    tenant: Option<TenantId>,
    day: Option<Date>,
) -> Result<Vec<UsageRow>, ControlError> {
    let sql = "select tenant_id, day::text, purpose, paid_by, model, calls, prompt_tokens, completion_tokens from usage
               where ($1::int is null or tenant_id = $1)
                 and (day = $2 or $2 is null and day > (now() at time zone 'utc')::date - 31)
               order by usage.day desc, tenant_id, purpose, paid_by, model";
    let rows = sqlx::query(sql).bind(tenant.map(TenantId::get)).bind(day).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(UsageRow {
                customer_id: row.try_get::<i32, _>(0)?.try_into()?,
                day: row.try_get(1)?,
                purpose: row.try_get(2)?,
                paid_by: row.try_get(3)?,
                model: row.try_get(4)?,
                calls: row.try_get(5)?,
                prompt_tokens: row.try_get(6)?,
                completion_tokens: row.try_get(7)?,
            })
        })
        .collect()
}
