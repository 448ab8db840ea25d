//! Situations, each on a real Postgres with an installation of its own. `./test` starts the clusters they share.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails panics")]

mod support;

mod architecture;
mod audit;
mod backup;
mod callers;
mod canaries;
mod catalogs;
mod clusters;
mod compile_fail;
mod configuration;
mod contract;
mod crash;
mod day;
mod declared;
mod doctor;
mod embedded;
mod erase;
mod failures;
mod fleet;
mod handover;
mod import;
mod isolation;
mod jobs;
mod knowledge;
mod library;
mod malformed;
mod meaning;
mod memories;
mod memory_search;
mod model;
mod old_client;
mod processing;
mod profiles;
mod provisioning;
mod rotation;
mod routes;
mod slow_clients;
mod states;
mod tls;
mod tokens;
mod twilio_api;
mod twilio_helper;
mod voice;
mod work;
