//! Which number reaches which tenant.
//!
//! A number changes hands in three steps, each safe to repeat: it is marked as moving (nobody answers), its mirror row is
//! removed from the old tenant's schema and written to the new one's, and it becomes active. An instance that missed
//! all of this is refused by the missing mirror row.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::placements::{self, ROUTES, Route};
use super::{Change, Control, ControlError};
use crate::id::{AccountSid, TenantId};
use crate::phone::Number;

/// What becomes of a number's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// This tenant answers.
    Active(TenantId),
    /// Nobody does until the provisioner has finished. `to` is `None` while it is being released.
    Moving {
        /// Who answered before, if anybody.
        from: Option<TenantId>,
        /// Who will.
        to: Option<TenantId>,
    },
    /// Nobody.
    Released,
}

impl Assignment {
    /// Whether nothing is left to do for `tenant` to answer, or for nobody to.
    pub fn settled_on(&self, tenant: Option<TenantId>) -> bool {
        *self == tenant.map_or(Self::Released, Self::Active)
    }
}

/// A number, its account and its assignment.
#[derive(Debug, Clone)]
pub struct NumberRow {
    /// The number.
    pub number: Number,
    /// The account whose webhooks may name it.
    pub account: AccountSid,
    /// Who answers.
    pub assignment: Assignment,
}

const SELECT: &str = "select kind, value, account_id, tenant_id, next_tenant_id, state from numbers";

fn from_row(row: &PgRow) -> Result<NumberRow, ControlError> {
    let id = |column| -> Result<Option<TenantId>, ControlError> {
        Ok(row.try_get::<Option<i32>, _>(column)?.map(TenantId::try_from).transpose()?)
    };
    let assignment = match (row.try_get("state")?, id("tenant_id")?) {
        ("active", Some(tenant)) => Assignment::Active(tenant),
        ("moving", from) => Assignment::Moving { from, to: id("next_tenant_id")? },
        ("released", None) => Assignment::Released,
        (other, _) => return Err(ControlError::Unknown(format!("number state {other}"))),
    };
    Ok(NumberRow {
        number: Number::from_parts(row.try_get("kind")?, row.try_get("value")?)?,
        account: row.try_get::<String, _>("account_id")?.parse()?,
        assignment,
    })
}

/// One number.
pub async fn get(control: &Control, number: &Number) -> Result<Option<NumberRow>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where kind = $1 and value = $2"));
    let row = sqlx::query(sql).bind(number.kind()).bind(number.value()).fetch_optional(control.pool()).await?;
    row.as_ref().map(from_row).transpose()
}

/// One number, and in the same round trip the route of the tenant that answers it, if one does.
pub async fn get_with_route(
    control: &Control,
    number: &Number,
) -> Result<Option<(NumberRow, Option<Route>)>, ControlError> {
    let question = |pool: PgPool| {
        let sql = sqlx::AssertSqlSafe(format!(
            "select n.*, r.* from ({SELECT} where kind = $1 and value = $2) n
             left join lateral ({ROUTES} where t.id = n.tenant_id and n.state = 'active') r on true"
        ));
        async move { sqlx::query(sql).bind(number.kind()).bind(number.value()).fetch_optional(&pool).await }
    };
    let row = control.look_up(question).await?;
    row.map(|row| Ok((from_row(&row)?, placements::from_row(&row)?))).transpose()
}

/// All numbers.
pub async fn list(control: &Control) -> Result<Vec<NumberRow>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} order by kind, value"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// Marks a number as going to `to` (or to nobody) under `account`. Repeating it is harmless.
///
/// Returns who has to lose the mirror row: whoever answered before, except `to` itself.
pub async fn begin_move(
    change: &mut Change,
    number: &Number,
    account: &AccountSid,
    to: Option<TenantId>,
    reason: &str,
) -> Result<Option<TenantId>, ControlError> {
    let sql = "insert into numbers (kind, value, provider, account_id, next_tenant_id, state)
               values ($1, $2, 'twilio', $3, $4, 'moving')
               on conflict (kind, value) do update
               set state = 'moving', next_tenant_id = excluded.next_tenant_id, account_id = excluded.account_id
               returning tenant_id";
    let from: Option<i32> = sqlx::query_scalar(sql)
        .bind(number.kind())
        .bind(number.value())
        .bind(account.as_str())
        .bind(to.map(TenantId::get))
        .fetch_one(change.conn())
        .await?;
    let from = from.map(TenantId::try_from).transpose()?;
    let detail = serde_json::json!({
        "number": number.to_string(), "from": from, "to": to, "account": account.as_str(), "reason": reason
    });
    change.record("number.begin_move", to.or(from), detail).await?;
    Ok(from)
}

/// Ends what [`begin_move`] began: the next tenant answers, or nobody.
pub async fn finish_move(change: &mut Change, number: &Number, to: Option<TenantId>) -> Result<(), ControlError> {
    let sql = "update numbers set tenant_id = next_tenant_id, next_tenant_id = null,
                      state = case when next_tenant_id is null then 'released' else 'active' end
               where kind = $1 and value = $2 and state = 'moving' and next_tenant_id is not distinct from $3";
    let done = sqlx::query(sql)
        .bind(number.kind())
        .bind(number.value())
        .bind(to.map(TenantId::get))
        .execute(change.conn())
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("{number} was given to somebody else meanwhile")));
    }
    change.record("number.finish_move", to, serde_json::json!({ "number": number.to_string(), "to": to })).await
}

/// Says of a known number what the tenants' own schemas say: who owns it, or nobody; `disputed`, if more than one does, and then
/// nobody answers until an operator has said who is to.
pub async fn settle(
    change: &mut Change,
    number: &Number,
    owner: Option<TenantId>,
    disputed: bool,
) -> Result<(), ControlError> {
    let state = match (owner, disputed) {
        (_, true) => "moving",
        (Some(_), _) => "active",
        (None, _) => "released",
    };
    let sql = "update numbers set tenant_id = $3, next_tenant_id = null, state = $4 where kind = $1 and value = $2";
    let owner = owner.filter(|_| !disputed);
    sqlx::query(sql)
        .bind(number.kind())
        .bind(number.value())
        .bind(owner.map(TenantId::get))
        .bind(state)
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "number": number.to_string(), "to": owner, "disputed": disputed });
    change.record("number.settle", owner, detail).await
}
