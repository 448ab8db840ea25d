//! From nothing to a business that takes calls: `ops/bench/run onboard [--rounds N]`.
//!
//! The page of commands in docs/receptionist.md, carried out by a shell as it stands there, with released programs. Each round has an installation
//! of its own, whose making does not count.

use std::path::Path;
use std::time::{Duration, Instant};

use strowger::control::Actor;

use crate::http::Serving;
use crate::page;
use crate::support::{Folder, argument, report};

pub(crate) async fn run() {
    let mut times = Vec::new();
    for _ in 0..argument("--rounds", 3) {
        times.push(round().await);
    }
    report(&format!("a business set up with {} lines of commands", page::commands().lines().count()), &mut times);
}

async fn round() -> Duration {
    let folder = Folder::new();
    let embedded = folder.start().await;
    drop(embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap());
    let serving = Serving::strowger(&folder);
    let strowgerctl = Path::new(env!("CARGO_BIN_EXE_strowger")).with_file_name("strowgerctl");
    let (config, api) = (folder.0.join("strowgerctl.toml"), format!("http://{}", serving.address));
    let begun = Instant::now();
    let ran = page::shell(&strowgerctl, &config, &api, &format!("AC{:032x}", 1)).output().unwrap();
    let took = begun.elapsed();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("\"score\":100"));
    drop(serving);
    embedded.stop().unwrap();
    took
}
