//! The `strowger` server process.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strowger::config::Args;
use strowger::http::{self, Access};
use strowger::serve::Server;
use strowger::telemetry;

/// A request's memory is often freed by another thread than asked for it, for which glibc's takes a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    if args.routes {
        return print_routes();
    }
    telemetry::init();
    let stop_with_parent = args.stop_with_parent;
    let config = args.load()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut stop = telemetry::Stop::listen()?;
        let server = Server::bind(config).await?;
        // Whoever started us waits for this line.
        writeln!(std::io::stdout(), "listening on http://{}", server.address()?)?;
        let told = async { if stop_with_parent { stop.told_or_orphaned().await } else { stop.told().await } };
        server.run(told).await;
        Ok(())
    })
}

fn print_routes() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for route in http::routes() {
        let access = match route.access {
            Access::Open => "open".to_owned(),
            Access::Webhook => "webhook".to_owned(),
            Access::Token(scope) => scope.to_string(),
        };
        writeln!(out, "{:<7}{:<32}{access}", route.method.as_str(), route.path)?;
    }
    Ok(())
}
