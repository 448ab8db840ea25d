//! Which businesses exist, and in what state.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::clusters::{ClusterId, Isolation};
use super::moves::Place;
use super::{Change, Control, ControlError};
use crate::id::{Region, TenantId};

/// Where a tenant stands. Only the transitions of [`State::may_become`] are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reserved; its schema or database is being made.
    Provisioning,
    /// Serving.
    Active,
    /// Serving, and Postgres itself refuses every write.
    ReadOnly,
    /// Blocked in Postgres itself; nothing is lost.
    Suspended,
    /// Blocked and kept until its grace has passed; only erasure destroys.
    Deleted,
    /// Gone from everywhere that can be reached; physical copies made before may still hold it.
    Erasing,
    /// Nothing is left of it anywhere but its id.
    Erased,
}

impl State {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::ReadOnly => "read_only",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
            Self::Erasing => "erasing",
            Self::Erased => "erased",
        }
    }

    /// Whether the step is one that exists. Staying is always allowed, so that a step can be run again.
    pub fn may_become(self, next: Self) -> bool {
        use State::{Active, Deleted, Erased, Erasing, Provisioning, ReadOnly, Suspended};
        self == next
            || matches!(
                (self, next),
                (Provisioning, Active | Deleted | Erased)
                    | (Active | ReadOnly | Suspended, Active | ReadOnly | Suspended | Deleted)
                    | (Deleted, Active | Erasing | Erased)
                    | (Erasing, Erased)
            )
    }

    /// Whether it is served, or can be again by a word of an operator: its schema is kept up to date.
    pub fn is_kept(self) -> bool {
        self.is_served() || self == Self::Suspended
    }

    /// Whether its logins work.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Active | Self::ReadOnly)
    }
}

impl std::str::FromStr for State {
    type Err = ControlError;
    fn from_str(s: &str) -> Result<Self, ControlError> {
        use State::{Active, Deleted, Erased, Erasing, Provisioning, ReadOnly, Suspended};
        [Provisioning, Active, ReadOnly, Suspended, Deleted, Erasing, Erased]
            .into_iter()
            .find(|state| state.as_str() == s)
            .ok_or_else(|| ControlError::Unknown(format!("tenant state {s}")))
    }
}

/// One business, with where it lives.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Tenant {
    /// Its id.
    #[serde(rename = "customer_id")]
    pub id: TenantId,
    /// The operator's handle for it.
    pub name: String,
    /// Default region of local phone numbers.
    #[serde(serialize_with = "as_text")]
    pub region: Region,
    /// Where it stands.
    pub state: State,
    /// Why, if an operator said so.
    pub state_reason: String,
    /// When that ends by itself, if it does.
    #[serde(with = "time::serde::rfc3339::option")]
    pub state_until: Option<OffsetDateTime>,
    /// What its callers hear while it is suspended or switched off; `None`: the platform's sentence.
    pub suspended_sentence: Option<String>,
    /// How it is kept apart.
    pub isolation: Isolation,
    /// The cluster's name.
    pub cluster: String,
    #[serde(skip)]
    pub(crate) cluster_id: ClusterId,
    /// Its database on that cluster.
    pub database: String,
    /// Its schema in that database.
    pub schema: String,
    /// The login that is in use now.
    pub login_role: String,
    /// Counts placement and credential changes.
    pub generation: i64,
    /// Where its migrations stand, as control last heard.
    pub schema_version: i32,
    /// Whether nothing is written to its data, because it is being carried over.
    pub held: bool,
}

impl Tenant {
    /// The cluster it lives on.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The same with another schema, for what is made beside the live one.
    #[must_use]
    pub fn in_schema(&self, schema: String) -> Self {
        Self { schema, ..self.clone() }
    }

