//! Situations, each on a real Postgres with an installation of its own. `./test` starts the clusters they share.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

mod architecture;
mod canaries;
mod compile_fail;
mod crash;
mod embedded;
mod failures;
mod handover;
mod isolation;
mod jobs;
mod malformed;
mod memories;
mod provisioning;
mod rotation;
mod routes;
mod slow_clients;
mod tls;
mod tokens;
mod twilio_helper;
