//! One function a command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tokens::LegacyFor;
use strowger::control::{Control, installation, jobs as rows_of_jobs, tenants as rows, tokens, usage};
use strowger::id::Prefix;
use strowger::vault::MasterRing;

use super::args::{
    self, Audit, BackupCommand, Cli, Command, Configured, ControlCommand, Job, Key, KeyAlgorithm, Platform, Playbook,
    Profile, Secret, Tenant, Token, Usage,
};
use super::input::{actor, from_stdin, listen, superuser_from_stdin};
use super::output::{say, show};
use super::rotate::{on_rings, on_rotate};
use super::{
    accounts, audit, backups, clusters, control, declared, doctor, endings, import, local, migrate, model, moves,
    numbers, playbooks, profiles, progress, work,
};
use crate::bootstrap;
use crate::credentials::{self, Algorithm};
use crate::embedded::{Attached, Durability, Embedded};
use crate::error::{Error, Result};
use crate::files::write_private;
use crate::moves::Way;
use crate::settings::{self, Settings};
use crate::tenants::{Because, NewTenant};
use crate::{Provisioner, configuration, erase, jobs, metrics, tenants, worker};

/// Carries out what was typed.
pub async fn run(cli: Cli) -> Result<()> {
    let data = || absolute(&cli.data.clone().unwrap_or_else(default_data));
    match &cli.command {
        Command::Demo(demo) => local::demo(&data()?, demo, &cli).await,
        Command::Up(up) => local::up(&data()?, up).await,
        Command::Postgres { unsafe_no_sync } => local::postgres(&data()?, *unsafe_no_sync, &cli).await,
        Command::Init { prefix, out } => init(&prefix.parse()?, out).await,
        Command::Control(ControlCommand::Restore { copy, out }) => control::restore(copy, out, cli.output).await,
        Command::Audit(Audit::Verify { file: Some(file), key, .. }) => {
            audit::verify_file(cli.output, file, key.as_deref())
        }
        Command::Playbook(Playbook::Validate { file }) => playbooks::validate(cli.output, file),
        Command::Profile(Profile::Validate { file, fields }) => profiles::validate(cli.output, file, fields.as_deref()),
        Command::Backup(BackupCommand::Extract { from: Some(from), out, .. }) => {
            match backups::extract_alone(&cli.given, from, out, cli.output).await {
                Some(done) => done,
                None => on_installation(&cli).await,
            }
        }
        _ => on_installation(&cli).await,
    }
}

/// The commands that need an installation: a running one is used, an embedded one is started for the while.
async fn on_installation(cli: &Cli) -> Result<()> {
    let Some(data) = data_of(cli) else {
        let settings = Settings::load(&cli.given, cli.config.as_deref())?;
        return command(cli, open(&settings).await?, &settings.control_url).await;
    };
    let data = &absolute(&data)?;
    if !Embedded::is_ours(data) {
        return Err(Error::Conflict(format!(
            "there is no installation in {}: `strowgerctl up --data {0}` makes one",
            data.display()
        )));
    }
    let mut stop = listen()?;
    match Embedded::attach(data, Durability::Full, &|_| ()).await? {
        Attached::Running => {
            let settings = Settings::from_data(data)?;
            command(cli, open(&settings).await?, &settings.control_url).await
        }
        Attached::Ours(embedded) => {
            let done = async {
                let with = embedded.provisioner(actor(), &|_| ()).await?;
                command(cli, with, &Settings::from_data(data)?.control_url).await
            };
            let done = stop.or(done).await.unwrap_or(Err(Error::Interrupted));
            embedded.stop()?;
            done
        }
    }
}

/// The embedded installation that is meant, if one is.
fn data_of(cli: &Cli) -> Option<PathBuf> {
    let nothing_said = cli.config.is_none() && cli.given.control_url.is_none();
    let default = Some(default_data()).filter(|data| nothing_said && Embedded::is_ours(data));
    cli.data.clone().or(default)
}

async fn open(settings: &Settings) -> Result<Provisioner> {
    let (server_ring, admin_ring) = settings.rings()?;
    Provisioner::open(&settings.control_url, server_ring, admin_ring, actor()).await
}

