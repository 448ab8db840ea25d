//! Where each tenant lives now, and how to log in there.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::clusters::{self, Address, ClusterId, Isolation};
use super::tenants::State;
use super::{Change, Control, ControlError};
use crate::id::{Region, TenantId};
use crate::profile::TemplateName;
use crate::schema;
use crate::vault::{LoginPassword, Sealed, WrappedKey};

/// Where a tenant stands and lives.
pub struct Placement {
    /// Whose.
    pub tenant: TenantId,
    /// Where it stands.
    pub state: State,
    /// Default region of its callers' numbers.
    pub region: Region,
    /// Counts placement and credential changes.
    pub generation: i64,
    /// Matches the identity row in its schema.
    pub epoch: i32,
    /// What its own migration history said when control last heard. A change of it counts the generation up.
    pub schema_version: i32,
    /// The cluster it lives on.
    pub cluster: ClusterId,
    /// Where that listens.
    pub address: Address,
    /// What all instances together may hold open there.
    pub connection_budget: u32,
    /// Its database.
    pub database: String,
    /// Its schema.
    pub schema: String,
    /// The login role to use.
    pub login: String,
    /// What its callers' profiles are held to; `None`: nothing but limits.
    pub template: Option<TemplateName>,
    /// Whether nothing is written to it, because its data is being carried over.
    pub held: bool,
    /// Whether that is for a moment only, so that a write had better wait for it.
    pub turns_soon: bool,
    /// What callers hear while it is suspended or switched off; `None`: the platform's sentence.
    pub suspended_sentence: Option<String>,
}

/// A placement with what logs in there: all that the router needs, in one query.
pub struct Route {
    /// Where.
    pub placement: Placement,
    /// The login role's password.
    pub password: Sealed<LoginPassword>,
    /// The key that opens the password.
    pub data_key: WrappedKey,
}

/// Routes of all tenants; whoever uses it says which.
pub(super) const ROUTES: &str =
    "select t.id as route_of, t.state as tenant_state, t.region, p.generation, p.epoch, p.schema_version, p.cluster_id, c.host, c.port, c.tls, c.tls_ca,
            c.connection_budget, p.database, p.schema, p.login, p.sealed_password, p.held, p.turns_soon, k.version, k.wrapped,
            f.template_name, f.template_version, t.suspended_sentence
     from tenants t
     join placements p on p.tenant_id = t.id
     join clusters c on c.id = p.cluster_id
     join lateral (select version, wrapped from data_keys where tenant_id = t.id and ring = 'server'
                   order by version desc limit 1) k on true
     left join tenant_profiles f on f.tenant_id = t.id";

/// The route of a tenant in whatever state; `None` for an id that was never given.
pub async fn route(control: &Control, tenant: TenantId) -> Result<Option<Route>, ControlError> {
    let question = |pool: PgPool| {
        let sql = sqlx::AssertSqlSafe(format!("{ROUTES} where t.id = $1"));
        async move { sqlx::query(sql).bind(tenant.get()).fetch_optional(&pool).await }
    };
    control.look_up(question).await?.as_ref().map_or(Ok(None), from_row)
}

/// What [`ROUTES`] says in a row; `None` where it was outer joined and says nothing.
pub(super) fn from_row(row: &PgRow) -> Result<Option<Route>, ControlError> {
    let Some(tenant) = row.try_get::<Option<i32>, _>("route_of")? else { return Ok(None) };
    let placement = Placement {
        tenant: tenant.try_into()?,
        state: row.try_get::<String, _>("tenant_state")?.parse()?,
        region: row.try_get::<String, _>("region")?.parse()?,
        generation: row.try_get("generation")?,
        epoch: row.try_get("epoch")?,
        schema_version: row.try_get("schema_version")?,
        cluster: ClusterId(row.try_get("cluster_id")?),
        address: clusters::address(row)?,
        connection_budget: u32::try_from(row.try_get::<i32, _>("connection_budget")?).unwrap_or(1),
        database: row.try_get("database")?,
        schema: row.try_get("schema")?,
        login: row.try_get("login")?,
        template: template(row)?,
        held: row.try_get("held")?,
        turns_soon: row.try_get("turns_soon")?,
        suspended_sentence: row.try_get("suspended_sentence")?,
    };
    Ok(Some(Route {
        placement,
        password: Sealed::from_stored(row.try_get("sealed_password")?),
        data_key: super::keys::wrapped(row)?,
    }))
}

fn template(row: &PgRow) -> Result<Option<TemplateName>, ControlError> {
    let Some(name) = row.try_get::<Option<&str>, _>("template_name")? else { return Ok(None) };
    Ok(Some(TemplateName::from_parts(name, row.try_get("template_version")?)?))
}

/// The first placement of a tenant that is being made.
pub struct NewPlacement<'a> {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Schema or database.
    pub isolation: Isolation,
    /// The database's name.
    pub database: &'a str,
    /// The schema's name.
    pub schema: &'a str,
    /// The first login.
    pub login: &'a str,
    /// Its password.
    pub password: &'a Sealed<LoginPassword>,
}

/// Reserves the placement. Generation and epoch begin at 1; its schema will be what this build makes.
pub async fn create(change: &mut Change, tenant: TenantId, new: &NewPlacement<'_>) -> Result<(), ControlError> {
    let sql = "insert into placements (tenant_id, cluster_id, isolation, database, schema, login, sealed_password, schema_version)
               values ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(new.cluster.0)
        .bind(new.isolation.as_str())
        .bind(new.database)
        .bind(new.schema)
        .bind(new.login)
        .bind(new.password.as_bytes())
        .bind(schema::MAX)
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "isolation": new.isolation, "database": new.database, "schema": new.schema });
    change.record("placement.create", Some(tenant), detail).await
}

/// Where a tenant was found when control was compared with the clusters.
pub struct Regained<'a> {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Schema or database.
    pub isolation: Isolation,
    /// The database's name.
    pub database: &'a str,
    /// What its identity row says now.
    pub epoch: i32,
    /// The installation's epoch, above which every generation is.
    pub installation_epoch: i64,
}

/// Corrects a placement by what its cluster says. A change of logins that was under way is forgotten: a repair puts them right.
pub async fn regain(change: &mut Change, tenant: TenantId, found: &Regained<'_>) -> Result<(), ControlError> {
    let sql = "update placements
               set cluster_id = $2, isolation = $3, database = $4, epoch = $5, generation = greatest(generation + 1, $6 * 1000),
                   next_login = null, next_sealed_password = null, retiring_login = null
               where tenant_id = $1";
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(found.cluster.0)
        .bind(found.isolation.as_str())
        .bind(found.database)
        .bind(found.epoch)
        .bind(found.installation_epoch)
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "cluster": found.cluster.0, "database": found.database, "epoch": found.epoch });
    change.record("placement.regain", Some(tenant), detail).await
}

/// Which of these tenants have moved past the generation or left the state that an instance has cached.
pub async fn generations(control: &Control, tenants: &[TenantId]) -> Result<Vec<(TenantId, i64, State)>, ControlError> {
    let ids: Vec<i32> = tenants.iter().map(|id| id.get()).collect();
    let sql = "select t.id, p.generation, t.state from tenants t join placements p on p.tenant_id = t.id where t.id = any($1)";
    let rows = sqlx::query(sql).bind(ids).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            let state: String = row.try_get(2)?;
            Ok((row.try_get::<i32, _>(0)?.try_into()?, row.try_get(1)?, state.parse()?))
        })
        .collect()
}
