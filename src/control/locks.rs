//! One at a time: session locks in the control database, given back by Postgres itself when their holder dies.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{Control, ControlError};

/// A held lock. Dropping it gives it back.
pub struct Lock {
    /// The session is the lock.
    _session: PgConnection,
}

/// Waits for the lock of that name.
pub async fn hold(control: &Control, name: &str) -> Result<Lock, ControlError> {
    let options = control.pool().connect_options();
    let mut session = PgConnection::connect_with(&options).await?;
    sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(name).execute(&mut session).await?;
    Ok(Lock { _session: session })
}
