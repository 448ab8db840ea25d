//! Bytes in, bytes out. The whole URL map is `url_map` in [`map`]; a handler's signature is its policy.

mod body;
mod callers;
mod calls;
mod checks;
mod company;
mod config;
mod context;
mod error;
mod extract;
mod health;
pub mod map;
mod memories;
pub mod openapi;
mod profiles;
mod twiml;
mod unread;
mod voice;

use std::sync::Arc;

use crate::app::answers::Answers;
use crate::app::model::Model;
use crate::app::promises::Promises;
use crate::app::readiness::Readinesses;
use crate::auth::jwt::Tokens;
use crate::auth::webhook::PublicUrl;
use crate::directory::Directory;
use crate::meaning::Table;
use crate::tenant::Router;

pub use map::{Access, RouteRow, app, routes};

/// What every handler may use.
pub type State = Arc<Kept>;

/// What the process keeps for all requests.
pub struct Kept {
    /// Cached reads of control.
    pub directory: Arc<Directory>,
    /// Opens tenants.
    pub router: Arc<Router>,
    /// What is done after an acknowledgement.
    pub promises: Arc<Promises>,
    /// The AI model, for whom it is allowed.
    pub model: Arc<Model>,
    /// Checks services' tokens.
    pub tokens: Tokens,
    /// Where providers call us.
    pub public_url: PublicUrl,
    /// What tenants answer, prepared.
    pub answers: Answers,
    /// What tenants lack, for half a minute.
    pub readinesses: Readinesses,
    /// Vectors for texts of tenants without a model of their own; `None`: not configured.
    pub word_vectors: Option<Arc<Table>>,
}