    /// The same as it is to be, or was, in another place.
    #[must_use]
    pub fn at(&self, place: &Place) -> Self {
        Self {
            cluster_id: place.cluster,
            cluster: place.cluster_name.clone(),
            isolation: place.isolation,
            database: place.database.clone(),
            login_role: place.login.clone(),
            ..self.clone()
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

const SELECT: &str =
    "select t.id, t.name, t.region, t.state, t.state_reason, t.state_until, t.suspended_sentence, p.isolation, c.name as cluster, c.id as cluster_id,
                             p.database, p.schema, p.login, p.generation, p.schema_version, p.held
                      from tenants t join placements p on p.tenant_id = t.id join clusters c on c.id = p.cluster_id";

fn from_row(row: &PgRow) -> Result<Tenant, ControlError> {
    Ok(Tenant {
        id: row.try_get::<i32, _>("id")?.try_into()?,
        name: row.try_get("name")?,
        region: row.try_get::<String, _>("region")?.parse()?,
        state: row.try_get::<String, _>("state")?.parse()?,
        state_reason: row.try_get("state_reason")?,
        state_until: row.try_get("state_until")?,
        suspended_sentence: row.try_get("suspended_sentence")?,
        isolation: row.try_get::<String, _>("isolation")?.parse()?,
        cluster: row.try_get("cluster")?,
        cluster_id: ClusterId(row.try_get("cluster_id")?),
        database: row.try_get("database")?,
        schema: row.try_get("schema")?,
        login_role: row.try_get("login")?,
        generation: row.try_get("generation")?,
        schema_version: row.try_get("schema_version")?,
        held: row.try_get("held")?,
    })
}

/// All tenants by id, deleted ones too.
pub async fn list(control: &Control) -> Result<Vec<Tenant>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} order by t.id"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// The tenants that are behind a schema version and whose schemas are kept up to date, by id.
pub async fn below(control: &Control, version: i32) -> Result<Vec<Tenant>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "{SELECT} where p.schema_version < $1 and t.state in ('active', 'read_only', 'suspended') order by t.id"
    ));
    sqlx::query(sql).bind(version).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// Those of these tenants that exist, by id.
pub async fn among(control: &Control, ids: &[TenantId]) -> Result<Vec<Tenant>, ControlError> {
    let ids: Vec<i32> = ids.iter().map(|id| id.get()).collect();
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where t.id = any($1) order by t.id"));
    sqlx::query(sql).bind(ids).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// The tenant of that id.
pub async fn get(control: &Control, id: TenantId) -> Result<Option<Tenant>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where t.id = $1"));
    sqlx::query(sql).bind(id.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// The tenant of that name.
pub async fn find(control: &Control, name: &str) -> Result<Option<Tenant>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where t.name = $1"));
    sqlx::query(sql).bind(name).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// Takes an id: the wanted one, or the next that was never used. Held until the change commits.
pub async fn reserve(
    change: &mut Change,
    wanted: Option<TenantId>,
    name: &str,
    region: Region,
) -> Result<TenantId, ControlError> {
    // One reservation at a time: the highest id ever used is read and passed by the same transaction.
    sqlx::query("lock table tenants in share row exclusive mode").execute(change.conn()).await?;
    let sql = "insert into tenants (id, name, region, state)
               values (coalesce($1, (select coalesce(max(id), 0) + 1 from tenants)), $2, $3, 'provisioning')
               on conflict do nothing returning id";
    let id: Option<i32> = sqlx::query_scalar(sql)
        .bind(wanted.map(TenantId::get))
        .bind(name)
        .bind(region.as_str())
        .fetch_optional(change.conn())
        .await?;
    match id {
        Some(id) => Ok(id.try_into()?),
        None => Err(ControlError::Conflict(format!("the id or the name \"{name}\" is taken by another tenant"))),
    }
}

/// Uses up an id that may have been somebody's whom control no longer knows: it is never given again, nor any below the highest.
pub async fn retire_id(change: &mut Change, id: TenantId) -> Result<(), ControlError> {
    let sql = "insert into tenants (id, name, region, state) values ($1, '(unknown ' || $1 || ')', 'US', 'erased') on conflict do nothing";
    sqlx::query(sql).bind(id.get()).execute(change.conn()).await?;
    change.record("tenant.retire_id", Some(id), serde_json::json!({})).await
}

/// The highest id that was ever given, as far as control knows; 0 before the first.
pub async fn highest_id(control: &Control) -> Result<i32, ControlError> {
    Ok(sqlx::query_scalar("select coalesce(max(id), 0) from tenants").fetch_one(control.pool()).await?)
}

/// Makes a legal transition and records it; an illegal one is refused and changes nothing.
///
/// `until` says when an operator means it to end; a job waits for that.
pub async fn transition(
    change: &mut Change,
    id: TenantId,
    next: State,
    reason: &str,
    until: Option<OffsetDateTime>,
) -> Result<(), ControlError> {
    let current: Option<String> = sqlx::query_scalar("select state from tenants where id = $1 for update")
        .bind(id.get())
        .fetch_optional(change.conn())
        .await?;
    let current: State = current.ok_or_else(|| ControlError::Conflict(format!("there is no tenant {id}")))?.parse()?;
    if !current.may_become(next) {
        let text = format!("tenant {id} is {} and cannot become {}", current.as_str(), next.as_str());
        return Err(ControlError::Conflict(text));
    }
    sqlx::query("update tenants set state = $2, state_reason = $3, state_until = $4 where id = $1")
        .bind(id.get())
        .bind(next.as_str())
        .bind(reason)
        .bind(until)
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "from": current.as_str(), "to": next.as_str(), "reason": reason });
    change.record("tenant.transition", Some(id), detail).await
}

