//! Playbooks for the operator: imported as drafts, published for good, and cloned for tenants as they do it themselves, through
//! the tenant's own login.

use strowger::app::playbooks::{Compared, NotTaken, find, preview as compare, take};
use strowger::auth::Scope;
use strowger::control::playbooks::{self, Published, Stored};
use strowger::id::TenantId;
use strowger::playbook::merge::Choices;
use strowger::playbook::{Name, Playbook};
use strowger::tenant::{TenantDb, Write, clones};

use crate::error::{Error, Result};
use crate::{Provisioner, as_tenant, tenants};

/// Reads a playbook's file, for its author.
pub fn read(text: &str) -> Result<Playbook> {
    Playbook::parse(text).map_err(|error| Error::Conflict(format!("this is no playbook:\n{error}")))
}

/// Makes a file the draft of its playbook's next version; one that the newest version says already is left alone.
pub async fn import(with: &Provisioner, playbook: &Playbook) -> Result<Stored> {
    let name = playbook.name();
    if let Some(newest) = playbooks::get(&with.control, name, None).await?
        && playbooks::authored(&with.control, &newest).await?.as_deref() == Some(playbook.authored())
    {
        return Ok(newest);
    }
    let mut change = with.change().await?;
    let version = playbooks::draft(&mut change, playbook).await?;
    let version = version.ok_or_else(|| {
        Error::Conflict(format!("the draft of {name} was published meanwhile: import this again as the next version"))
    })?;
    change.commit().await?;
    get(with, name, Some(version)).await
}

/// Makes the draft what tenants clone; a version that is published already stays as it is.
pub async fn publish(with: &Provisioner, name: &Name, version: Option<i32>) -> Result<Stored> {
    let found = get(with, name, version).await?;
    if found.published_at.is_some() {
        return Ok(found);
    }
    let mut change = with.change().await?;
    if playbooks::publish(&mut change, name, found.version).await? {
        change.commit().await?;
    }
    get(with, name, Some(found.version)).await
}

/// One version, or the newest, a draft included.
pub async fn get(with: &Provisioner, name: &Name, version: Option<i32>) -> Result<Stored> {
    let of = version.map(|version| format!(" version {version}")).unwrap_or_default();
    let unknown =
        || Error::Conflict(format!("there is no playbook {name}{of}: `strowgerctl playbook list` names them"));
    playbooks::get(&with.control, name, version).await?.ok_or_else(unknown)
}

/// The file of a version.
pub async fn authored(with: &Provisioner, of: &Stored) -> Result<String> {
    let replaced = || Error::Unavailable(format!("{} was imported anew meanwhile", of.name));
    playbooks::authored(&with.control, of).await?.ok_or_else(replaced)
}

/// Gives a tenant a playbook, if it has none yet; run again it finds it done.
pub async fn clone(with: &Provisioner, tenant: TenantId, name: &Name, version: Option<i32>) -> Result<Compared> {
    tenants::get(with, tenant).await?;
    let to = published(with, name.as_str(), version).await?;
    let db = open(with, tenant).await?;
    let read = clones::load(db.conn()).await.map_err(|e| as_tenant::refused(tenant)(&e))?;
    if let Some(old) = read.origin.filter(|old| (old.name.as_str(), old.version) != (to.name.as_str(), to.version)) {
        let text = format!(
            "tenant {tenant} has cloned {} version {}: change that with `strowgerctl playbook update --tenant {tenant} {name}`",
            old.name, old.version
        );
        return Err(Error::Conflict(text));
    }
    take(&db, &to, &Choices::new()).await.map_err(|error| refused(tenant, error))
}

/// What a version would change for a tenant.
pub async fn preview(
    with: &Provisioner,
    tenant: TenantId,
    name: Option<&Name>,
    version: Option<i32>,
) -> Result<Compared> {
    let (db, to) = newer(with, tenant, name, version).await?;
    compare(&db, &to).await.map_err(|e| as_tenant::refused(tenant)(&e))
}

/// Brings a tenant's clone to a version.
pub async fn update(
    with: &Provisioner,
    tenant: TenantId,
    name: Option<&Name>,
    version: Option<i32>,
    choices: &Choices,
) -> Result<Compared> {
    let (db, to) = newer(with, tenant, name, version).await?;
    take(&db, &to, choices).await.map_err(|error| refused(tenant, error))
}

/// A tenant that has cloned something, and what it is compared with.
async fn newer(
    with: &Provisioner,
    tenant: TenantId,
    name: Option<&Name>,
    version: Option<i32>,
) -> Result<(TenantDb<Write>, Published)> {
    tenants::get(with, tenant).await?;
    let db = open(with, tenant).await?;
    let cloned = clones::name(db.conn()).await.map_err(|e| as_tenant::refused(tenant)(&e))?;
    let nothing = || {
        let next = format!("`strowgerctl playbook clone --tenant {tenant} NAME`");
        Error::Conflict(format!("tenant {tenant} has cloned no playbook yet: {next}"))
    };
    let cloned = cloned.ok_or_else(nothing)?;
    let to = published(with, name.map_or(&cloned, Name::as_str), version).await?;
    Ok((db, to))
}

async fn open(with: &Provisioner, tenant: TenantId) -> Result<TenantDb<Write>> {
    Ok(as_tenant::open(with, tenant, &[Scope::ReadConfig, Scope::WriteConfig]).await?.0)
}

async fn published(with: &Provisioner, name: &str, version: Option<i32>) -> Result<Published> {
    find(&with.control, name, version).await.map_err(|error| match error {
        NotTaken::Control(error) => error.into(),
        _ => {
            let of = version.map(|version| format!(" version {version}")).unwrap_or_default();
            Error::Conflict(format!("no playbook {name}{of} is published: `strowgerctl playbook list` names them"))
        }
    })
}

fn refused(tenant: TenantId, error: NotTaken) -> Error {
    match error {
        NotTaken::Conflicts(all) => {
            let lines: Vec<String> = all
                .iter()
                .map(|conflict| {
                    format!(
                        "  {}\n    was    {}\n    is     {}\n    yours  {}",
                        conflict.place, conflict.old, conflict.new, conflict.yours
                    )
                })
                .collect();
            Error::Conflict(format!(
                "tenant {tenant} and the playbook have both changed these places: add --resolve PLACE=mine or =theirs for each; \
                 nothing was changed\n{}",
                lines.join("\n")
            ))
        }
        NotTaken::Control(error) => error.into(),
        other => as_tenant::refused(tenant)(&other),
    }
}
