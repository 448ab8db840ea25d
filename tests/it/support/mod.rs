//! Fixtures: a world (an installation with a prefix of its own on the shared clusters), real server processes, a real
//! `strowgerctl`, callers and services as typed values.

mod clusters;
pub(crate) mod counting_proxy;
mod process;
mod proxy;
mod twilio;
mod world;

pub(crate) use {
    process::{Server, signal, strowgerctl},
    proxy::Proxy,
    twilio::Account,
    world::{World, connect, world},
};
