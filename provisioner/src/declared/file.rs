//! The format: TOML, strict. A word that is not known is an error, with its line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use strowger::config::understand;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::State;
use strowger::id::{AccountSid, Region, TenantId};
use strowger::phone::Number;
use strowger::vault::Secret;
use toml::Spanned;

use crate::backups::BACKUPS_TO;
use crate::credentials::{PUBLIC_URL, SUSPENDED_SENTENCE, TWILIO_BASE_URL};
use crate::rhythm::{self, Rhythm};
use crate::{credentials, tenants};

/// The text, parsed.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    platform: PlatformTable,
    #[serde(default)]
    tenant: Vec<Spanned<TenantEntry>>,
    #[serde(default)]
    account: Vec<Spanned<AccountEntry>>,
    #[serde(default)]
    secret: Vec<Spanned<SecretEntry>>,
    #[serde(default)]
    number: Vec<Spanned<NumberEntry>>,
    #[serde(default)]
    backup_schedule: Vec<Spanned<ScheduleEntry>>,
}

/// Named as `platform set` names them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformTable {
    suspended_sentence: Option<Spanned<String>>,
    public_url: Option<Spanned<String>>,
    twilio_base_url: Option<Spanned<String>>,
    backups_to: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TenantEntry {
    id: Option<TenantId>,
    name: String,
    isolation: IsolationWord,
    cluster: Option<String>,
    cluster_region: Option<String>,
    #[serde(deserialize_with = "parsed")]
    region: Region,
    state: Option<Wish>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum IsolationWord {
    Schema,
    Database,
}

/// What a tenant's state is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Served.
    Active,
    /// Served for reading.
    ReadOnly,
    /// Shut out.
    Suspended,
}

