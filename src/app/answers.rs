//! What a tenant's receptionist says without a model: own questions first, then scenarios, then the fallback sentence.
//!
//! The cache of prepared indexes: the key is the tenant; nothing in it is ever stale, because each answer asks the tenant's own
//! schema for `knowledge_version` and gets the corpus in the same round trip when it is another one; so every write
//! invalidates it, on every instance at once, restores and moves included. What is asked least goes when it is full.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::id::TenantId;
use crate::meaning::Table;
use crate::persona::Configuration;
use crate::playbook::{Hook, Scenario, placeholders};
use crate::selector::{Embed, Entry, Found, Index, Vocabulary};
use crate::tenant::answers::{self, Corpus, Version};
use crate::tenant::{Intent, TenantDb, TenantError};

pub use crate::selector::Tier;

/// Phrases that all cached indexes may hold together; one takes about 1 kB.
const CACHED_PHRASES: u64 = 200_000;
/// About how many indexes that is.
const CACHED_TENANTS: usize = 2_000;

/// What a caller hears, and why.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Where it comes from.
    pub tier: Tier,
    /// The question's or scenario's; `None` for the fallback.
    pub id: Option<Uuid>,
    /// The sentence, variables filled in.
    pub text: String,
    /// Asked after it.
    pub follow_up: Option<String>,
    /// What happens after it; `None` for the tenant's own questions. The fallback promises a person: escalate.
    pub hook: Option<Hook>,
    /// The probability that it is the right one; 0 for the fallback.
    pub score: f64,
    /// 0 to 1: how urgent the caller's words are.
    pub urgency: f64,
    /// What was compared and how it was weighed.
    pub why: Found,
}

/// What a business says of itself that may help with a question that nothing answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Background {
    /// Its variables by name.
    pub variables: BTreeMap<String, String>,
    /// The answers that come nearest, best first.
    pub near: Vec<Near>,
}

/// An answer that was not sure enough to be given.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// What would have been said, variables filled in.
    pub reply: String,
    /// What a model is told of how to say it.
    pub behavior: Option<String>,
}

/// Answers for all tenants. One for a process.
pub struct Answers {
    /// In one piece: in a cache of many, each with a share of the room, a large index could have no place.
    prepared: Mutex<Cache<TenantId, Arc<Prepared>, ByPhrases>>,
    /// Without it, words alone are compared.
    vectors: Option<Arc<Table>>,
}

impl Answers {
    /// With vectors, phrases are compared by meaning too.
    pub fn new(vectors: Option<Arc<Table>>) -> Self {
        Self { prepared: Mutex::new(Cache::with_weighter(CACHED_TENANTS, CACHED_PHRASES, ByPhrases)), vectors }
    }

    /// The answer to what a caller said.
    pub async fn answer<I: Intent>(&self, db: &TenantDb<I>, said: &str) -> Result<Answer, TenantError> {
        Ok(self.prepared(db).await?.answer(said, self.vectors.as_deref()))
    }

    /// What the business says of itself around what was found.
    pub async fn background<I: Intent>(&self, db: &TenantDb<I>, found: &Found) -> Result<Background, TenantError> {
        Ok(self.prepared(db).await?.background(found))
    }

