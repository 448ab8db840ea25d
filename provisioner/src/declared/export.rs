//! What is, written in the format that `file` reads.

use std::collections::{BTreeSet, HashSet};

use strowger::control::schedules::Keep;
use strowger::control::tenants::State;

use super::state::{Actual, Held, ScheduleNow, TenantNow};

/// The whole text. Deleted tenants and what is theirs are left out, and released numbers.
pub(super) fn write(actual: &Actual) -> String {
    let live = |tenant: &&TenantNow| !matches!(tenant.state, State::Deleted | State::Erased);
    let tenants: Vec<&TenantNow> = actual.tenants.iter().filter(live).collect();
    let names: HashSet<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    let there = |owner: &Option<String>| owner.as_deref().is_none_or(|name| names.contains(name));
    let mut variables = BTreeSet::new();
    let mut out = HEAD.to_owned();
    for tenant in tenants {
        out.push_str(&entry(tenant));
    }
    if !actual.settings.is_empty() {
        out.push_str("\n[platform]\n");
        for (name, value) in &actual.settings {
            out.push_str(&format!("{name} = {}\n", quoted(value)));
        }
    }
    for account in actual.accounts.iter().filter(|account| there(&account.owner)) {
        let variable = variable(&mut variables, &["STROWGER_TOKEN", account.id.as_str()]);
        out.push_str(&format!("\n[[account]]\nprovider = \"twilio\"\nid = {}\n", quoted(account.id.as_str())));
        out.push_str(&owner(account.owner.as_deref()));
        out.push_str(&format!("token = {{ env = {} }}\n", quoted(&variable)));
    }
    for secret in actual.secrets.iter().filter(|secret| there(&secret.owner)) {
        let whose = actual.tenants.iter().find(|tenant| Some(&tenant.name) == secret.owner.as_ref());
        let whose = whose.map_or_else(|| "PLATFORM".to_owned(), |tenant| format!("T{}", tenant.id));
        let variable = variable(&mut variables, &["STROWGER_SECRET", &whose, &secret.name]);
        out.push_str(&format!("\n[[secret]]\nname = {}\n", quoted(&secret.name)));
        out.push_str(&owner(secret.owner.as_deref()));
        out.push_str(&format!("value = {{ env = {} }}\n", quoted(&variable)));
    }
    for schedule in actual.schedules.iter().filter(|schedule| there(&schedule.owner)) {
        out.push_str(&rhythm(schedule));
    }
    for number in &actual.numbers {
        let (Held::By(to) | Held::Moving { to: Some(to) }) = &number.held else { continue };
        if names.contains(to.as_str()) {
            out.push_str(&format!("\n[[number]]\nvalue = {}\n", quoted(&number.number.to_string())));
            out.push_str(&owner(Some(to)));
            out.push_str(&format!("account = {}\n", quoted(number.account.as_str())));
        }
    }
    out
}

const HEAD: &str = "# For `strowgerctl apply -f`. No secret stands here: fill the environment variables that are named; one that is not\n\
                    # set leaves what is there as it is.\n";

fn entry(tenant: &TenantNow) -> String {
    let mut out = format!(
        "\n[[tenant]]\nid = {}\nname = {}\nisolation = \"{}\"\ncluster = {}\nregion = \"{}\"\n",
        tenant.id,
        quoted(&tenant.name),
        tenant.isolation.as_str(),
        quoted(&tenant.cluster),
        tenant.region
    );
    if matches!(tenant.state, State::ReadOnly | State::Suspended) {
        out.push_str(&format!("state = \"{}\"\nreason = {}\n", tenant.state.as_str(), quoted(&tenant.reason)));
    } else {
        out.push_str("state = \"active\"\n");
    }
    out
}

fn rhythm(schedule: &ScheduleNow) -> String {
    let rhythm = schedule.rhythm;
    let mut out =
        format!("\n[[backup-schedule]]\n{}every = \"{}\"\n", owner(schedule.owner.as_deref()), rhythm.every());
    if let Some(at) = rhythm.at() {
        out.push_str(&format!("at = \"{at}\"\n"));
    }
    if let Some(keep) = rhythm.keep() {
        let Keep { daily, weekly, monthly } = keep;
        out.push_str(&format!("keep-daily = {daily}\nkeep-weekly = {weekly}\nkeep-monthly = {monthly}\n"));
    }
    out
}

fn owner(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("tenant = {}\n", quoted(name)))
}

/// A name for an environment variable that none before it has.
fn variable(taken: &mut BTreeSet<String>, words: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = words.join("_").chars().map(plain).collect();
    let mut numbered = name.clone();
    let mut count = 1;
    while !taken.insert(numbered.clone()) {
        count += 1;
        numbered = format!("{name}_{count}");
    }
    numbered
}

/// A basic string of TOML: a JSON string in which no control character stands bare.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
