//! The commands that run an embedded installation: Postgres, worker and server together, until told to stop.
//!
//! Whatever was started is stopped on every way out, an interruption while it was still starting among them.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use strowger::control::{Actor, Control};
use tokio::net::TcpListener;

use super::args::{self, Cli};
use super::input::listen;
use super::output::{say, show};
use super::running::{Server, Serving};
use crate::bootstrap::Superuser;
use crate::embedded::{Durability, Embedded};
use crate::error::{Error, Result};
use crate::settings::Settings;
use crate::{Provisioner, credentials, demo, metrics, worker};

/// What runs on an embedded installation besides Postgres.
struct Running {
    with: Arc<Provisioner>,
    server: Server,
    worker: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(
        data: &Path,
        embedded: &Embedded,
        actor: Actor,
        serving: &Serving<'_>,
        shown: Option<TcpListener>,
    ) -> Result<Self> {
        let with = Arc::new(embedded.provisioner(actor, &say).await?);
        embedded.announce()?;
        if let Some(url) = serving.public_url {
            credentials::note_public_url(&with, url).await?;
        }
        let listening = Control::lazy(&Settings::from_data(data)?.control_url, "worker listening", 1)?;
        let server = Server::start(data, serving).await?;
        let (working, showing) = (Arc::clone(&with), Arc::clone(&with));
        let worker = tokio::spawn(async move {
            let working = Box::pin(worker::run(working, listening, worker::OLDEST_TRANSACTION_S));
            tokio::join!(working, metrics::serve(showing, shown));
        });
        Ok(Self { with, server, worker })
    }

    async fn stop(self) {
        self.server.stop().await;
        self.worker.abort();
    }
}

/// Everything of an embedded installation, and the worker in this process.
pub(super) async fn up(data: &Path, args: &args::Up) -> Result<()> {
    strowger::telemetry::init();
    let mut stop = listen()?;
    let shown = metrics::bound(args.metrics).await?;
    let embedded = start(data, args.fresh).await?;
    let serving = Serving {
        port: args.port,
        public_url: args.public_url.as_deref(),
        word_vectors: args.word_vectors.as_deref(),
        log: None,
    };
    let done = async {
        let starting = Running::start(data, &embedded, Actor::worker("up"), &serving, shown);
        let mut running = stop.or(starting).await.unwrap_or(Err(Error::Interrupted))?;
        show(args::Output::Text, &format!("listening on {}", running.server.base_url).into())?;
        if let Some(error) = stop.or(running.server.ended()).await {
            return Err(error);
        }
        say("stopping");
        running.stop().await;
        Ok(())
    };
    let done = done.await;
    embedded.stop()?;
    done
}

pub(super) async fn demo(data: &Path, args: &args::Demo, cli: &Cli) -> Result<()> {
    let mut stop = listen()?;
    let embedded = start(data, args.fresh).await?;
    let log = data.join("strowger.log");
    let serving = Serving { port: args.port, public_url: None, word_vectors: None, log: Some(&log) };
    let done = async {
        let starting = Running::start(data, &embedded, Actor::operator("demo"), &serving, None);
        let running = stop.or(starting).await.unwrap_or(Err(Error::Interrupted))?;
        let report = stop.or(demo::run(&running.with, &running.server.base_url, &say)).await;
        let shown = match report.unwrap_or(Err(Error::Interrupted)) {
            Ok(report) if cli.output == args::Output::Json => show(cli.output, &json!(report)),
            Ok(report) => demo::print(&report, data, &log, !args.exit).map_err(Error::io("print")),
            Err(error) => Err(error),
        };
        if shown.is_ok() && !args.exit {
            say("serving until you press Ctrl-C");
            stop.told().await;
        }
        running.stop().await;
        shown
    };
    let done = done.await;
    say("stopping the private Postgres");
    embedded.stop()?;
    done
}

async fn start(data: &Path, fresh: bool) -> Result<Embedded> {
    if fresh {
        Embedded::clear(data)?;
    }
    Embedded::start(data, Durability::Full, &say).await
}

pub(super) async fn postgres(data: &Path, unsafe_no_sync: bool, cli: &Cli) -> Result<()> {
    let durability = if unsafe_no_sync { Durability::None } else { Durability::Full };
    let mut stop = listen()?;
    let embedded = Embedded::start(data, durability, &say).await?;
    let mut shown = serde_json::Map::new();
    for name in ["control", "shared", "dedicated"] {
        let Superuser { address, user, password } = embedded.superuser(name)?;
        let password = password.expose_str().unwrap_or_default().to_owned();
        shown.insert(
            name.into(),
            format!("postgres://{user}:{password}@{}:{}/postgres", address.host, address.port).into(),
        );
    }
    show(cli.output, &shown.into())?;
    stop.told().await;
    embedded.stop()
}
