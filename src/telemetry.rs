//! Logs, and the signals that end a process.

use tracing_subscriber::EnvFilter;

/// Logs to standard error: lines, or JSON with `STROWGER_LOG_FORMAT=json`. `RUST_LOG` filters.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("STROWGER_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second call, as in a test, changes nothing.
    let _ = if json { base.json().try_init() } else { base.with_target(false).try_init() };
}

/// Done when the process is asked to end: Ctrl-C, or SIGTERM from whoever runs it.
pub async fn told_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(interrupted.await),
    }
}
