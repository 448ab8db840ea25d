//! Who did what. The rows are written by the transaction that makes the change, as its last statement.
//!
//! Postgres chains them: a trigger gives each row its place behind the last one of its tenant, or of the platform
//! (control-migrations/V3). What reads and proves the chains is in [`super::chains`].

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
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
    /// As the audit log names it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// A worker process.
    pub fn worker(name: &str) -> Self {
        Self(format!("worker:{name}"))
    }
}

/// A transaction on the control database by a known actor. Dropping it undoes it.
///
/// Its audit rows are written when it commits. A row holds the end of its chain until then, so taking those ends last,
/// and in the order of the chains, keeps the wait short, and no two changes wait for each other.
pub struct Change {
    tx: Tx,
    actor: Actor,
    records: Vec<Record>,
}

struct Record {
    action: String,
    tenant: Option<i32>,
    detail: Value,
}

impl Change {
    pub(super) fn new(tx: Tx, actor: Actor) -> Self {
        Self { tx, actor, records: Vec::new() }
    }

    pub(super) fn conn(&mut self) -> &mut sqlx::PgConnection {
        &mut self.tx
    }

    /// Who acts.
    pub(super) fn actor(&self) -> &str {
        &self.actor.0
    }

    /// Notes an audit row for the commit. `detail` never holds a secret.
    #[expect(clippy::unused_async, reason = "callers end with it as with their other statements")]
    pub async fn record(&mut self, action: &str, tenant: Option<TenantId>, detail: Value) -> Result<(), ControlError> {
        self.records.push(Record { action: action.to_owned(), tenant: tenant.map(TenantId::get), detail });
        Ok(())
    }

    /// Makes the change and its audit rows true together.
    pub async fn commit(mut self) -> Result<(), ControlError> {
        if self.records.is_empty() {
            return Err(ControlError::Conflict("a change without an audit row is not committed".into()));
        }
        let (mut actions, mut tenants, mut details) = (Vec::new(), Vec::new(), Vec::new());
        for Record { action, tenant, detail } in std::mem::take(&mut self.records) {
            actions.push(action);
            tenants.push(tenant);
            details.push(detail);
        }
        let sql = "insert into audit (actor, action, tenant_id, detail)
                   select $1, action, tenant, detail
                   from unnest($2::text[], $3::int[], $4::jsonb[]) with ordinality as r (action, tenant, detail, place)
                   order by coalesce(tenant, 0), place";
        sqlx::query(sql)
            .bind(&self.actor.0)
            .bind(&actions)
            .bind(&tenants)
            .bind(&details)
            .execute(&mut *self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }
}

/// One row of the log.
#[derive(Debug, serde::Serialize)]
pub struct AuditRow {
    /// Grows with time.
    pub id: i64,
    /// Its place in its tenant's chain, or in the platform's: 1, 2, 3 …
    pub seq: i64,
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
    let sql = "select id, seq, at, actor, action, tenant_id, detail from audit
               where $1::int is null or tenant_id = $1 order by id desc limit $2";
    let rows = sqlx::query(sql).bind(tenant.map(TenantId::get)).bind(limit).fetch_all(control.pool()).await?;
    rows.iter().map(from_row).collect()
}

/// The newest rows of these actions.
pub async fn of_actions(control: &Control, actions: &[&str], limit: i64) -> Result<Vec<AuditRow>, ControlError> {
    let sql = "select id, seq, at, actor, action, tenant_id, detail from audit
               where action = any($1) order by id desc limit $2";
    let rows = sqlx::query(sql).bind(actions).bind(limit).fetch_all(control.pool()).await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &PgRow) -> Result<AuditRow, ControlError> {
    Ok(AuditRow {
        id: row.try_get(0)?,
        seq: row.try_get(1)?,
        at: row.try_get(2)?,
        actor: row.try_get(3)?,
        action: row.try_get(4)?,
        tenant_id: row.try_get(5)?,
        detail: row.try_get(6)?,
    })
}
