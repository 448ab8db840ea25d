//! The pure parts: the format, the comparison, and that an export and a plan carried out leave nothing to do.

mod properties;

use std::collections::BTreeMap;

use strowger::control::clusters::{Admission, ClusterId, Occupancy};
use strowger::control::tenants::State;
use strowger::vault::Secret;

use super::change::Change;
use super::export;
use super::file::{self, Desired, Source, Wish};
use super::plan::{self, Plan};
use super::state::{AccountNow, Actual, Held, NumberNow, ScheduleNow, SecretNow, TenantNow};
use crate::placement::Candidate;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// The variable's name is its value; names that begin with UNSET are not set.
fn value_of(source: &Source) -> Result<Option<Secret>, String> {
    match source {
        Source::Env(from) if from.env.starts_with("UNSET") => Ok(None),
        Source::Env(from) => Ok(Some(secret(&from.env))),
        Source::File(_) => Err("the secret's file cannot be read".to_owned()),
    }
}

fn read(text: &str) -> Result<Desired, Vec<String>> {
    file::resolve(text, file::parse(text).map_err(|problem| vec![problem])?, &value_of)
}

fn nothing() -> Actual {
    let cluster = |id: i32, name: &str, kind: &str, region: &str| Candidate {
        id: ClusterId::from_stored(id),
        name: name.to_owned(),
        kind: kind.to_owned(),
        region: region.to_owned(),
        admission: Admission::Open,
        connection_budget: 100,
        occupancy: Occupancy::default(),
    };
    let clusters = vec![cluster(1, "shared", "shared", "eu"), cluster(2, "dedicated", "dedicated", "")];
    let (accounts, secrets, numbers) = (vec![], vec![], vec![]);
    Actual { tenants: vec![], clusters, accounts, secrets, numbers, settings: BTreeMap::new(), schedules: vec![] }
}

/// For proptest's reports: a secret has no words of its own.
impl std::fmt::Debug for Actual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", export::write(self))
    }
}

/// Plans and carries out.
fn bring(actual: &mut Actual, desired: &Desired) {
    let plan = plan::plan(desired, actual, false).unwrap();
    carry_out(actual, &plan);
}

/// What the operations would make of it.
fn carry_out(actual: &mut Actual, plan: &Plan<'_>) {
    for change in &plan.changes {
        match change {
            Change::CreateTenant(wanted) => {
                actual.tenants.retain(|tenant| tenant.name != wanted.name);
                let next = actual.tenants.iter().map(|tenant| tenant.id.get()).max().unwrap_or(0) + 1;
                let fits = |c: &&Candidate| {
                    c.kind == wanted.isolation.cluster_kind()
                        && wanted.cluster.as_ref().is_none_or(|name| *name == c.name)
                };
                actual.tenants.push(TenantNow {
                    id: wanted.id.unwrap_or_else(|| next.try_into().unwrap()),
                    name: wanted.name.clone(),
                    region: wanted.region,
                    state: State::Active,
                    reason: String::new(),
                    isolation: wanted.isolation,
                    cluster: actual.clusters.iter().find(fits).unwrap().name.clone(),
                    unsettled: false,
                });
            }
            Change::SetState(wanted, state) => {
                let tenant = actual.tenants.iter_mut().find(|tenant| tenant.name == wanted.name).unwrap();
                tenant.state = *state;
                tenant.reason = wanted.reason.clone().unwrap_or_default();
                tenant.unsettled = false;
            }
            Change::PutAccount { wanted, owner, .. } => {
                assert!(owner.as_ref().is_none_or(|name| actual.tenant(name).is_some()), "its owner is there");
                actual.accounts.retain(|account| account.id != wanted.id);
                let token = wanted.token.as_ref().map(|token| Secret::new(token.expose().to_vec()));
                actual.accounts.push(AccountNow { id: wanted.id.clone(), owner: owner.clone(), token });
            }
            Change::SetSecret { wanted, owner, .. } => {
                actual.secrets.retain(|secret| (&secret.name, &secret.owner) != (&wanted.name, owner));
                let value = wanted.value.as_ref().map(|value| Secret::new(value.expose().to_vec()));
                actual.secrets.push(SecretNow { name: wanted.name.clone(), owner: owner.clone(), value });
            }
            Change::AssignNumber { number, account, to, .. } => {
                assert!(actual.tenant(to).is_some(), "the tenant is there");
                assert!(actual.accounts.iter().any(|known| known.id == *account), "the account is there");
                actual.numbers.retain(|now| now.number != *number);
                let held = Held::By(to.clone());
                actual.numbers.push(NumberNow { number: number.clone(), account: account.clone(), held });
            }
            Change::SetSetting(wanted) => {
                actual.settings.insert(wanted.name.to_owned(), wanted.value.clone());
            }
            Change::SetSchedule { wanted, owner, .. } => {
                assert!(owner.as_ref().is_none_or(|name| actual.tenant(name).is_some()), "the tenant is there");
                assert!(actual.settings.contains_key("backups_to"), "backups have a place");
                actual.schedules.retain(|now| now.owner != *owner);
                actual.schedules.push(ScheduleNow { owner: owner.clone(), rhythm: wanted.rhythm });
            }
            Change::RemoveSchedule { owner } => actual.schedules.retain(|now| now.owner != *owner),
            Change::ReleaseNumber { number, .. } => {
                actual.numbers.iter_mut().find(|now| now.number == *number).unwrap().held = Held::Released;
            }
            Change::RemoveAccount(id) => {
                let named = |now: &NumberNow| now.account == *id && now.held != Held::Released;
                assert!(!actual.numbers.iter().any(named), "no number is taken from it");
                actual.numbers.retain(|now| now.account != *id);
                actual.accounts.retain(|account| account.id != *id);
            }
        }
    }
}