/// Gives a tenant another name, which must be free.
pub async fn rename(change: &mut Change, id: TenantId, name: &str, reason: &str) -> Result<(), ControlError> {
    let sql =
        "update tenants set name = $2 where id = $1 and not exists (select from tenants where name = $2 and id <> $1)";
    let done = sqlx::query(sql).bind(id.get()).bind(name).execute(change.conn()).await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("there is another tenant named \"{name}\"")));
    }
    // A name is a customer's; the log, which is never rewritten, says only that it changed, and why.
    change.record("tenant.rename", Some(id), serde_json::json!({ "reason": reason })).await
}

/// Changes what a tenant's callers hear while it is suspended or switched off; `None`: the platform's sentence.
pub async fn say_suspended(change: &mut Change, id: TenantId, sentence: Option<&str>) -> Result<(), ControlError> {
    sqlx::query("update tenants set suspended_sentence = $2 where id = $1")
        .bind(id.get())
        .bind(sentence)
        .execute(change.conn())
        .await?;
    // The words are a customer's; the log, which is never rewritten, says only whether there are any.
    let detail = serde_json::json!({ "own": sentence.is_some() });
    change.record("tenant.suspended_sentence", Some(id), detail).await
}

/// Leaves nothing of a tenant here but its id: no name, no placement, no keys. What it owned elsewhere is gone by now.
///
/// `as_what`: erased, or erasing while physical copies may hold it.
pub async fn forget(change: &mut Change, id: TenantId, as_what: State, reason: &str) -> Result<(), ControlError> {
    transition(change, id, as_what, reason, None).await?;
    for sql in [
        "delete from secrets where tenant_id = $1",
        "delete from work_items where tenant_id = $1",
        "delete from work_turns where tenant_id = $1",
        "delete from models where tenant_id = $1",
        "delete from token_budgets where tenant_id = $1",
        "delete from usage where tenant_id = $1",
        "delete from migrations where tenant_id = $1",
        "delete from backups where tenant_id = $1",
        "delete from backup_schedules where tenant_id = $1",
        "delete from replaced_schemas where tenant_id = $1",
        "delete from moves where tenant_id = $1",
        "delete from data_keys where tenant_id = $1",
        "delete from placements where tenant_id = $1",
        "update tenants set name = '(erased ' || id || ')', suspended_sentence = null where id = $1",
    ] {
        sqlx::query(sql).bind(id.get()).execute(change.conn()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::State::{self, Active, Deleted, Erased, Erasing, Provisioning, ReadOnly, Suspended};

    #[test]
    fn only_legal_transitions_are_made() {
        let all = [Provisioning, Active, ReadOnly, Suspended, Deleted, Erasing, Erased];
        let legal = [
            (Provisioning, Active),
            (Deleted, Active),
            (Deleted, Erasing),
            (Provisioning, Erased),
            (Deleted, Erased),
            (Erasing, Erased),
        ];
        for from in all {
            for to in all {
                let gone = matches!(from, Erasing | Erased);
                let expected = from == to
                    || legal.contains(&(from, to))
                    || (from.is_kept() && to.is_kept())
                    || (to == Deleted && !gone);
                assert_eq!(from.may_become(to), expected, "{from:?} to {to:?}");
            }
            assert_eq!(from.as_str().parse::<State>().unwrap(), from);
        }
    }
}
