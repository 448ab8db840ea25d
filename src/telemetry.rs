//! Logs, and the signals that end a process.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Logs to standard error: lines, or JSON with `STROWGER_LOG_FORMAT=json`. `RUST_LOG` filters.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("STROWGER_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second call, as in a test, changes nothing.
    let _ = if json {
        base.json().try_init()
    } else {
        base.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}

/// Done when the process is asked to end: Ctrl-C, SIGTERM, or, if wanted, the end of standard input.
pub async fn told_to_stop(with_parent: bool) {
    let interrupted = tokio::signal::ctrl_c();
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupted => {}
        () = terminated => {}
        () = end_of_stdin(), if with_parent => {}
    }
}

async fn end_of_stdin() {
    // A thread of its own, not tokio's standard input: a blocked read there would keep the runtime from ending.
    let (ended, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = wait.await;
}
