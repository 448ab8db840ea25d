//! Composes the parts, serves, drains and stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router as Axum;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::app::answers::Answers;
use crate::app::model::Model;
use crate::app::promises::Promises;
use crate::app::readiness::Readinesses;
use crate::auth::jwt::Tokens;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::changes::LISTENER_PREFIX;
use crate::control::work::WORKER_PREFIX;
use crate::control::{Control, installation};
use crate::directory::{self, Directory};
use crate::providers::http::Http;
use crate::tenant::Router;
use crate::work::Worker;
use crate::{http, phone};

/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take to end once we were told to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// How long a start waits for the news of the control database.
const FIRST_NEWS: Duration = Duration::from_secs(5);

/// A server that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    app: Axum,
    router: Arc<Router>,
    control: Control,
    background: Vec<JoinHandle<()>>,
    working: JoinHandle<()>,
    stop_work: watch::Sender<bool>,
}

impl Server {
    /// Binds the address and connects to the control database.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
        let public_url = match config.public_url {
            Some(url) => url,
            None => format!("http://{}", listener.local_addr()?).parse()?,
        };
        let control = Control::lazy(&config.control_url, &config.instance, 4).context("--control-url")?;
        let installation =
            installation::get(&control).await.context("read the installation from the control database")?;
        let installation = installation.context("this control database is not initialised: run `strowgerctl init`")?;
        let clock = Clock::system();
        let directory = Arc::new(Directory::new(control.clone(), config.ring, &clock, config.staleness));
        let router = Router::new(Arc::clone(&directory), &config.instance, config.instances, config.limits);
        let router = Arc::new(router.serving_up_to(config.schema_max));
        // Two servers that were given one name must both be waited for.
        let heard_as = format!("{}~{}", config.instance, &Uuid::new_v4().simple().to_string()[..8]);
        let working_as = heard_as.clone();
        let listening = Control::lazy(&config.control_url, &format!("{LISTENER_PREFIX}{heard_as}"), 1)?;
        let (first, listens) = oneshot::channel();
        let background = vec![
            tokio::spawn(directory::watch(Arc::clone(&directory), listening, heard_as, first)),
            tokio::spawn(Arc::clone(&router).reap_idle()),
            tokio::spawn(Arc::clone(&router).follow_changes()),
        ];
        // Nothing is cached before changes are heard of. If control goes away just now, warm caches are not at stake yet.
        let _ = tokio::time::timeout(FIRST_NEWS, listens).await;
        // Loading the numbering plans takes a moment; it is over before most first callers need them.
        tokio::task::spawn_blocking(phone::load);
        let model = Arc::new(Model::new(Arc::clone(&directory), Http::new().context("prepare outbound calls")?));
        let promises = Arc::new(Promises::new(Arc::clone(&directory), Arc::clone(&router)));
        let (stop_work, stopping) = watch::channel(false);
        let worker = Worker::new(
            Control::lazy(&config.control_url, &format!("{WORKER_PREFIX}{}", config.instance), 2)?,
            Arc::clone(&directory),
            Arc::clone(&router),
            Arc::clone(&promises),
            Arc::clone(&model),
            working_as,
        );
        let working = tokio::spawn(Arc::new(worker).run(stopping));
        let word_vectors = config.word_vectors.map(Arc::new);
        let app = http::app(Arc::new(http::Kept {
            tokens: Tokens::new(Arc::clone(&directory), installation, &clock),
            directory,
            router: Arc::clone(&router),
            promises,
            model,
            public_url,
            answers: Answers::new(word_vectors.clone()),
            readinesses: Readinesses::new(&clock),
            word_vectors,
        }));
        Ok(Self { listener, app, router, control, background, working, stop_work })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` is done, then lets what is under way end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => serve_connection(stream, self.app.clone(), &graceful),
                    Err(error) => {
                        // Out of file descriptors, most likely: what is under way will give some back.
                        tracing::warn!(%error, "could not accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(self.listener);
        tracing::info!("draining");
        let _ = self.stop_work.send(true);
        let ended = async { tokio::join!(graceful.shutdown(), self.working) };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("some requests or work did not end in time and were cut off");
        }
        self.background.iter().for_each(JoinHandle::abort);
        self.router.close();
        self.control.close().await;
        tracing::info!("stopped");
    }
}

fn serve_connection(stream: TcpStream, app: Axum, graceful: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(app);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // Clients that go away or never finish their headers are not news.
        let _ = connection.await;
        Ok::<(), Infallible>(())
    });
}
