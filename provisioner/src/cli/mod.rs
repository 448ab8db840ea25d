//! The command line: words into operations, results into lines or JSON.

mod accounts;
mod args;
mod archives;
mod audit;
mod backups;
mod clusters;
mod commands;
mod control;
mod declared;
mod doctor;
mod endings;
mod import;
mod input;
mod local;
mod migrate;
mod model;
mod moves;
mod numbers;
mod output;
mod playbooks;
mod profiles;
mod progress;
mod rotate;
mod running;
mod work;

pub use args::Cli;
pub use commands::run;
