//! The difference between what is to be and what is, as changes in the order in which they must be made.
//!
//! What holds for every tenant comes first; then tenants, shut out or served before a number reaches them; then accounts, secrets and backup
//! schedules; then numbers that are given; then what `--prune` takes away, numbers before their accounts. A change that would be refused on the way is a problem here, so that
//! nothing has happened yet.

use std::collections::BTreeSet;
use std::fmt;

use strowger::control::tenants::State;
use strowger::id::AccountSid;
use strowger::vault::Secret;

use super::change::Change;
use super::file::{
    At, Desired, TenantRef, WantedAccount, WantedNumber, WantedSchedule, WantedSecret, WantedTenant, Wish,
};
use super::same;
use super::state::{Actual, Held, TenantNow};
use crate::backups::BACKUPS_TO;
use crate::numbers;
use crate::placement::{self, Wanted};

/// What has to be done, and what is left as it is although the file names it.
pub struct Plan<'d> {
    /// In this order.
    pub changes: Vec<Change<'d>>,
    /// Secrets whose environment variable is not set.
    pub kept: Vec<String>,
}

/// Compares. All problems come back, each with its line.
pub(super) fn plan<'d>(desired: &'d Desired, actual: &Actual, prune: bool) -> Result<Plan<'d>, Vec<String>> {
    let mut planner = Planner { desired, actual, changes: Vec::new(), kept: Vec::new(), problems: Vec::new() };
    planner.no_twins();
    planner.settings();
    planner.tenants();
    planner.accounts();
    planner.secrets();
    planner.schedules();
    planner.numbers();
    if prune {
        planner.prune();
    }
    let Planner { changes, kept, problems, .. } = planner;
    if problems.is_empty() { Ok(Plan { changes, kept }) } else { Err(problems) }
}

struct Planner<'d, 'a> {
    desired: &'d Desired,
    actual: &'a Actual,
    changes: Vec<Change<'d>>,
    kept: Vec<String>,
    problems: Vec<String>,
}

