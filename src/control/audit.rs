//! Who did what. The row is written by the transaction that makes the change.

use serde_json::Value;
use sqlx::Row as _;
use time::OffsetDateTime;

use super::{Control, ControlError, Tx};
use crate::id::TenantId;

/// Who acts, as the audit log names them: `operator:alice@host`, `worker:…`.
#[derive(Debug, Clone)]
pub struct Actor(String);

impl Actor {
    /// A person at a command line.
    pub fn operator(name: &str) -> Self {
        Self(format!("operator:{name}"))
    }
    /// A worker process.
    pub fn worker(name: &str) -> Self {
        Self(format!("worker:{name}"))
    }
}

/// A transaction on the control database by a known actor. Dropping it undoes it.
pub struct Change {
    tx: Tx,
    actor: Actor,
    recorded: bool,
}

impl Change {
    pub(super) fn new(tx: Tx, actor: Actor) -> Self {
        Self { tx, actor, recorded: false }
    }

    pub(super) fn conn(&mut self) -> &mut sqlx::PgConnection {
        &mut self.tx
    }

    /// Who acts.
    pub(super) fn actor(&self) -> &str {
        &self.actor.0
    }

    /// Writes the audit row. `detail` never holds a secret.
    pub async fn record(&mut self, action: &str, tenant: Option<TenantId>, detail: Value) -> Result<(), ControlError> {
        sqlx::query("insert into audit (actor, action, tenant_id, detail) values ($1, $2, $3, $4)")
            .bind(&self.actor.0)
            .bind(action)
            .bind(tenant.map(TenantId::get))
            .bind(detail)
            .execute(&mut *self.tx)
            .await?;
        self.recorded = true;
        Ok(())
    }

    /// Makes the change and its audit rows true together.
    pub async fn commit(self) -> Result<(), ControlError> {
        if !self.recorded {
            return Err(ControlError::Conflict("a change without an audit row is not committed".into()));
        }
        Ok(self.tx.commit().await?)
    }
}

/// One row of the log.
#[derive(Debug, serde::Serialize)]
pub struct AuditRow {
    /// Grows with time.
    pub id: i64,
    /// When, by the control database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    pub actor: String,
    /// What, as `noun.verb`.
    pub action: String,
    /// Whose, if a tenant's.
    pub tenant_id: Option<i32>,
    /// The rest.
    pub detail: Value,
}

/// The newest rows, of one tenant or of all.
pub async fn list(control: &Control, tenant: Option<TenantId>, limit: i64) -> Result<Vec<AuditRow>, ControlError> {
    let sql = "select id, at, actor, action, tenant_id, detail from audit
               where $1::int is null or tenant_id = $1 order by id desc limit $2";
    let rows = sqlx::query(sql).bind(tenant.map(TenantId::get)).bind(limit).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRow {
                id: row.try_get(0)?,
                at: row.try_get(1)?,
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                tenant_id: row.try_get(4)?,
                detail: row.try_get(5)?,
            })
        })
        .collect()
}