fn lines(plan: &Plan<'_>) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

const FILE: &str = r#"
[[number]]
value = "+18005550101"
tenant = "One"

[[account]]
provider = "twilio"
id = "AC00000000000000000000000000000001"
token = { env = "TOKEN" }

[[tenant]]
name = "One"
isolation = "schema"
region = "US"
state = "suspended"
reason = "unpaid"

[[secret]]
name = "model_key"
tenant = "One"
value = { env = "KEY" }

[[backup-schedule]]
tenant = "One"
every = "6h"
at = "02:30"
keep-daily = 7

[platform]
backups_to = "/srv/backups"
public_url = "https://example.org/"
"#;

#[test]
fn changes_come_in_the_order_in_which_they_can_be_made() {
    let mut actual = nothing();
    let desired = read(FILE).unwrap();
    let plan = plan::plan(&desired, &actual, false).unwrap();
    assert_eq!(
        lines(&plan),
        [
            "~ public_url \"https://example.org\"",
            "~ backups_to \"file:///srv/backups\"",
            "+ tenant \"One\" (schema)",
            "~ tenant \"One\": suspended",
            "+ account AC00000000000000000000000000000001 of the platform",
            "+ secret model_key of \"One\"",
            "+ backup schedule of \"One\": every 6h at 02:30, kept: 7 daily, 0 weekly, 0 monthly",
            "+ number +18005550101: \"One\" under AC00000000000000000000000000000001",
        ]
    );
    carry_out(&mut actual, &plan);
    assert!(plan::plan(&desired, &actual, true).unwrap().changes.is_empty());

    let moved = FILE.replace("One", "Two").replace("\"TOKEN\"", "\"OTHER\"");
    let desired = read(&moved).unwrap();
    let plan = plan::plan(&desired, &actual, false).unwrap();
    assert!(
        lines(&plan)
            .contains(&"~ account AC00000000000000000000000000000001 of the platform: another token".to_owned())
    );
    assert!(lines(&plan).last().unwrap().ends_with("(was \"One\")"), "{:?}", lines(&plan));
}

#[test]
fn what_the_file_does_not_name_is_left_alone_unless_pruned() {
    let mut actual = nothing();
    let all = read(FILE).unwrap();
    bring(&mut actual, &all);
    let empty = read("").unwrap();
    assert!(plan::plan(&empty, &actual, false).unwrap().changes.is_empty());
    let pruned = plan::plan(&empty, &actual, true).unwrap();
    let expected = [
        "- backup schedule of \"One\"",
        "- number +18005550101 (was \"One\")",
        "- account AC00000000000000000000000000000001",
    ];
    assert_eq!(lines(&pruned), expected, "no tenant, no secret and no setting");
    assert!(pruned.changes.iter().all(Change::takes_away));
    carry_out(&mut actual, &pruned);
    assert!(plan::plan(&empty, &actual, true).unwrap().changes.is_empty());
}

#[test]
fn a_secret_that_is_not_at_hand_is_kept_if_there_is_one() {
    let mut actual = nothing();
    let unset = FILE.replace("\"TOKEN\"", "\"UNSET_TOKEN\"").replace("\"KEY\"", "\"UNSET_KEY\"");
    let unset = read(&unset).unwrap();
    let problems = plan::plan(&unset, &actual, false).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("line 6: ") && problems[1].starts_with("line 18: "), "{problems:?}");
    let set = read(FILE).unwrap();
    bring(&mut actual, &set);
    let plan = plan::plan(&unset, &actual, false).unwrap();
    assert_eq!((plan.changes.len(), plan.kept.len()), (0, 2));
}

#[test]
fn a_schedule_needs_a_place_for_backups() {
    let desired = read(&FILE.replace("backups_to = \"/srv/backups\"", "")).unwrap();
    let problems = plan::plan(&desired, &nothing(), false).map(|plan| lines(&plan)).unwrap_err();
    assert!(problems.concat().starts_with("line 23: a backup schedule needs backups_to"), "{problems:?}");
    let mut actual = nothing();
    actual.settings.insert("backups_to".to_owned(), "file:///srv/backups".to_owned());
    assert!(plan::plan(&desired, &actual, false).is_ok(), "it may have one already");
}