impl<'d> Planner<'d, '_> {
    fn wrong(&mut self, line: usize, what: impl fmt::Display) {
        self.problems.push(format!("line {line}: {what}"));
    }

    /// Nothing stands in the file twice: which of the two would hold?
    fn no_twins(&mut self) {
        let Desired { settings: _, tenants, accounts, secrets, numbers, schedules } = self.desired;
        let mut seen = BTreeSet::new();
        let names = tenants.iter().map(|at| (at.line, format!("tenant \"{}\"", at.it.name)));
        let ids = tenants.iter().filter_map(|at| Some((at.line, format!("tenant id {}", at.it.id?))));
        let accounts = accounts.iter().map(|at| (at.line, format!("account {}", at.it.id)));
        let secrets: Vec<_> = secrets
            .iter()
            .map(|at| (at.line, format!("secret {} of {:?}", at.it.name, self.owner(at.it.owner.as_ref()))))
            .collect();
        let numbers = numbers.iter().map(|at| (at.line, format!("number {}", at.it.number)));
        let schedules: Vec<_> = schedules
            .iter()
            .map(|at| (at.line, format!("the backup schedule of {:?}", self.owner(at.it.owner.as_ref()))))
            .collect();
        let all: Vec<_> = names.chain(ids).chain(accounts).chain(secrets).chain(numbers).chain(schedules).collect();
        for (line, what) in all {
            if !seen.insert(what.clone()) {
                self.wrong(line, format!("{what} stands in the file before"));
            }
        }
    }

    /// The name of the tenant that is meant, if there is or will be one that is not deleted.
    fn name_of(&self, reference: &TenantRef) -> Option<String> {
        let wanted = |at: &&At<WantedTenant>| match reference {
            TenantRef::Id(id) => at.it.id == Some(*id),
            TenantRef::Name(name) => at.it.name == *name,
        };
        let there = |tenant: &&TenantNow| match reference {
            TenantRef::Id(id) => tenant.id == *id,
            TenantRef::Name(name) => tenant.name == *name,
        };
        let gone = |tenant: &&TenantNow| matches!(tenant.state, State::Deleted | State::Erased);
        let by_file = self.desired.tenants.iter().find(wanted).map(|at| at.it.name.clone());
        by_file.or_else(|| {
            let found = self.actual.tenants.iter().find(there).filter(|tenant| !gone(tenant));
            found.map(|tenant| tenant.name.clone())
        })
    }

    fn owner(&self, reference: Option<&TenantRef>) -> Option<String> {
        reference.and_then(|reference| self.name_of(reference))
    }

    /// The owner (`None`: the platform), or a problem if a tenant is named that is not there.
    fn known_owner(&self, reference: Option<&TenantRef>) -> Result<Option<String>, String> {
        let Some(reference) = reference else { return Ok(None) };
        let what = match reference {
            TenantRef::Id(id) => id.to_string(),
            TenantRef::Name(name) => format!("\"{name}\""),
        };
        let found = self.name_of(reference);
        found.map(Some).ok_or_else(|| format!("there is no tenant {what} here or in the file, or it was deleted"))
    }

    fn settings(&mut self) {
        let settings = self.desired.settings.iter().map(|at| &at.it);
        let other = settings.filter(|wanted| self.actual.settings.get(wanted.name) != Some(&wanted.value));
        self.changes.extend(other.map(Change::SetSetting));
    }

    fn tenants(&mut self) {
        let mut clusters = self.actual.clusters.clone();
        let mut states = Vec::new();
        for At { line, it: wanted } in &self.desired.tenants {
            let now = self.actual.tenant(&wanted.name);
            if let Some(now) = now {
                if let Some(problem) = self.contradiction(wanted, now) {
                    self.wrong(*line, problem);
                }
            } else if let Some(other) =
                self.actual.tenants.iter().find(|tenant| wanted.id.is_some_and(|id| id == tenant.id))
            {
                self.wrong(*line, format!("tenant {} is \"{}\", and apply does not rename", other.id, other.name));
            } else {
                match choose(&mut clusters, wanted) {
                    Ok(()) => {}
                    Err(problem) => self.wrong(*line, problem),
                }
            }
            if now.is_none_or(|now| now.state == State::Provisioning) {
                self.changes.push(Change::CreateTenant(wanted));
            }
            states.extend(state_change(wanted, now));
        }
        self.changes.extend(states);
    }

    /// What the file says of a tenant that is there and that no change of ours would make so.
    fn contradiction(&self, wanted: &WantedTenant, now: &TenantNow) -> Option<String> {
        let label = self.actual.label(&now.cluster).unwrap_or_default();
        let named = |what: &str, is: &dyn fmt::Display, fix: &str| {
            Some(format!("tenant \"{}\" has {what} {is} and keeps it: {fix}", now.name))
        };
        let move_it = "apply does not move tenants; say what is so, or leave it out";
        if matches!(now.state, State::Deleted | State::Erased) {
            return Some(format!("tenant \"{}\" was deleted; its name is not used again", now.name));
        }
        if wanted.id.is_some_and(|id| id != now.id) {
            return named("id", &now.id, "use another name, or its id");
        }
        if wanted.isolation != now.isolation {
            return named("isolation", &now.isolation.as_str(), move_it);
        }
        if wanted.cluster.as_ref().is_some_and(|cluster| *cluster != now.cluster) {
            return named("cluster", &now.cluster, move_it);
        }
        if wanted.cluster_region.as_ref().is_some_and(|region| region != label) {
            return named("cluster region", &format!("\"{label}\""), move_it);
        }
        if wanted.region != now.region {
            return named("region", &now.region, "its callers' keys were made with it");
        }
        None
    }

    fn accounts(&mut self) {
        for At { line, it: wanted } in &self.desired.accounts {
            if let Err(problem) = self.account(*line, wanted) {
                self.wrong(*line, problem);
            }
        }
    }

    fn account(&mut self, line: usize, wanted: &'d WantedAccount) -> Result<(), String> {
        let owner = self.known_owner(wanted.owner.as_ref())?;
        let now = self.actual.accounts.iter().find(|account| account.id == wanted.id);
        if let Some(now) = now.filter(|now| now.owner != owner) {
            let whose = now.owner.as_ref().map_or("the platform".to_owned(), |name| format!("\"{name}\""));
            return Err(format!("account {} belongs to {whose}, and is not given away", wanted.id));
        }
        let new = now.is_none();
        match difference(now.and_then(|now| now.token.as_ref()), wanted.token.as_ref(), new)? {
            Difference::None => {}
            Difference::Kept => self.kept.push(format!("the token of account {} (line {line})", wanted.id)),
            Difference::Change => self.changes.push(Change::PutAccount { wanted, owner, new }),
        }
        Ok(())
    }

    fn secrets(&mut self) {
        for At { line, it: wanted } in &self.desired.secrets {
            if let Err(problem) = self.secret(*line, wanted) {
                self.wrong(*line, problem);
            }
        }
    }

    fn secret(&mut self, line: usize, wanted: &'d WantedSecret) -> Result<(), String> {
        let owner = self.known_owner(wanted.owner.as_ref())?;
        let now = self.actual.secrets.iter().find(|secret| secret.name == wanted.name && secret.owner == owner);
        let new = now.is_none();
        match difference(now.and_then(|now| now.value.as_ref()), wanted.value.as_ref(), new)? {
            Difference::None => {}
            Difference::Kept => self.kept.push(format!("secret {} (line {line})", wanted.name)),
            Difference::Change => self.changes.push(Change::SetSecret { wanted, owner, new }),
        }
        Ok(())
    }

    fn schedules(&mut self) {
        for At { line, it: wanted } in &self.desired.schedules {
            match self.schedule(wanted) {
                Ok(change) => self.changes.extend(change),
                Err(problem) => self.wrong(*line, problem),
            }
        }
    }

    fn schedule(&self, wanted: &'d WantedSchedule) -> Result<Option<Change<'d>>, String> {
        let owner = self.known_owner(wanted.owner.as_ref())?;
        let said = self.actual.settings.contains_key(BACKUPS_TO);
        if !said && !self.desired.settings.iter().any(|at| at.it.name == BACKUPS_TO) {
            return Err(format!("a backup schedule needs {BACKUPS_TO}, in the file's [platform] or by `platform set`"));
        }
        let now = self.actual.schedules.iter().find(|schedule| schedule.owner == owner);
        let same = now.is_some_and(|now| now.rhythm == wanted.rhythm);
        Ok((!same).then_some(Change::SetSchedule { wanted, owner, new: now.is_none() }))
    }

    fn numbers(&mut self) {
        let known = self.all_accounts();
        for At { line, it: wanted } in &self.desired.numbers {
            match self.assignment(&known, wanted) {
                Ok(change) => self.changes.extend(change),
                Err(problem) => self.wrong(*line, problem),
            }
        }
    }

    /// Those that are here and those of the file, each with its owner.
    fn all_accounts(&self) -> Vec<(AccountSid, Option<String>)> {
        let here = self.actual.accounts.iter().map(|account| (account.id.clone(), account.owner.clone()));
        let mut all: Vec<_> = here.collect();
        for At { it: wanted, .. } in &self.desired.accounts {
            if !all.iter().any(|(id, _)| *id == wanted.id) {
                all.push((wanted.id.clone(), self.owner(wanted.owner.as_ref())));
            }
        }
        all
    }

    fn assignment(
        &self,
        known: &[(AccountSid, Option<String>)],
        wanted: &WantedNumber,
    ) -> Result<Option<Change<'d>>, String> {
        let Some(to) = self.known_owner(Some(&wanted.tenant))? else { return Ok(None) };
        let now = self.actual.numbers.iter().find(|now| now.number == wanted.number);
        let settled = now.is_some_and(|now| now.held == Held::By(to.clone()));
        let same_account = |now: &AccountSid| wanted.account.as_ref().is_none_or(|account| account == now);
        if settled && now.is_some_and(|now| same_account(&now.account)) {
            return Ok(None);
        }
        let account = numbers::choose(known, &to, wanted.account.as_ref()).map_err(|error| error.to_string())?.clone();
        let from = now.and_then(|now| match &now.held {
            Held::By(name) if *name != to => Some(name.clone()),
            _ => None,
        });
        Ok(Some(Change::AssignNumber { number: wanted.number.clone(), account, to, from }))
    }

    /// Schedules and numbers that the file does not name, then accounts that it does not name and that no number of it needs.
    fn prune(&mut self) {
        let named: Vec<_> = self.desired.schedules.iter().map(|at| self.owner(at.it.owner.as_ref())).collect();
        let unnamed = self.actual.schedules.iter().filter(|now| !named.contains(&now.owner));
        self.changes.extend(unnamed.map(|now| Change::RemoveSchedule { owner: now.owner.clone() }));
        let mut needed: BTreeSet<String> = self.desired.accounts.iter().map(|at| at.it.id.to_string()).collect();
        for now in &self.actual.numbers {
            let named = self.desired.numbers.iter().any(|at| at.it.number == now.number);
            let given = self
                .changes
                .iter()
                .any(|change| matches!(change, Change::AssignNumber { number, .. } if *number == now.number));
            if named && !given {
                needed.insert(now.account.to_string());
            }
            if !named && now.held != Held::Released {
                let from = match &now.held {
                    Held::By(name) => Some(name.clone()),
                    _ => None,
                };
                self.changes.push(Change::ReleaseNumber { number: now.number.clone(), from });
            }
        }
        needed.extend(self.changes.iter().filter_map(|change| match change {
            Change::AssignNumber { account, .. } => Some(account.to_string()),
            _ => None,
        }));
        let unneeded = self.actual.accounts.iter().filter(|account| !needed.contains(account.id.as_str()));
        self.changes.extend(unneeded.map(|account| Change::RemoveAccount(account.id.clone())));
    }
}

