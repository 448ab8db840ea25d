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
mod voice;

use std::sync::Arc;

use crate::app::answers::Answers;
use crate::app::model::Model;
use crate::app::promises::Promises;
use crate::app::readiness::Readinesses;
use crate::auth::webhook::PublicUrl;
use crate::control::installation::Installation;
use crate::directory::Directory;
use crate::meaning::Table;
use crate::tenant::Router;

pub use map::{Access, RouteRow, app, routes};

/// What every handler may use.
#[derive(Clone)]
pub struct State {
    /// Cached reads of control.
    pub directory: Arc<Directory>,
    /// Opens tenants.
    pub router: Arc<Router>,
    /// What is done after an acknowledgement.
    pub promises: Arc<Promises>,
    /// The AI model, for whom it is allowed.
    pub model: Arc<Model>,
    /// What holds for the whole installation.
    pub installation: Arc<Installation>,
    /// Where providers call us.
    pub public_url: Arc<PublicUrl>,
    /// What tenants answer, prepared.
    pub answers: Arc<Answers>,
    /// What tenants lack, for half a minute.
    pub readinesses: Arc<Readinesses>,
    /// Vectors for texts of tenants without a model of their own; `None`: not configured.
    pub word_vectors: Option<Arc<Table>>,
}
