//! Outbound calls: bytes to a provider and back, and nothing of ours.
//!
//! What is here knows no tenant and no database. Who calls says where to, with which key and how long it may take. The rule:
//! a provider's own words never become part of an error, because they may quote a caller's.

pub mod http;
pub mod model;
pub mod twilio;
