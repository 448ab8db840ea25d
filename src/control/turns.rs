//! Two logins that take turns, for each tenant and for each cluster's admin: which one is in use, which one comes next, and
//! which one may still be in use although nobody is given it any more.

use serde_json::json;
use sqlx::Row as _;

use super::clusters::ClusterId;
use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{LoginPassword, Sealed};

/// Whose logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A tenant's, on its cluster.
    Tenant(TenantId),
    /// The provisioner's, on a cluster.
    Admin(ClusterId),
}

/// How far a change of logins is.
pub struct Turn {
    /// The login in use.
    pub login: String,
    /// The one that is being made ready, with its password.
    pub next: Option<(String, Sealed<LoginPassword>)>,
    /// The one that was in use before and may still be.
    pub retiring: Option<String>,
}

impl Whose {
    /// Table, key column, and what counts the change.
    fn table(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Tenant(_) => ("placements", "tenant_id", ", generation = generation + 1"),
            Self::Admin(_) => ("cluster_admins", "cluster_id", ""),
        }
    }

    fn key(self) -> i32 {
        match self {
            Self::Tenant(id) => id.get(),
            Self::Admin(id) => id.0,
        }
    }

    fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(id) => Some(id),
            Self::Admin(_) => None,
        }
    }
}

/// Where the change of logins stands; `None` if there is no such tenant or cluster.
pub async fn get(control: &Control, whose: Whose) -> Result<Option<Turn>, ControlError> {
    let (table, key, _) = whose.table();
    let sql = sqlx::AssertSqlSafe(format!(
        "select login, next_login, next_sealed_password, retiring_login from {table} where {key} = $1"
    ));
    let Some(row) = sqlx::query(sql).bind(whose.key()).fetch_optional(control.pool()).await? else { return Ok(None) };
    let next: Option<String> = row.try_get(1)?;
    let sealed: Option<Vec<u8>> = row.try_get(2)?;
    Ok(Some(Turn {
        login: row.try_get(0)?,
        next: next.zip(sealed.map(Sealed::from_stored)),
        retiring: row.try_get(3)?,
    }))
}

/// Notes the login that is to come next, unless a change of logins is under way already.
pub async fn prepare(
    change: &mut Change,
    whose: Whose,
    login: &str,
    password: &Sealed<LoginPassword>,
) -> Result<(), ControlError> {
    let (table, key, _) = whose.table();
    let sql = sqlx::AssertSqlSafe(format!(
        "update {table} set next_login = $2, next_sealed_password = $3
         where {key} = $1 and next_login is null and retiring_login is null"
    ));
    sqlx::query(sql).bind(whose.key()).bind(login).bind(password.as_bytes()).execute(change.conn()).await?;
    record(change, "login.prepare", whose, login).await
}

/// Puts the next login in the place of the one in use, which retires.
pub async fn switch(change: &mut Change, whose: Whose) -> Result<(), ControlError> {
    let (table, key, count) = whose.table();
    let sql = sqlx::AssertSqlSafe(format!(
        "update {table} set login = next_login, sealed_password = next_sealed_password, retiring_login = login,
                next_login = null, next_sealed_password = null{count}
         where {key} = $1 and next_login is not null returning login"
    ));
    let login: Option<String> = sqlx::query_scalar(sql).bind(whose.key()).fetch_optional(change.conn()).await?;
    record(change, "login.switch", whose, login.as_deref().unwrap_or_default()).await
}

/// Forgets the login that retired: nobody can use it any more.
pub async fn retired(change: &mut Change, whose: Whose, login: &str) -> Result<(), ControlError> {
    let (table, key, _) = whose.table();
    let sql = format!("update {table} set retiring_login = null where {key} = $1 and retiring_login = $2");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(whose.key()).bind(login).execute(change.conn()).await?;
    record(change, "login.retire", whose, login).await
}

async fn record(change: &mut Change, action: &str, whose: Whose, login: &str) -> Result<(), ControlError> {
    let detail = match whose {
        Whose::Tenant(_) => json!({ "login": login }),
        Whose::Admin(cluster) => json!({ "login": login, "cluster_id": cluster }),
    };
    change.record(action, whose.tenant(), detail).await
}
