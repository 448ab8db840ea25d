//! Profile templates for the operator: imported, bound to tenants, and changed with a look at the callers first.

use serde::Serialize;
use strowger::auth::Scope;
use strowger::control::profiles::{self, Stored};
use strowger::id::TenantId;
use strowger::profile::{Profile, Template, TemplateName};
use strowger::shape::Fault;
use strowger::tenant::{TenantDb, Write, callers};

use crate::error::{Error, Result};
use crate::{Provisioner, as_tenant, tenants};

/// So many callers are read at a time.
const PAGE: i64 = 500;
/// So many callers that do not fit are listed; all are counted.
const LISTED: usize = 1000;

/// Reads a template's file, for its author.
pub fn read(text: &str) -> Result<Template> {
    Template::parse(text).map_err(|error| Error::Conflict(error.to_string()))
}

/// Stores a template; one that is there and says the same is left alone.
pub async fn import(with: &Provisioner, template: &Template) -> Result<Stored> {
    let name = template.name();
    if let Some(found) = profiles::get(&with.control, name).await?
        && found.authored == template.authored()
    {
        return Ok(found);
    }
    let mut change = with.control.change(&with.actor).await?;
    if !profiles::put(&mut change, template).await? {
        let text =
            format!("{name} is in use and does not change: import this as {}_v{}", name.family(), name.version() + 1);
        return Err(Error::Conflict(text));
    }
    change.commit().await?;
    get(with, name).await
}

/// One template.
pub async fn get(with: &Provisioner, name: &TemplateName) -> Result<Stored> {
    let unknown = || Error::Conflict(format!("there is no template {name}: `strowgerctl profile list` names them"));
    profiles::get(&with.control, name).await?.ok_or_else(unknown)
}

/// How a tenant is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// It must not be bound yet; otherwise it must be.
    pub first: bool,
    /// Only look at the callers.
    pub dry_run: bool,
    /// Bind it although some callers do not fit; they keep their old fields and their old line.
    pub force: bool,
}

/// What became of a tenant and its callers.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whose.
    pub customer_id: TenantId,
    /// What it was bound to.
    pub from: Option<String>,
    /// What it is to be bound to.
    pub to: String,
    /// Whether it is.
    pub bound: bool,
    /// How many callers were looked at.
    pub callers: u64,
    /// How many of them do not fit.
    pub unfit: u64,
    /// The first thousand of those.
    pub unfit_callers: Vec<Unfit>,
}

/// A caller who does not fit a template.
#[derive(Debug, Serialize)]
pub struct Unfit {
    /// The caller's key.
    pub user_id: String,
    /// What is wrong, field by field.
    pub errors: Vec<Fault>,
}

/// Binds a tenant to a template, if all its callers fit or `force` says so. Run again it finishes what was begun.
pub async fn bind(with: &Provisioner, tenant: TenantId, name: &TemplateName, how: How) -> Result<Report> {
    tenants::get(with, tenant).await?;
    let template = read(&get(with, name).await?.authored)?;
    let before = profiles::bound(&with.control, tenant).await?;
    match &before {
        Some(bound) if how.first && bound != name => {
            let text = format!("tenant {tenant} is bound to {bound}: change that with `strowgerctl profile upgrade`");
            return Err(Error::Conflict(text));
        }
        None if !how.first => {
            return Err(Error::Conflict(format!(
                "tenant {tenant} is bound to nothing: bind it with `strowgerctl profile bind`"
            )));
        }
        _ => {}
    }
    let (db, _) = as_tenant::open(with, tenant, &[Scope::ReadCallers, Scope::WriteCallers]).await?;
    let mut report = Report {
        customer_id: tenant,
        from: before.as_ref().map(ToString::to_string),
        to: name.to_string(),
        bound: false,
        callers: 0,
        unfit: 0,
        unfit_callers: Vec::new(),
    };
    review(&db, &template, &mut report, false).await?;
    if how.dry_run || (report.unfit > 0 && !how.force) {
        return Ok(report);
    }
    if before.as_ref() != Some(name) {
        let mut change = with.control.change(&with.actor).await?;
        if !profiles::bind(&mut change, tenant, before.as_ref(), name).await? {
            return Err(Error::Conflict(format!("tenant {tenant} was bound to something else meanwhile")));
        }
        change.commit().await?;
        with.settle_all().await?;
    }
    // From here on every server goes by the new template: what was stored by the old one meanwhile is seen now.
    review(&db, &template, &mut report, true).await?;
    Ok(Report { bound: true, ..report })
}

/// Looks at every caller; `write` gives those that fit their new line.
async fn review(db: &TenantDb<Write>, template: &Template, report: &mut Report, write: bool) -> Result<()> {
    let failed = as_tenant::refused(report.customer_id);
    (report.callers, report.unfit) = (0, 0);
    report.unfit_callers.clear();
    let mut after = String::new();
    loop {
        let page = callers::page(db.conn(), &after, PAGE).await.map_err(|e| failed(&e))?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        for (user_id, profile) in page {
            report.callers += 1;
            let whole = Profile::whole(profile.name.as_deref(), profile.fields.clone());
            match Profile::check(Some(template), whole) {
                Ok(now) if write => {
                    let of = Profile { quick_bio: now.quick_bio, ..profile };
                    callers::set_bio(db.conn(), &user_id, &of).await.map_err(|e| failed(&e))?;
                }
                Ok(_) => {}
                Err(errors) => {
                    report.unfit += 1;
                    if report.unfit_callers.len() < LISTED {
                        report.unfit_callers.push(Unfit { user_id, errors });
                    }
                }
            }
        }
    }
}
