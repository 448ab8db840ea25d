//! One at a time: session locks in the control database, given back by Postgres itself when their holder dies.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{Control, ControlError};
use crate::id::TenantId;

/// The lock that whoever changes a tenant on its cluster holds.
pub fn of_tenant(tenant: TenantId) -> String {
    format!("tenant {tenant}")
}

/// A held lock. Dropping it gives it back, and ends its session.
pub struct Lock {
    /// The session is the lock.
    session: PgConnection,
    name: String,
}

impl Lock {
    /// Gives it back, and keeps its session for the next lock of this process if that can still be talked to.
    pub async fn give_back(mut self, control: &Control) {
        let sql = "select pg_advisory_unlock(hashtextextended($1, 0))";
        if sqlx::query(sql).bind(&self.name).execute(&mut self.session).await.is_ok() {
            control.lock_sessions().push(self.session);
        }
    }
}

/// Waits for the lock of that name.
pub async fn hold(control: &Control, name: &str) -> Result<Lock, ControlError> {
    let kept = control.lock_sessions().pop();
    // One that broke while nobody used it is no error.
    if let Some(mut session) = kept
        && lock(&mut session, name).await.is_ok()
    {
        return Ok(Lock { session, name: name.to_owned() });
    }
    let mut session = session(control).await?;
    lock(&mut session, name).await?;
    Ok(Lock { session, name: name.to_owned() })
}

async fn lock(session: &mut PgConnection, name: &str) -> Result<(), ControlError> {
    sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(name).execute(session).await?;
    Ok(())
}

/// A session that takes and gives back many locks, without a connection for each. Dropping it gives all back.
pub struct Locks {
    session: PgConnection,
}

impl Locks {
    /// Opens the session.
    pub async fn open(control: &Control) -> Result<Self, ControlError> {
        Ok(Self { session: session(control).await? })
    }

    /// Takes those that nobody else holds, in one round trip, and says of each whether it is ours now.
    pub async fn try_take(&mut self, names: &[String]) -> Result<Vec<bool>, ControlError> {
        let sql = "select pg_try_advisory_lock(hashtextextended(name, 0))
                   from unnest($1::text[]) with ordinality as wanted (name, place) order by place";
        Ok(sqlx::query_scalar(sql).bind(names).fetch_all(&mut self.session).await?)
    }

    /// Gives back what this session holds of these.
    pub async fn give_back(&mut self, names: &[String]) -> Result<(), ControlError> {
        let sql = "select pg_advisory_unlock(hashtextextended(name, 0)) from unnest($1::text[]) as held (name)";
        sqlx::query(sql).bind(names).execute(&mut self.session).await?;
        Ok(())
    }
}

/// Whether somebody holds the lock of that name now.
pub async fn is_held(control: &Control, name: &str) -> Result<bool, ControlError> {
    // A lock of a transaction that ends with this statement.
    let sql = "select not pg_try_advisory_xact_lock(hashtextextended($1, 0))";
    Ok(sqlx::query_scalar(sql).bind(name).fetch_one(control.pool()).await?)
}

async fn session(control: &Control) -> Result<PgConnection, ControlError> {
    let options = control.pool().connect_options();
    Ok(PgConnection::connect_with(&options).await?)
}
