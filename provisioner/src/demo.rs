//! The demonstration: tenants from `ops/demo/`, a signed call to each, and what Postgres says when one reaches for another.

use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strowger::auth::Scope;
use strowger::auth::webhook::sign_twilio;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::id::AccountSid;
use strowger::phone::Number;
use strowger::profile::TemplateName;
use strowger::vault::Secret;

use crate::error::{Error, Result};
use crate::tenants::NewTenant;
use crate::{Provisioner, as_tenant, configuration, credentials, numbers, profiles, tenants};

include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));

/// What the demonstration does, and what its tokens can be tried with.
const SCOPES: [Scope; 6] = [
    Scope::ReadMemories,
    Scope::WriteMemories,
    Scope::ReadCalls,
    Scope::ReadCallers,
    Scope::WriteCallers,
    Scope::ReadConfig,
];

/// One file of `ops/demo/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    isolation: String,
    region: String,
    number: String,
    account: String,
    template: String,
    settings: Map<String, Value>,
    caller: Caller,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    user_id: String,
    profile: Map<String, Value>,
    memories: Vec<Remembered>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    #[serde(rename = "type")]
    kind: String,
    key: String,
    content: String,
}

/// What happened, for people and for scripts.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where the server listens.
    pub base_url: String,
    /// In the order of the files.
    pub tenants: Vec<Shown>,
}

/// What happened to one tenant.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its id.
    pub customer_id: i32,
    /// Its name.
    pub name: String,
    /// What was dialled.
    pub number: String,
    /// Where it lives.
    pub cluster: String,
    /// How it is kept apart.
    pub isolation: Isolation,
    /// Its login.
    pub login_role: String,
    /// The caller, the same at every tenant.
    pub caller: String,
    /// What the caller heard.
    pub said: String,
    /// What the tenant remembers of the caller, read back over HTTP.
    pub remembers: Vec<String>,
    /// Whose data its login reached for.
    pub reached_for: i32,
    /// What Postgres answered.
    pub refusal: String,
    /// For trying more.
    pub token: String,
}

/// Seeds, calls, and reaches across. Run again on the same data it gives the same result.
pub async fn run(with: &Provisioner, base_url: &str, say: &(dyn Fn(&str) + Sync)) -> Result<Report> {
    let files: Vec<File> = DEMO_FILES
        .iter()
        .map(|(name, text)| toml::from_str(text).map_err(|e| Error::Conflict(format!("ops/demo/{name}: {e}"))))
        .collect::<Result<_>>()?;
    let mut made = Vec::new();
    for file in &files {
        say(&format!("provisioning \"{}\"", file.name));
        made.push(provision(with, file).await?);
    }
    let mut shown = Vec::new();
    for (i, (file, (tenant, account_token))) in files.iter().zip(&made).enumerate() {
        say(&format!("calling \"{}\"", file.name));
        let token = seed(with, base_url, file, tenant).await?;
        // Each reaches for the next; the last for the first.
        let (other, _) = &made[(i + 1) % made.len()];
        shown.push(Shown {
            customer_id: tenant.id.get(),
            name: file.name.clone(),
            number: file.number.clone(),
            cluster: tenant.cluster.clone(),
            isolation: tenant.isolation,
            login_role: tenant.login_role.clone(),
            caller: file.caller.user_id.clone(),
            said: call(base_url, file, account_token).await?,
            remembers: remembered(base_url, &token, &file.caller.user_id).await?,
            reached_for: other.id.get(),
            refusal: reach(with, tenant, other).await?,
            token,
        });
    }
    Ok(Report { base_url: base_url.to_owned(), tenants: shown })
}

async fn provision(with: &Provisioner, file: &File) -> Result<(Tenant, Secret)> {
    let new = NewTenant {
        name: &file.name,
        id: None,
        isolation: file.isolation.parse()?,
        cluster: None,
        cluster_region: None,
        region: file.region.parse()?,
    };
    let tenant = tenants::create(with, &new).await?;
    let account: AccountSid = file.account.parse()?;
    // Made anew each time, so that no token stands in a file.
    let token = Secret::random_password();
    credentials::add_account(with, &account, Some(tenant.id), &token).await?;
    let number: Number = file.number.parse()?;
    numbers::assign(with, &number, tenant.id, Some(&account), "").await?;
    Ok((tenant, token))
}

/// The configuration through the library, the caller through the HTTP API; gives the token for the latter.
async fn seed(with: &Provisioner, base_url: &str, file: &File, tenant: &Tenant) -> Result<String> {
    let template: TemplateName = file.template.parse()?;
    // A data folder that has been used before may be bound already, to this.
    profiles::bind(with, tenant.id, &template, profiles::How { first: true, dry_run: false, force: true }).await?;
    configuration::set(with, tenant.id, file.settings.clone()).await?;
    let token = credentials::mint(with, tenant.id, &SCOPES, 3600).await?;
    let client = here();
    let caller = &file.caller;
    let path = format!("{base_url}/v2/profile/{}", caller.user_id);
    send(tenant, client.put(path).bearer_auth(&token).json(&caller.profile)).await?;
    for memory in &caller.memories {
        let mut body = serde_json::json!(memory);
        body["user_id"] = caller.user_id.as_str().into();
        send(tenant, client.post(format!("{base_url}/v1/memories")).bearer_auth(&token).json(&body)).await?;
    }
    Ok(token)
}

/// A client for this machine, which needs no authority's certificate and works where there are none.
fn here() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).build().unwrap_or_default()
}