async fn command(cli: &Cli, with: Provisioner, control_url: &str) -> Result<()> {
    let with = if cli.no_wait { with.without_waiting() } else { with };
    let with = with.reporting(progress::reporter(cli.no_wait));
    let result = match &cli.command {
        Command::Doctor { fix, drop_data } => return doctor::run(&with, cli.output, *fix, *drop_data).await,
        Command::Worker { max_transaction_age, metrics } => {
            return run_worker(with, control_url, *max_transaction_age, *metrics).await;
        }
        Command::Control(command) => return control::run(&with, command, control_url, cli.output).await,
        Command::Migrate(migrate) => return migrate::on_fleet(cli, with, migrate).await,
        Command::Cluster(cluster) => {
            let data = data_of(cli).map(|data| absolute(&data)).transpose()?;
            return clusters::run(&with, cluster, data.as_deref(), cli.output).await;
        }
        // As it was signed, whatever --output says.
        Command::Tenant(Tenant::Receipt { id }) => return endings::receipt(&with, *id).await,
        Command::Tenant(Tenant::Erase { id, now, confirm, reason }) => {
            endings::erase(&with, *id, *now, *confirm, reason).await?
        }
        Command::Tenant(Tenant::Export { id, out }) => crate::backups::export(&with, *id, out).await?,
        Command::Tenant(Tenant::Move { id, to, isolation, how, undo, dry_run }) => {
            let asked = moves::Asked {
                to: to.as_deref(),
                isolation: *isolation,
                // Back it goes either way.
                how: how.named(if *undo { Way::Either } else { Way::Online }),
                undo: *undo,
                dry_run: *dry_run,
            };
            moves::run(&with, *id, &asked, cli.output).await?
        }
        Command::Tenant(tenant) => on_tenants(&with, tenant).await?,
        Command::Backup(command) => backups::run(&with, command, cli.output).await?,
        Command::Account(account) => accounts::run(&with, account).await?,
        Command::Number(number) => numbers::run(&with, number).await?,
        Command::Secret(Secret::Set { name, tenant }) => {
            credentials::set_secret(&with, *tenant, name, &from_stdin("the secret")?).await?;
            json!({ "name": name, "customer_id": tenant })
        }
        Command::Model(command) => model::run(&with, command).await?,
        Command::Usage(Usage::Show { tenant, day }) => json!(usage::list(with.control(), *tenant, *day).await?),
        Command::Token(Token::Mint { tenant, scope, ttl }) => {
            // The token alone on a line, whatever --output says: it is for command substitution.
            return show(args::Output::Text, &credentials::mint(&with, *tenant, &scope.0, *ttl).await?.into());
        }
        Command::Key(key) => on_keys(&with, key).await?,
        Command::Platform(Platform::Show) => json!(installation::settings(with.control()).await?),
        Command::Platform(Platform::Set { name, value }) => {
            credentials::set_platform(&with, name, value).await?;
            json!(installation::settings(with.control()).await?)
        }
        Command::Profile(command) => return profiles::run(&with, command, cli.output).await,
        Command::Playbook(command) => playbooks::run(&with, command).await?,
        Command::Apply(args) => return declared::apply(&with, args, cli.output).await,
        Command::Export => return declared::export(&with).await,
        Command::Import(command) => return import::run(&with, command, cli.output).await,
        Command::Rotate(what) => on_rotate(&with, what, cli.output).await?,
        Command::Ring(what) => on_rings(&with, what).await?,
        Command::Job(job) => on_jobs(&with, job).await?,
        Command::Work(command) => work::run(&with, command).await?,
        Command::Audit(command) => match audit::run(&with, command, cli.output).await? {
            Some(result) => result,
            None => return Ok(()),
        },
        Command::Demo(_) | Command::Up(_) | Command::Postgres { .. } | Command::Init { .. } => Value::Null,
    };
    show(cli.output, &result)
}

async fn on_tenants(with: &Provisioner, command: &Tenant) -> Result<Value> {
    Ok(json!(match command {
        Tenant::List => return Ok(json!(rows::list(with.control()).await?)),
        Tenant::Connection { id } => return Ok(tenants::connection(with, *id).await?.into()),
        Tenant::Create { name, isolation, id, cluster, cluster_region, region } => {
            let isolation = if *isolation == args::Isolation::Schema { Isolation::Schema } else { Isolation::Database };
            let (cluster, cluster_region) = (cluster.as_deref(), cluster_region.as_deref());
            let new = NewTenant { name, id: *id, isolation, cluster, cluster_region, region: *region };
            tenants::create(with, &new).await?
        }
        Tenant::Show { id } => tenants::get(with, *id).await?,
        Tenant::Rename { id, name, reason } => tenants::rename(with, *id, name, reason).await?,
        Tenant::Suspend { id, reason, until, sentence } => {
            tenants::suspend(with, *id, Because { reason, until: *until, sentence: sentence.as_deref() }).await?
        }
        Tenant::ReadOnly { id, reason, until } => {
            tenants::make_read_only(with, *id, Because { reason, until: *until, sentence: None }).await?
        }
        Tenant::Sentence { id, sentence, .. } => tenants::say_suspended(with, *id, sentence.as_deref()).await?,
        Tenant::Resume { id, reason } => tenants::resume(with, *id, reason).await?,
        Tenant::Delete { id, reason, grace } => erase::delete(with, *id, reason, *grace).await?,
        Tenant::Undelete { id, reason } => erase::undelete(with, *id, reason).await?,
        Tenant::Config(command) => return configured(with, command).await,
        Tenant::Erase { .. } | Tenant::Receipt { .. } | Tenant::Export { .. } | Tenant::Move { .. } => {
            return Ok(Value::Null);
        }
        Tenant::Repair { id } => {
            tenants::repair(with, *id).await?;
            tenants::get(with, *id).await?
        }
    }))
}

