//! The command line: words into operations, results into lines or JSON.

mod args;
mod commands;
mod local;
mod output;
mod progress;
mod rotate;
mod running;

pub use args::Cli;
pub use commands::run;
