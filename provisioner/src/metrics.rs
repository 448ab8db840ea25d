//! The installation in figures, as Prometheus reads them: `GET /metrics`.
//!
//! Every worker shows the same: what the control database says. However many ask, it is read once in five seconds, and when it does not
//! answer, neither do we: old figures would hide that.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use strowger::clock::Clock;
use strowger::control::figures::{self, FAMILIES, Figure};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::Provisioner;
use crate::error::{Error, Result};

/// How old figures may be. Any number of watchers cost control one query in that time.
const KEPT: Duration = Duration::from_secs(5);
/// The text format, by its version.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Shown {
    with: Arc<Provisioner>,
    /// What was read last, and when. Whoever asks while it is being read waits for that.
    last: Mutex<Option<(Clock, String)>>,
}

/// Takes an address, if there is to be one, before anything else is begun. Fails where it is taken.
pub async fn bound(at: Option<SocketAddr>) -> Result<Option<TcpListener>> {
    let Some(at) = at else { return Ok(None) };
    let listener = TcpListener::bind(at).await.map_err(Error::io(format!("show metrics on {at}")))?;
    let at = listener.local_addr().map_err(Error::io("show metrics"))?;
    tracing::info!(address = %at, "metrics are shown");
    Ok(Some(listener))
}

/// Answers until the future is dropped; without an address never.
pub async fn serve(with: Arc<Provisioner>, listener: Option<TcpListener>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let shown = Arc::new(Shown { with, last: Mutex::new(None) });
    let served = axum::serve(listener, Router::new().route("/metrics", get(show)).with_state(shown)).await;
    if let Err(error) = served {
        tracing::warn!(%error, "metrics are not shown any more");
    }
}

async fn show(State(shown): State<Arc<Shown>>) -> Response {
    match read(&shown).await {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot read the figures");
            (StatusCode::SERVICE_UNAVAILABLE, "the control database does not answer\n").into_response()
        }
    }
}

async fn read(shown: &Shown) -> Result<String> {
    let mut last = shown.last.lock().await;
    if let Some((read, text)) = &*last
        && read.elapsed() < KEPT
    {
        return Ok(text.clone());
    }
    let text = written(&figures::read(&shown.with.control).await?);
    *last = Some((Clock::system(), text.clone()));
    Ok(text)
}

fn written(all: &[Figure]) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let name = family.name;
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", family.help);
        for figure in all.iter().filter(|figure| figure.name == name) {
            let label = family.label.map(|label| format!("{{{label}=\"{}\"}}", figure.label)).unwrap_or_default();
            let _ = writeln!(text, "{name}{label} {}", figure.value);
        }
    }
    text
}