    async fn prepared<I: Intent>(&self, db: &TenantDb<I>) -> Result<Arc<Prepared>, TenantError> {
        let cached = self.kept().get(&db.tenant()).cloned();
        let known = cached.as_ref().map(|prepared| prepared.version);
        let (version, corpus) = answers::load(db.conn(), known).await?;
        match (corpus, cached) {
            (None, Some(cached)) => Ok(cached),
            (corpus, _) => {
                let corpus = corpus.ok_or_else(|| TenantError::Unexpected("no corpus came with its version".into()))?;
                let vectors = self.vectors.clone();
                // Thousands of phrases take seconds, in which this thread has other callers to answer.
                let preparing = spawn_blocking(move || Prepared::new(version, corpus, vectors.as_deref()));
                let failed = |error| TenantError::Unexpected(format!("answers were not prepared: {error}"));
                let prepared = Arc::new(preparing.await.map_err(failed)?);
                self.kept().insert(db.tenant(), Arc::clone(&prepared));
                Ok(prepared)
            }
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Cache<TenantId, Arc<Prepared>, ByPhrases>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct ByPhrases;

impl Weighter<TenantId, Arc<Prepared>> for ByPhrases {
    fn weight(&self, _: &TenantId, prepared: &Arc<Prepared>) -> u64 {
        u64::from(prepared.phrases)
    }
}

/// A tenant's corpus at one version.
struct Prepared {
    version: Version,
    /// Said when nothing fits.
    fallback: String,
    phrases: u32,
    index: Index,
    knowledge: HashMap<Uuid, String>,
    scenarios: HashMap<Uuid, Scenario>,
    variables: HashMap<String, String>,
}

impl Prepared {
    fn new(version: Version, corpus: Corpus, vectors: Option<&Table>) -> Self {
        let entries = entries(&corpus);
        let phrases = entries.iter().map(|entry| entry.phrases.len()).sum::<usize>();
        let configuration = Configuration::stored(corpus.configuration.clone());
        let vocabulary =
            Vocabulary { language: &configuration.language, fillers: &corpus.fillers, urgency: &corpus.urgency };
        let index = with_vectors(vectors, |embed| Index::new(&vocabulary, &entries, embed));
        Self {
            version,
            phrases: u32::try_from(phrases + 1).unwrap_or(u32::MAX),
            index,
            fallback: configuration.fallback,
            knowledge: corpus.knowledge.into_iter().map(|question| (question.id, question.answer)).collect(),
            scenarios: corpus.scenarios.into_iter().map(|found| (found.id, found.scenario)).collect(),
            variables: corpus.variables,
        }
    }

    fn answer(&self, said: &str, vectors: Option<&Table>) -> Answer {
        let found = with_vectors(vectors, |embed| self.index.choose(said, embed));
        let given = found.answer.as_ref().and_then(|chosen| {
            let (text, hook, follow_up) = self.reply(chosen.id)?;
            Some((chosen.tier, chosen.id, chosen.score, text, hook, follow_up))
        });
        let urgency = found.urgency;
        match given {
            Some((tier, id, score, text, hook, follow_up)) => {
                Answer { tier, id: Some(id), text, follow_up, hook, score, urgency, why: found }
            }
            None => Answer {
                tier: Tier::Fallback,
                id: None,
                text: self.fallback(),
                follow_up: None,
                hook: Some(Hook::Escalate),
                score: 0.0,
                urgency,
                why: found,
            },
        }
    }

    fn background(&self, found: &Found) -> Background {
        let near = found.candidates.iter().filter_map(|candidate| {
            let (reply, ..) = self.reply(candidate.id)?;
            let behavior = self.scenarios.get(&candidate.id).and_then(|scenario| scenario.behavior.as_deref());
            let behavior = behavior.and_then(|text| self.fill(&[text]));
            Some(Near { reply, behavior })
        });
        let variables = self.variables.iter().map(|(name, value)| (name.clone(), value.clone()));
        Background { variables: variables.collect(), near: near.collect() }
    }

    /// `None` when all that could be said names a variable without a value.
    fn reply(&self, id: Uuid) -> Option<(String, Option<Hook>, Option<String>)> {
        if let Some(answer) = self.knowledge.get(&id) {
            return Some((self.fill(&[answer])?, None, None));
        }
        let scenario = self.scenarios.get(&id)?;
        let replies: Vec<&str> = scenario.replies.iter().map(String::as_str).collect();
        let follow_up = scenario.follow_up.as_deref().and_then(|text| self.fill(&[text]));
        Some((self.fill(&replies)?, Some(scenario.hook), follow_up))
    }

    fn fallback(&self) -> String {
        self.fill(&[&self.fallback]).unwrap_or_default()
    }

    fn fill(&self, replies: &[&str]) -> Option<String> {
        placeholders::fill(replies, &self.variables)
    }
}

/// Lends the table in the form that the selector takes.
fn with_vectors<T>(vectors: Option<&Table>, then: impl FnOnce(Option<Embed<'_>>) -> T) -> T {
    match vectors {
        Some(table) => then(Some(&|text| table.embed(text))),
        None => then(None),
    }
}

fn entries(corpus: &Corpus) -> Vec<Entry<'_>> {
    let questions = corpus.knowledge.iter().map(|question| Entry {
        id: question.id,
        tier: Tier::Knowledge,
        priority: question.priority,
        phrases: question.phrases.iter().map(String::as_str).collect(),
    });
    let scenarios = corpus.scenarios.iter().map(|found| Entry {
        id: found.id,
        tier: Tier::Scenario,
        priority: found.scenario.priority,
        phrases: found.scenario.phrases.iter().map(String::as_str).collect(),
    });
    questions.chain(scenarios).collect()
}
