//! What takes more than one query. No HTTP and no SQL here.

pub mod configuration;
pub mod model;
pub mod processing;
pub mod promises;
pub mod answers;
mod placeholders;
pub mod readiness;
pub mod remembering;
mod summarising;
pub mod voice;
