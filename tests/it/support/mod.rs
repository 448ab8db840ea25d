//! Fixtures: a world (an installation with a prefix of its own on the shared clusters), real server processes, a real
//! `strowgerctl`, callers and services as typed values.

mod clusters;
mod embedded;
pub(crate) mod forge;
pub(crate) mod load;
mod official;
pub(crate) mod official_rest;
pub(crate) mod counting_proxy;
pub(crate) mod model_stub;
pub(crate) mod page;
pub(crate) mod postmaster;
mod process;
mod proxy;
mod raw;
mod s3;
mod service;
mod twilio;
pub(crate) mod twilio_api;
mod world;

pub(crate) use {
    embedded::{Folder, Up},
    official::Official,
    process::{Ran, Server, run, run_in, signal, strowgerctl},
    proxy::Proxy,
    raw::{dribble, next_status, raw, socket},
    s3::S3,
    service::{Answer, Service, answer},
    twilio::Account,
    world::{World, connect, private_world, world},
};

/// Waits until a condition holds; fails after ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("still waiting until {what}");
}