/// Finds room for a new tenant, as if those before it in the file were there already.
fn choose(clusters: &mut [placement::Candidate], wanted: &WantedTenant) -> Result<(), String> {
    let asked = Wanted {
        isolation: wanted.isolation,
        cluster: wanted.cluster.as_deref(),
        region: wanted.cluster_region.as_deref(),
    };
    let id = placement::choose(clusters, &asked)?.id;
    for cluster in clusters.iter_mut().filter(|cluster| cluster.id == id) {
        cluster.occupancy.served += 1;
        cluster.occupancy.kept += 1;
    }
    Ok(())
}

fn state_change<'d>(wanted: &'d WantedTenant, now: Option<&TenantNow>) -> Option<Change<'d>> {
    let state = now.map_or(State::Active, |now| now.state);
    let unsettled = now.is_some_and(|now| now.unsettled);
    match wanted.state? {
        Wish::Active => (matches!(state, State::ReadOnly | State::Suspended) || unsettled)
            .then_some(Change::SetState(wanted, State::Active)),
        wish @ (Wish::ReadOnly | Wish::Suspended) => {
            let reason = now.map_or("", |now| now.reason.as_str());
            let same_reason = wanted.reason.as_deref().is_none_or(|wanted| wanted == reason);
            (state != wish.into() || unsettled || !same_reason).then_some(Change::SetState(wanted, wish.into()))
        }
    }
}

enum Difference {
    None,
    /// It is here, and the file's value is not at hand.
    Kept,
    Change,
}

/// Compares a stored secret with the wanted one. One that is stored and does not open is `None` and not `new`.
fn difference(stored: Option<&Secret>, wanted: Option<&Secret>, new: bool) -> Result<Difference, String> {
    match (stored, wanted) {
        (_, None) if new => Err("the environment variable with the secret is not set".to_owned()),
        (_, None) => Ok(Difference::Kept),
        (Some(stored), Some(wanted)) if same(stored, wanted) => Ok(Difference::None),
        _ => Ok(Difference::Change),
    }
}