async fn send(tenant: &Tenant, request: reqwest::RequestBuilder) -> Result<()> {
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    answer.map(drop).map_err(|error| as_tenant::refused(tenant.id)(&error))
}

/// Calls the tenant's number as Twilio would, signed with the account's token.
async fn call(base_url: &str, file: &File, token: &Secret) -> Result<String> {
    let sid = format!("CA{}", uuid::Uuid::new_v4().simple());
    let fields: Vec<(String, String)> = [
        ("CallSid", sid.as_str()),
        ("AccountSid", &file.account),
        ("From", &file.caller.user_id),
        ("To", &file.number),
        ("Caller", &file.caller.user_id),
        ("Called", &file.number),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
        ("ApiVersion", "2010-04-01"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let url = format!("{base_url}/call/incoming");
    let request = here().post(&url).header("X-Twilio-Signature", sign_twilio(token, &url, &fields)).form(&fields);
    let failed = |error: reqwest::Error| Error::Unavailable(format!("call {}: {error}", file.number));
    let twiml = request
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?
        .text()
        .await
        .map_err(failed)?;
    let said = twiml
        .split_once("<Say")
        .and_then(|(_, rest)| rest.split_once('>'))
        .and_then(|(_, rest)| rest.split_once("</Say>"));
    said.map(|(text, _)| unescape(text))
        .ok_or_else(|| Error::Unavailable(format!("{} answered without a sentence", file.number)))
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

async fn remembered(base_url: &str, token: &str, user_id: &str) -> Result<Vec<String>> {
    let failed = |error: reqwest::Error| Error::Unavailable(format!("read memories: {error}"));
    let request = here().get(format!("{base_url}/v1/memories")).query(&[("user_id", user_id)]).bearer_auth(token);
    let answer = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let body: serde_json::Value = answer.json().await.map_err(failed)?;
    let memories = body["memories"].as_array().into_iter().flatten();
    Ok(memories.filter_map(|m| m["content"].as_str().map(ToOwned::to_owned)).collect())
}

/// Logs in as one tenant and reaches for another's memories, in its own database or at the other's.
async fn reach(with: &Provisioner, from: &Tenant, to: &Tenant) -> Result<String> {
    let (own, other) = (tenants::connection(with, from.id).await?, tenants::connection(with, to.id).await?);
    let bad =
        |error: tokio_postgres::Error| Error::Unavailable(format!("reach from {} to {}: {error}", from.id, to.id));
    let mut config: tokio_postgres::Config = own.parse().map_err(bad)?;
    if (from.cluster_id(), &from.database) != (to.cluster_id(), &to.database) {
        let theirs: tokio_postgres::Config = other.parse().map_err(bad)?;
        let mut there = theirs.clone();
        config.get_user().map(|user| there.user(user));
        config.get_password().map(|password| there.password(password));
        config = there;
    }
    let attempt = async {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("select content from {}.memories", to.schema)).await
    };
    match attempt.await {
        Ok(()) => Err(Error::Conflict(format!("tenant {} READ the data of tenant {}", from.id, to.id))),
        Err(error) => match error.as_db_error() {
            Some(db) => Ok(format!("{}: {} (SQLSTATE {})", db.severity(), db.message(), db.code().code())),
            None => Err(bad(error)),
        },
    }
}

/// The report for people.
///
/// `serving`: whether the server goes on, so that there is something to try.
pub fn print(report: &Report, data: &Path, log: &Path, serving: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\nOne caller dialled {} numbers. Each call reached that business's own data, and nothing else could.\n",
        report.tenants.len()
    )?;
    for t in &report.tenants {
        writeln!(out, "{}  →  {} (customer {})", t.number, t.name, t.customer_id)?;
        writeln!(out, "    lives in    {} on cluster \"{}\", login {}", t.isolation.as_str(), t.cluster, t.login_role)?;
        writeln!(out, "    said        {}", t.said)?;
        for memory in &t.remembers {
            writeln!(out, "    remembers   {memory}")?;
        }
        writeln!(
            out,
            "    and when {} reached for customer {}, Postgres said\n                {}\n",
            t.login_role, t.reached_for, t.refusal
        )?;
    }
    let Some(first) = report.tenants.first().filter(|_| serving) else {
        return writeln!(
            out,
            "Run it without --exit to go on serving and try more. The server's log is {}.\n",
            log.display()
        );
    };
    let ctl = std::env::current_exe()?;
    let ctl = ctl.display();
    let (data, base, caller) = (data.display(), &report.base_url, first.caller.replace('+', "%2B"));
    writeln!(out, "The server is at {base}, its log in {}. Try, in another terminal:\n", log.display())?;
    writeln!(out, "TOKEN={}   # customer {}, for an hour", first.token, first.customer_id)?;
    writeln!(out, "curl -H \"Authorization: Bearer $TOKEN\" \"{base}/v2/context/enriched?user_id={caller}\"")?;
    if let Some(second) = report.tenants.get(1) {
        writeln!(
            out,
            "curl -H \"Authorization: Bearer $TOKEN\" \"{base}/v1/memories?customer_id={}\"   # refused",
            second.customer_id
        )?;
    }
    writeln!(
        out,
        "psql \"$({ctl} --data {data} tenant connection {})\" -c 'select user_id, type, content from memories'",
        first.customer_id
    )?;
    writeln!(out, "{ctl} --data {data} tenant list\n")
}