async fn configured(with: &Provisioner, command: &Configured) -> Result<Value> {
    match command {
        Configured::Show { tenant } => configuration::show(with, *tenant).await,
        Configured::Set { tenant, file } => {
            let text = match file {
                Some(path) => std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?,
                None => from_stdin("the configuration")?.expose_str().unwrap_or_default().to_owned(),
            };
            let json = text.trim_start().starts_with('{');
            let bad = |error: &dyn std::fmt::Display| Error::Conflict(format!("the configuration: {error}"));
            let document = if json {
                serde_json::from_str(&text).map_err(|e| bad(&e))?
            } else {
                toml::from_str(&text).map_err(|e| bad(&e))?
            };
            configuration::set(with, *tenant, document).await
        }
    }
}

async fn on_keys(with: &Provisioner, command: &Key) -> Result<Value> {
    match command {
        Key::Add { kid, legacy: true, tenant, all_tenants, .. } => {
            let of = if *all_tenants { LegacyFor::All } else { LegacyFor::Only(tenant.clone()) };
            credentials::add_legacy_key(with, kid, &from_stdin("the shared secret")?, &of).await?;
        }
        Key::Add { kid, algorithm, .. } => {
            let algorithm = if *algorithm == KeyAlgorithm::EdDsa { Algorithm::EdDsa } else { Algorithm::Hs256 };
            credentials::add_key(with, kid, algorithm).await?;
        }
        Key::Retire { kid } => {
            credentials::retire_key(with, kid).await?;
            if tokens::newest_signer(with.control()).await?.is_none() {
                say("no key is left that signs tokens, so none can be minted: `strowgerctl key add KID` makes one");
            }
        }
        Key::List => {}
    }
    Ok(json!(tokens::list(with.control()).await?))
}

async fn on_jobs(with: &Provisioner, command: &Job) -> Result<Value> {
    Ok(match command {
        Job::List { tenant, state, limit } => {
            let all = rows_of_jobs::list(with.control(), *tenant, *state, *limit).await?;
            all.iter().map(in_short).collect()
        }
        Job::Show { id } => json!(jobs::get(with, *id).await?),
        Job::Wait { id } => json!(jobs::wait(with, *id).await?),
        Job::Retry { id } => json!(jobs::retry(with, *id).await?),
        Job::Cancel { id } => json!(jobs::cancel(with, *id).await?),
        Job::Approve { id } => json!(jobs::approve(with, *id).await?),
    })
}

fn in_short(job: &rows_of_jobs::Job) -> Value {
    json!({
        "id": job.id, "kind": job.kind, "subject": job.subject, "state": job.state, "step": job.step,
        "detail": job.detail,
        "progress": format!("{}/{}", job.steps_done, job.steps_total), "attempts": job.attempts, "error": job.error(),
    })
}

async fn run_worker(
    with: Provisioner,
    control_url: &str,
    oldest_transaction_s: i64,
    metrics: Option<SocketAddr>,
) -> Result<()> {
    strowger::telemetry::init();
    let listening = Control::lazy(control_url, "worker listening", 1)?;
    let (with, shown) = (Arc::new(with), metrics::bound(metrics).await?);
    // On the heap: every other command would keep room for it on its stack.
    let work = Box::pin(worker::run(Arc::clone(&with), listening, oldest_transaction_s));
    let working = async { tokio::join!(work, metrics::serve(Arc::clone(&with), shown)) };
    listen()?.or(working).await;
    Ok(())
}

async fn init(prefix: &Prefix, out: &Path) -> Result<()> {
    let at = superuser_from_stdin()?;
    std::fs::create_dir_all(out).map_err(Error::io(format!("create {}", out.display())))?;
    let out = out.canonicalize().map_err(Error::io(format!("find {}", out.display())))?;
    let path = |name: &str| out.join(name);
    for ring in ["server.ring", "admin.ring"] {
        if !path(ring).exists() {
            write_private(&path(ring), MasterRing::generate("k1").as_bytes())?;
        }
    }
    let (server_ring, admin_ring) =
        (MasterRing::from_file(&path("server.ring"))?, MasterRing::from_file(&path("admin.ring"))?);
    let urls = bootstrap::init(&at, prefix, &server_ring, &admin_ring, &actor()).await?;
    settings::write(&out, &urls, &path("server.ring"), &path("admin.ring"))?;
    say(&format!(
        "wrote strowger.toml, strowgerctl.toml and two key rings to {}; keep copies of the rings elsewhere",
        out.display()
    ));
    Ok(())
}

/// Postgres's programs run in another folder than we do.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(format!("find {}", path.display())))
}

/// A folder that the user Postgres runs as can reach: root's home is closed to it.
fn default_data() -> PathBuf {
    match std::env::var_os("HOME").map(PathBuf::from).filter(|home| home != Path::new("/root")) {
        Some(home) => home.join(".local/share/strowger"),
        None => PathBuf::from("/var/lib/strowger"),
    }
}