/// Control says suspended before Postgres shuts the tenant out: a suspension that was killed in between is not done.
#[test]
fn what_a_job_has_not_ended_is_planned_again() {
    let mut actual = nothing();
    let desired = read(FILE).unwrap();
    bring(&mut actual, &desired);
    actual.tenants[0].unsettled = true;
    actual.numbers[0].held = Held::Moving { to: Some("One".to_owned()) };
    let plan = plan::plan(&desired, &actual, false).unwrap();
    assert_eq!(plan.changes.len(), 2, "{:?}", lines(&plan));
    carry_out(&mut actual, &plan);
    assert!(plan::plan(&desired, &actual, false).unwrap().changes.is_empty());
}

/// What would be refused half-way is refused before anything is done, and no secret is said back.
#[test]
fn mistakes_are_found_first_each_with_its_line() {
    let mut actual = nothing();
    let desired = read(FILE).unwrap();
    bring(&mut actual, &desired);
    for (from, to, says) in [
        ("isolation = \"schema\"", "isolation = \"database\"", "line 11: tenant \"One\" has isolation schema"),
        ("region = \"US\"", "region = \"KE\"", "has region US"),
        ("region = \"US\"", "region = \"US\"\ncluster = \"far\"", "has cluster shared"),
        ("region = \"US\"", "region = \"US\"\ncluster-region = \"us\"", "has cluster region \"eu\""),
        ("region = \"US\"", "region = \"US\"\nid = 7", "has id 1"),
        ("name = \"One\"", "name = \"Else\"\nid = 1", "tenant 1 is \"One\", and apply does not rename"),
        (
            "value = \"+18005550101\"\ntenant = \"One\"",
            "value = \"+18005550101\"\ntenant = 9",
            "line 2: there is no tenant 9",
        ),
        (
            "token =",
            "tenant = \"One\"\ntoken =",
            "line 6: account AC00000000000000000000000000000001 belongs to the platform",
        ),
        (
            "tenant = \"One\"\n\n",
            "tenant = \"One\"\naccount = \"AC00000000000000000000000000000009\"\n\n",
            "is not known",
        ),
        (
            "[[tenant]]",
            "[[tenant]]\nname = \"Far\"\nisolation = \"schema\"\nregion = \"US\"\ncluster = \"far\"\n[[tenant]]",
            "named far",
        ),
        ("{ env = \"KEY\" }", "\"hunter2\"", "line 21: a secret is not written into the file"),
        ("{ env = \"KEY\" }", "17", "a secret is not written into the file"),
        ("{ env = \"KEY\" }", "{ file = \"hunter2\" }", "line 18: the secret's file cannot be read"),
        ("{ env = \"KEY\" }", "{ evn = \"hunter2\" }", "a secret is not written into the file"),
        ("isolation", "islation", "line 13: unknown field `islation`"),
        ("every = \"6h\"", "every = \"6 hours\"", "line 25: from 1m to 365d"),
        ("every = \"6h\"", "every = \"5h\"", "line 23: with a time of day"),
        ("at = \"02:30\"", "at = \"2:30\"", "line 26: a time of day"),
        ("keep-daily = 7", "keep-daily = -7", "line 27: "),
        ("keep-daily", "keep_daily", "line 27: unknown field `keep_daily`"),
        ("tenant = \"One\"\nevery", "tenant = \"Two\"\nevery", "line 23: there is no tenant \"Two\""),
        (
            "[platform]",
            "[[backup-schedule]]\ntenant = \"One\"\nevery = \"1d\"\n[platform]",
            "stands in the file before",
        ),
        ("/srv/backups", "srv/backups", "line 30: "),
        ("https://example.org/", "http://example.org/", "line 31: public_url begins with https://"),
        ("public_url", "pubic_url", "line 31: unknown field `pubic_url`"),
        ("name = \"One\"", "name = \"\"", "a tenant's name has"),
        ("name = \"model_key\"", "name = \"Model\"", "a secret's name is"),
        (
            "[[number]]",
            "[[number]]\nvalue = \"+18005550101\"\ntenant = \"One\"\n[[number]]",
            "stands in the file before",
        ),
        ("+18005550101", "18005550101", "line 3: not a phone number"),
    ] {
        let text = FILE.replacen(from, to, 1);
        assert_ne!(text, FILE, "{from}");
        let problems = match read(&text) {
            Ok(desired) => plan::plan(&desired, &actual, false).map(|plan| lines(&plan)).unwrap_err(),
            Err(problems) => problems,
        };
        let all = problems.join("\n");
        assert!(all.contains(says) && all.starts_with("line ") && !all.contains("hunter2"), "{says}: {all}");
    }
}

#[test]
fn a_state_is_asked_for_in_the_file_s_words() {
    let desired = read(FILE).unwrap();
    assert_eq!(desired.tenants[0].it.state, Some(Wish::Suspended));
}
