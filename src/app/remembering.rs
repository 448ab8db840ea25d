//! Search by meaning, on top of search by words.
//!
//! A text becomes a vector by the tenant's own embedding model where it has one, else by the server's static word vectors, else not
//! at all, and words alone are searched. No connection is held while a provider is asked.
//!
//! With word vectors a memory gets its vector when it is stored. Every other lack, one that was stored before there was a model
//! or under another, is made good when the memory is first searched among: a bounded number a search, newest first. So storing
//! never waits for a provider, and no backfill has to be run. A tenant that may not be written to is searched with the vectors
//! it has. While the tenant's model fails, words alone are searched: changing models back and forth would help nobody.

use crate::app::model::{Model, NoModel};
use crate::auth::Principal;
use crate::meaning::{Table, Vector};
use crate::persona::Consent;
use crate::tenant::memories::{self, Question, Ranked};
use crate::tenant::vectors::{self, Missing};
use crate::tenant::{Read, Refused, Router, TenantError, Write, configurations};

/// How many memories get their vector in one search: by the table, and by a provider, which is asked once for all.
const MOST_BY_TABLE: i64 = 200;
const MOST_BY_MODEL: i64 = 32;
/// What is kept; no model in use gives more.
const MOST_DIMENSIONS: usize = 4096;

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The tenant cannot be opened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its database.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// Searches one tenant's memories.
pub struct Search<'a> {
    /// Opens the tenant.
    pub router: &'a Router,
    /// The tenant's own model.
    pub model: &'a Model,
    /// The server's word vectors.
    pub table: Option<&'a Table>,
    /// Whose memories.
    pub who: &'a Principal,
}

/// What turns a tenant's texts into vectors.
#[derive(Clone, Copy)]
enum Source<'a> {
    Model(Consent),
    Table(&'a Table),
}

impl<'a> Search<'a> {
    /// Facts that fit a question, best first.
    pub async fn run(&self, asked: Question<'_>) -> Result<Vec<Ranked>, SearchError> {
        let understood = self.understand(asked.words).await?;
        let db = self.router.open::<Read>(self.who).await?;
        let Some((source, vector)) = understood else {
            return Ok(memories::search(db.conn(), &asked).await?);
        };
        let asked = Question { vector: Some(&vector), ..asked };
        let most = if matches!(source, Source::Model(_)) { MOST_BY_MODEL } else { MOST_BY_TABLE };
        let missing = vectors::missing(db.conn(), asked.among, &vector.model, most).await?;
        if missing.is_empty() {
            return Ok(memories::search(db.conn(), &asked).await?);
        }
        // Nobody waits for a provider or for a second connection while holding one.
        drop(db);
        let made = self.make(source, missing).await;
        match self.router.open::<Write>(self.who).await {
            Ok(db) => {
                vectors::keep(db.conn(), &made).await?;
                Ok(memories::search(db.conn(), &asked).await?)
            }
            Err(_) => {
                let db = self.router.open::<Read>(self.who).await?;
                Ok(memories::search(db.conn(), &asked).await?)
            }
        }
    }

    async fn understand(&self, words: &str) -> Result<Option<(Source<'a>, Vector)>, SearchError> {
        let by_table = || self.table.and_then(|table| Some((Source::Table(table), table.vector(words)?)));
        let Some(consent) = self.consent().await? else { return Ok(by_table()) };
        Ok(match self.embed(consent, &[words]).await {
            Ok(vectors) => vectors.into_iter().next().map(|vector| (Source::Model(consent), vector)),
            Err(Some(NoModel::NotConfigured | NoModel::NotAllowed)) => by_table(),
            Err(_) => None,
        })
    }

    /// The tenant's own word, asked only where there is a model to ask.
    async fn consent(&self) -> Result<Option<Consent>, SearchError> {
        if !self.model.may_embed(self.who).await {
            return Ok(None);
        }
        let db = self.router.open::<Read>(self.who).await?;
        Ok(configurations::current(db.conn()).await?.configuration.consent())
    }

    async fn make(&self, source: Source<'_>, missing: Vec<Missing>) -> Vec<(Vector, Missing)> {
        match source {
            Source::Table(table) => {
                missing.into_iter().filter_map(|of| Some((table.vector(&of.content)?, of))).collect()
            }
            Source::Model(consent) => {
                let texts: Vec<&str> = missing.iter().map(|of| of.content.as_str()).collect();
                let vectors = self.embed(consent, &texts).await.unwrap_or_default();
                vectors.into_iter().zip(missing).collect()
            }
        }
    }

    /// The tenant's model's vectors, one a text; `None` for a model that gives what cannot be used.
    async fn embed(&self, consent: Consent, texts: &[&str]) -> Result<Vec<Vector>, Option<NoModel>> {
        let embedded = self.model.embed(self.who, consent, texts).await.map_err(Some)?;
        let is_usable = |values: &Vec<f32>| {
            (1..=MOST_DIMENSIONS).contains(&values.len()) && values.iter().all(|value| value.is_finite())
        };
        if embedded.vectors.len() != texts.len() || !embedded.vectors.iter().all(is_usable) {
            return Err(None);
        }
        Ok(embedded.vectors.into_iter().map(|values| Vector { model: embedded.model.clone(), values }).collect())
    }
}
