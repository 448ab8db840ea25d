//! Whatever an installation holds: what is exported is what was there, and a plan carried out leaves nothing to plan.

use std::collections::BTreeMap;

use proptest::prelude::*;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::State;

use super::{carry_out, lines, nothing, read, secret};
use crate::declared::state::{AccountNow, Actual, Held, NumberNow, ScheduleNow, SecretNow, TenantNow};
use crate::declared::{export, file, plan, same};
use crate::rhythm::Rhythm;

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Active), Just(State::ReadOnly), Just(State::Suspended), Just(State::Deleted)]
}

fn rhythm() -> impl Strategy<Value = Rhythm> {
    let keep = any::<[Option<u8>; 3]>().prop_map(|keep| keep.map(|count| count.map(u32::from)));
    let every = prop_oneof![Just(360), Just(1440), 1..525_601_i64].prop_map(|minutes| minutes * 60);
    let rhythms = (every, proptest::option::of(0..1440_i64), keep);
    rhythms.prop_filter_map("said by no one", |(every, at, keep)| Rhythm::new(every, at.map(|at| at * 60), keep).ok())
}

/// Any installation: odd names, odd reasons, owners and numbers anywhere.
fn installation() -> impl Strategy<Value = Actual> {
    let tenants = proptest::collection::btree_map("\\PC{0,11}[a-z]", (state(), any::<String>(), any::<bool>()), 1..5);
    let owners = proptest::collection::vec(proptest::option::of(0..5_usize), 4);
    let names = proptest::collection::vec("[a-c][a-c_.-]{0,2}", 4);
    let numbers = proptest::collection::vec((0..5_usize, 0..3_u8), 4);
    let schedules = proptest::collection::vec((proptest::option::of(0..5_usize), rhythm()), 0..3);
    (tenants, owners, names, numbers, schedules, "[a-z]{1,5}").prop_map(
        |(tenants, owners, names, numbers, schedules, folder)| {
            let mut actual = nothing();
            for (id, (name, (state, reason, shared))) in (1..).zip(tenants) {
                let isolation = if shared { Isolation::Schema } else { Isolation::Database };
                actual.tenants.push(TenantNow {
                    id: i32::try_into(id).unwrap(),
                    name,
                    region: "US".parse().unwrap(),
                    state,
                    reason,
                    isolation,
                    cluster: isolation.cluster_kind().to_owned(),
                    unsettled: false,
                });
            }
            let name = |at: usize| actual.tenants[at % actual.tenants.len()].name.clone();
            let mut accounts = Vec::new();
            let mut secrets: Vec<SecretNow> = Vec::new();
            for (n, (owner, secret_name)) in owners.into_iter().zip(names).enumerate() {
                let owner = owner.map(name);
                let id = format!("AC{n:032}").parse().unwrap();
                accounts.push(AccountNow { id, owner: owner.clone(), token: Some(secret("t")) });
                if !secrets.iter().any(|known| (&known.name, &known.owner) == (&secret_name, &owner)) {
                    secrets.push(SecretNow { name: secret_name, owner, value: Some(secret("v")) });
                }
            }
            let mut held = Vec::new();
            for (n, (tenant, kind)) in numbers.into_iter().enumerate() {
                let fits = |account: &&AccountNow| account.owner.as_ref().is_none_or(|owner| *owner == name(tenant));
                let Some(account) = accounts.iter().find(fits) else { continue };
                let state = if kind == 0 { Held::Released } else { Held::By(name(tenant)) };
                let number = format!("+1800555010{n}").parse().unwrap();
                held.push(NumberNow { number, account: account.id.clone(), held: state });
            }
            for (owner, rhythm) in schedules {
                actual.settings.insert("backups_to".to_owned(), format!("file:///{folder}"));
                let owner = owner.map(name);
                if !actual.schedules.iter().any(|known| known.owner == owner) {
                    actual.schedules.push(ScheduleNow { owner, rhythm });
                }
            }
            (actual.accounts, actual.secrets, actual.numbers) = (accounts, secrets, held);
            actual
        },
    )
}

proptest! {
    /// An export says what is: applied where it came from it changes nothing, whether its variables are set or not.
    #[test]
    fn an_export_applied_changes_nothing(mut actual in installation()) {
        let text = export::write(&actual);
        let parsed = || file::parse(&text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        let unset = file::resolve(&text, parsed(), &|_| Ok(None)).unwrap();
        let plan = plan::plan(&unset, &actual, false).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        prop_assert_eq!(lines(&plan), Vec::<String>::new());

        for account in &mut actual.accounts {
            account.token = None;
        }
        let set = read(&text).unwrap();
        let first = plan::plan(&set, &actual, false).unwrap();
        carry_out(&mut actual, &first);
        prop_assert!(plan::plan(&set, &actual, false).unwrap().changes.is_empty());
    }

    /// Applied to an empty installation, an export makes all that was exported, and applied again nothing.
    #[test]
    fn an_export_makes_the_same_again(actual in installation(), prune in any::<bool>()) {
        let set = read(&export::write(&actual)).unwrap();
        let mut other = nothing();
        let first = plan::plan(&set, &other, prune).unwrap();
        carry_out(&mut other, &first);
        prop_assert_eq!(lines(&plan::plan(&set, &other, prune).unwrap()), Vec::<String>::new());
        let live = |all: &Actual| -> Vec<(String, State, String)> {
            let alive = all.tenants.iter().filter(|tenant| tenant.state != State::Deleted);
            let reason = |t: &TenantNow| if t.state == State::Active { String::new() } else { t.reason.clone() };
            alive.map(|tenant| (tenant.name.clone(), tenant.state, reason(tenant))).collect()
        };
        prop_assert_eq!(live(&other), live(&actual));
        let schedules = |all: &Actual| -> BTreeMap<Option<String>, String> {
            let gone = |name: &String| all.tenant(name).is_none_or(|tenant| tenant.state == State::Deleted);
            let there = all.schedules.iter().filter(|now| !now.owner.as_ref().is_some_and(gone));
            there.map(|now| (now.owner.clone(), now.rhythm.to_string())).collect()
        };
        prop_assert_eq!(schedules(&other), schedules(&actual));
        prop_assert_eq!(other.settings, actual.settings);
    }

    /// Whatever was there before: after one plan is carried out there is nothing left to plan.
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_plan(before in installation(), wanted in installation(), prune in any::<bool>()) {
        let mut before = before;
        let wanted = read(&export::write(&wanted)).unwrap();
        if let Ok(plan) = plan::plan(&wanted, &before, prune) {
            carry_out(&mut before, &plan);
            let again = plan::plan(&wanted, &before, prune).unwrap_or_else(|problems| panic!("{problems:?}"));
            prop_assert_eq!(lines(&again), Vec::<String>::new());
        }
    }

    #[test]
    fn a_quoted_text_is_read_back(text in any::<String>()) {
        let read: toml::Table = toml::from_str(&format!("x = {}", export::quoted(&text))).unwrap();
        prop_assert_eq!(read["x"].as_str().unwrap(), text);
    }

    #[test]
    fn secrets_are_the_same_only_if_they_are(a in any::<String>(), b in any::<String>()) {
        prop_assert!(same(&secret(&a), &secret(&a)));
        prop_assert_eq!(same(&secret(&a), &secret(&b)), a == b);
    }
}