impl From<Wish> for State {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Active => Self::Active,
            Wish::ReadOnly => Self::ReadOnly,
            Wish::Suspended => Self::Suspended,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    #[serde(rename = "provider")]
    _provider: Provider,
    #[serde(deserialize_with = "parsed")]
    id: AccountSid,
    tenant: Option<TenantRef>,
    token: Source,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    Twilio,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretEntry {
    name: String,
    tenant: Option<TenantRef>,
    value: Source,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberEntry {
    #[serde(deserialize_with = "parsed")]
    value: Number,
    tenant: TenantRef,
    #[serde(default, deserialize_with = "parsed_if_there")]
    account: Option<AccountSid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ScheduleEntry {
    tenant: Option<TenantRef>,
    #[serde(deserialize_with = "every")]
    every: i64,
    #[serde(default, deserialize_with = "at")]
    at: Option<i64>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
}

/// A tenant by its name or its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a tenant is its name in quotes, or its id")]
pub(super) enum TenantRef {
    Id(TenantId),
    Name(String),
}

/// Where a secret is. What this says of a mistake never holds the text, which may be the secret itself.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a secret is not written into the file: use { env = \"NAME\" } or { file = \"path\" }")]
pub(super) enum Source {
    Env(FromEnv),
    File(FromFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromEnv {
    pub(super) env: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromFile {
    pub(super) file: PathBuf,
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn parsed_if_there<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    parsed(from).map(Some)
}

fn every<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    rhythm::interval(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn at<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    rhythm::time_of_day(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

/// What is to be, with every word checked and every secret at hand.
pub struct Desired {
    pub(super) settings: Vec<At<WantedSetting>>,
    pub(super) tenants: Vec<At<WantedTenant>>,
    pub(super) accounts: Vec<At<WantedAccount>>,
    pub(super) secrets: Vec<At<WantedSecret>>,
    pub(super) numbers: Vec<At<WantedNumber>>,
    pub(super) schedules: Vec<At<WantedSchedule>>,
}

/// Something, and the line where it stands.
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) it: T,
}

/// A tenant that is to be there.
#[derive(Debug)]
pub struct WantedTenant {
    pub(super) id: Option<TenantId>,
    pub(super) name: String,
    pub(super) isolation: Isolation,
    pub(super) cluster: Option<String>,
    pub(super) cluster_region: Option<String>,
    pub(super) region: Region,
    pub(super) state: Option<Wish>,
    pub(super) reason: Option<String>,
}

/// An account that is to be there.
pub struct WantedAccount {
    pub(super) id: AccountSid,
    pub(super) owner: Option<TenantRef>,
    /// `None`: its environment variable is not set.
    pub(super) token: Option<Secret>,
}

/// A secret that is to be there.
pub struct WantedSecret {
    pub(super) name: String,
    pub(super) owner: Option<TenantRef>,
    /// `None`: its environment variable is not set.
    pub(super) value: Option<Secret>,
}

/// A number that is to be answered.
pub(super) struct WantedNumber {
    pub(super) number: Number,
    pub(super) tenant: TenantRef,
    pub(super) account: Option<AccountSid>,
}

/// What is to hold for every tenant, as it is stored.
pub struct WantedSetting {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// How often somebody is to be backed up.
pub struct WantedSchedule {
    /// `None`: everybody who has none of their own.
    pub(super) owner: Option<TenantRef>,
    pub(super) rhythm: Rhythm,
}

/// Reads the text; a mistake comes back with its line.
pub(super) fn parse(text: &str) -> Result<File, String> {
    understand(text)
}

/// Checks what serde cannot, and fetches the secrets. All that is wrong comes back, each with its line.
pub(super) fn resolve(
    text: &str,
    file: File,
    value: &dyn Fn(&Source) -> Result<Option<Secret>, String>,
) -> Result<Desired, Vec<String>> {
    let mut problems = Vec::new();
    let mut wrong = |line: usize, what: String| problems.push(format!("line {line}: {what}"));
    let mut fetch = |line: usize, source: &Source| {
        value(source).unwrap_or_else(|what| {
            wrong(line, what);
            None
        })
    };
    let accounts = each(text, file.account, |line, entry| WantedAccount {
        id: entry.id,
        owner: entry.tenant,
        token: fetch(line, &entry.token),
    });
    let secrets = each(text, file.secret, |line, entry| WantedSecret {
        value: fetch(line, &entry.value),
        name: entry.name,
        owner: entry.tenant,
    });
    let mut settings = Vec::new();
    for at in file.platform.entries().into_iter().flat_map(|(name, value)| each(text, value, |_, it| (name, it))) {
        let At { line, it: (name, value) } = at;
        match credentials::setting(name, &value) {
            Ok(value) => settings.push(At { line, it: WantedSetting { name, value } }),
            Err(error) => wrong(line, error.to_string()),
        }
    }
    let mut schedules = Vec::new();
    for At { line, it: entry } in each(text, file.backup_schedule, |_, entry| entry) {
        let keep = [entry.keep_daily, entry.keep_weekly, entry.keep_monthly];
        match Rhythm::new(entry.every, entry.at, keep) {
            Ok(rhythm) => schedules.push(At { line, it: WantedSchedule { owner: entry.tenant, rhythm } }),
            Err(what) => wrong(line, what),
        }
    }
    let tenants = each(text, file.tenant, |_, entry| wanted_tenant(entry));
    let numbers = each(text, file.number, |_, entry| WantedNumber {
        number: entry.value,
        tenant: entry.tenant,
        account: entry.account,
    });
    for tenant in &tenants {
        if let Err(error) = tenants::check_name(&tenant.it.name) {
            wrong(tenant.line, error.to_string());
        }
    }
    for secret in &secrets {
        if let Err(error) = credentials::check_secret_name(&secret.it.name) {
            wrong(secret.line, error.to_string());
        }
    }
    let desired = Desired { settings, tenants, accounts, secrets, numbers, schedules };
    if problems.is_empty() { Ok(desired) } else { Err(problems) }
}

impl PlatformTable {
    fn entries(self) -> [(&'static str, Option<Spanned<String>>); 4] {
        [
            (SUSPENDED_SENTENCE, self.suspended_sentence),
            (PUBLIC_URL, self.public_url),
            (TWILIO_BASE_URL, self.twilio_base_url),
            (BACKUPS_TO, self.backups_to),
        ]
    }
}

fn each<E, T>(
    text: &str,
    all: impl IntoIterator<Item = Spanned<E>>,
    mut made: impl FnMut(usize, E) -> T,
) -> Vec<At<T>> {
    let at = |entry: Spanned<E>| {
        let line = text[..entry.span().start.min(text.len())].matches('\n').count() + 1;
        At { line, it: made(line, entry.into_inner()) }
    };
    all.into_iter().map(at).collect()
}

fn wanted_tenant(entry: TenantEntry) -> WantedTenant {
    WantedTenant {
        id: entry.id,
        name: entry.name,
        isolation: match entry.isolation {
            IsolationWord::Schema => Isolation::Schema,
            IsolationWord::Database => Isolation::Database,
        },
        cluster: entry.cluster,
        cluster_region: entry.cluster_region,
        region: entry.region,
        state: entry.state,
        reason: entry.reason,
    }
}

/// The secret itself. An environment variable that is not set is `None`: what is there is kept. A file must be there.
///
/// Neither name is said back: somebody may have put the secret in its place.
pub(super) fn value_of(source: &Source, folder: &Path) -> Result<Option<Secret>, String> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = match source {
        Source::Env(FromEnv { env }) => {
            if env.is_empty() || env.contains(['=', '\0']) {
                return Err("env is not the name of an environment variable".to_owned());
            }
            match std::env::var_os(env) {
                None => return Ok(None),
                Some(value) => value.into_vec(),
            }
        }
        Source::File(FromFile { file }) => {
            std::fs::read(folder.join(file)).map_err(|error| format!("the secret's file cannot be read: {error}"))?
        }
    };
    let secret = Secret::new(bytes);
    let end = secret.expose().iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    if end == 0 {
        return Err("the secret is empty".to_owned());
    }
    Ok(Some(Secret::new(secret.expose()[..end].to_vec())))
}
