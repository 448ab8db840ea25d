//! What takes more than one query. No HTTP and no SQL here.

pub mod answers;
pub mod configuration;
pub mod model;
pub mod playbooks;
pub mod processing;
pub mod promises;
pub mod readiness;
pub mod remembering;
mod summarising;
mod unsettled;
pub mod voice;
