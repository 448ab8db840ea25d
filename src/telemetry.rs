//! Logs, and the signals that end a process.

use std::io::IsTerminal as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// Whoever ends this process: Ctrl-C or SIGTERM. From [`Stop::listen`] on they no longer kill it by themselves.
pub struct Stop {
    interrupted: Signal,
    terminated: Signal,
}

impl Stop {
    /// Takes the signals over.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupted: signal(SignalKind::interrupt())?, terminated: signal(SignalKind::terminate())? })
    }

    /// Done when the process is asked to end, also if it was asked before this was called.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }

    /// The same, or when standard input ends.
    pub async fn told_or_orphaned(&mut self) {
        tokio::select! {
            () = self.told() => {}
            () = end_of_stdin() => {}
        }
    }

    /// What `work` comes to, or `None` if the process is asked to end first.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.told() => None,
        }
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
