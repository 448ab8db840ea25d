//! News of changes: triggers announce every row that an instance may have cached, in commit order.
//!
//! Whoever changed something can wait until the running instances have acted on it: a ping goes down the same channel,
//! and each instance answers it after everything before it. An instance is running while its listening session is open,
//! so a killed one is never waited for.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::{Control, ControlError};

const CHANNEL: &str = "strowger_changes";

/// How often those who have not answered are asked again: a session that came back is counted a moment before it listens.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Listening sessions carry this and the instance's name as their `application_name`.
pub const LISTENER_PREFIX: &str = "listener ";

/// Something that may be cached has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A tenant's state or placement.
    Tenant(String),
    /// A number's assignment: kind and value.
    Number(String, String),
    /// An account's owner or token: its external id.
    Account(String),
    /// A signing key.
    Key(String),
    /// The model of a tenant, or a secret of its.
    Model(String),
    /// Durable work waits.
    Work,
    /// A job waits.
    Job,
    /// Somebody waits for us to have read this far.
    Ping(Uuid),
    /// Somebody waits for us to have the master key that made this challenge.
    MasterKey(Uuid, Vec<u8>),
    /// Anything may have changed, or news may have been missed.
    Everything,
}

impl News {
    fn parse(payload: &str) -> Self {
        let words: Vec<&str> = payload.split(' ').collect();
        match words.as_slice() {
            ["tenant", id] => Self::Tenant((*id).to_owned()),
            ["number", kind, value] => Self::Number((*kind).to_owned(), (*value).to_owned()),
            ["account", _, id] => Self::Account((*id).to_owned()),
            ["key", kid] => Self::Key((*kid).to_owned()),
            ["model", id] => Self::Model((*id).to_owned()),
            ["work"] => Self::Work,
            ["job"] => Self::Job,
            ["ping", id] => id.parse().map_or(Self::Everything, Self::Ping),
            ["master-key", id, challenge] => match (id.parse(), STANDARD.decode(challenge)) {
                (Ok(ping), Ok(challenge)) => Self::MasterKey(ping, challenge),
                _ => Self::Everything,
            },
            _ => Self::Everything,
        }
    }
}

/// A session that hears of changes.
pub struct Listener(PgListener);

impl Listener {
    /// Opens the session. `control` should be a pool of one connection with the listener's `application_name`.
    pub async fn open(control: &Control) -> Result<Self, ControlError> {
        let mut listener = PgListener::connect_with(control.pool()).await?;
        // Whoever waits for news may stop waiting at any moment; a reconnection that was cut short would hide a gap.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Waits for the next news. A lost connection is an error: open another, and take it that anything has changed.
    pub async fn next(&mut self) -> Result<News, ControlError> {
        let news = self.0.try_recv().await?.ok_or(sqlx::Error::WorkerCrashed)?;
        Ok(News::parse(news.payload()))
    }
}

/// Says that `instance` has acted on everything announced before `ping`.
pub async fn acknowledge(control: &Control, ping: Uuid, instance: &str) -> Result<(), ControlError> {
    sqlx::query("insert into acknowledgements (ping, instance) values ($1, $2) on conflict do nothing")
        .bind(ping)
        .bind(instance)
        .execute(control.pool())
        .await?;
    Ok(())
}

/// How many instances were listening, and how many of them have acted on everything up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Heard {
    /// Listening when asked.
    pub instances: i64,
    /// Of those, how many answered within the time.
    pub acknowledged: i64,
}

/// Waits until every running instance has acted on all changes committed so far, at most `patience`.
///
/// An instance that is cut off is not waited for longer; Postgres itself refuses what it must not do.
pub async fn settle(control: &Control, ping: Uuid, patience: Duration) -> Result<Heard, ControlError> {
    Ok(wait_for(control, ping, &format!("ping {ping}"), patience).await?.0)
}

/// Asks every running instance whether it has the master key that made a challenge: the names of those that did not say so.
pub async fn without_master_key(
    control: &Control,
    ping: Uuid,
    challenge: &[u8],
    patience: Duration,
) -> Result<Vec<String>, ControlError> {
    let text = format!("master-key {ping} {}", STANDARD.encode(challenge));
    Ok(wait_for(control, ping, &text, patience).await?.1)
}

/// Says something to all instances, and waits until all have answered or `patience` is over: who has not.
async fn wait_for(
    control: &Control,
    ping: Uuid,
    text: &str,
    patience: Duration,
) -> Result<(Heard, Vec<String>), ControlError> {
    let sql = "select count(*), count(a.instance),
                      coalesce(array_agg(substr(s.application_name, length($2) + 1)) filter (where a.instance is null), '{}')
               from pg_stat_activity s
               left join acknowledgements a on a.ping = $1 and $2 || a.instance = s.application_name
               where s.datname = current_database() and starts_with(s.application_name, $2)";
    let (mut left, mut unasked) = (patience, Duration::ZERO);
    loop {
        if unasked.is_zero() {
            sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(text).execute(control.pool()).await?;
            unasked = ASK_AGAIN;
        }
        let (instances, acknowledged, silent): (i64, i64, Vec<String>) =
            sqlx::query_as(sql).bind(ping).bind(LISTENER_PREFIX).fetch_one(control.pool()).await?;
        if acknowledged >= instances || left.is_zero() {
            sqlx::query("delete from acknowledgements where ping = $1 or at < now() - interval '1 hour'")
                .bind(ping)
                .execute(control.pool())
                .await?;
            return Ok((Heard { instances, acknowledged }, silent));
        }
        let pause = Duration::from_millis(5).min(left);
        tokio::time::sleep(pause).await;
        left -= pause;
        unasked = unasked.saturating_sub(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::News;

    #[test]
    fn what_is_not_understood_means_everything() {
        assert_eq!(News::parse("number phone +18005550100"), News::Number("phone".into(), "+18005550100".into()));
        assert_eq!(News::parse("tenant 42"), News::Tenant("42".into()));
        assert_eq!(News::parse("model 42"), News::Model("42".into()));
        for odd in ["", "tenant", "ping x", "master-key x AA==", "something else", "everything"] {
            assert_eq!(News::parse(odd), News::Everything, "{odd}");
        }
    }
}
