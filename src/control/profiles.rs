//! Profile templates, and which of them each tenant's callers are held to.

use sqlx::Row as _;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::profile::{Template, TemplateName};

/// A template as it is stored.
#[derive(Debug, serde::Serialize)]
pub struct Stored {
    /// Such as `insurance_v1`.
    pub name: String,
    /// The file that somebody wrote.
    pub authored: String,
    /// When it was imported.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When the first tenant was bound to it; from then on it does not change.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_used_at: Option<OffsetDateTime>,
    /// Tenants that are bound to it now.
    pub tenants: i64,
}

const SELECT: &str = "select t.name, t.version, t.authored, t.created_at, t.first_used_at, count(p.tenant_id)
                      from profile_templates t
                      left join tenant_profiles p on (p.template_name, p.template_version) = (t.name, t.version)";

fn from_row(row: &sqlx::postgres::PgRow) -> Result<Stored, ControlError> {
    Ok(Stored {
        name: TemplateName::from_parts(row.try_get(0)?, row.try_get(1)?)?.to_string(),
        authored: row.try_get(2)?,
        created_at: row.try_get(3)?,
        first_used_at: row.try_get(4)?,
        tenants: row.try_get(5)?,
    })
}

/// One template.
pub async fn get(control: &Control, name: &TemplateName) -> Result<Option<Stored>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where t.name = $1 and t.version = $2 group by t.name, t.version"));
    let row = sqlx::query(sql).bind(name.family()).bind(name.version()).fetch_optional(control.pool()).await?;
    row.as_ref().map(from_row).transpose()
}

/// All templates.
pub async fn list(control: &Control) -> Result<Vec<Stored>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} group by t.name, t.version order by t.name, t.version"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// The file of a template in use. For servers, which keep what they read.
pub async fn authored(control: &Control, name: &TemplateName) -> Result<Option<String>, ControlError> {
    let sql = "select authored from profile_templates where name = $1 and version = $2";
    Ok(sqlx::query_scalar(sql).bind(name.family()).bind(name.version()).fetch_optional(control.pool()).await?)
}

/// Stores a template, in the place of one that nobody uses yet; `false` if one in use says something else.
pub async fn put(change: &mut Change, template: &Template) -> Result<bool, ControlError> {
    let sql = "insert into profile_templates (name, version, authored, schema, bio) values ($1, $2, $3, $4, $5)
               on conflict (name, version) do update
               set authored = excluded.authored, schema = excluded.schema, bio = excluded.bio
               where profile_templates.first_used_at is null";
    let name = template.name();
    let done = sqlx::query(sql)
        .bind(name.family())
        .bind(name.version())
        .bind(template.authored())
        .bind(template.schema())
        .bind(serde_json::json!(template.bio_rule()))
        .execute(change.conn())
        .await?;
    change.record("profile.import", None, serde_json::json!({ "template": name.to_string() })).await?;
    Ok(done.rows_affected() > 0)
}

/// What a tenant is bound to, if to anything.
pub async fn bound(control: &Control, tenant: TenantId) -> Result<Option<TemplateName>, ControlError> {
    let sql = "select template_name, template_version from tenant_profiles where tenant_id = $1";
    let row = sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    row.map(|row| Ok(TemplateName::from_parts(row.try_get(0)?, row.try_get(1)?)?)).transpose()
}

/// Binds a tenant, which was bound to `before`; `false` if it no longer is.
pub async fn bind(
    change: &mut Change,
    tenant: TenantId,
    before: Option<&TemplateName>,
    to: &TemplateName,
) -> Result<bool, ControlError> {
    let sql = "insert into tenant_profiles (tenant_id, template_name, template_version) values ($1, $2, $3)
               on conflict (tenant_id) do update
               set template_name = excluded.template_name, template_version = excluded.template_version, bound_at = now()
               where tenant_profiles.template_name = $4 and tenant_profiles.template_version = $5";
    let done = sqlx::query(sql)
        .bind(tenant.get())
        .bind(to.family())
        .bind(to.version())
        .bind(before.map(TemplateName::family))
        .bind(before.map(TemplateName::version))
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({ "from": before.map(ToString::to_string), "to": to.to_string() });
    change.record("profile.bind", Some(tenant), detail).await?;
    Ok(done.rows_affected() > 0)
}
