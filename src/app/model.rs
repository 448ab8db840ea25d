//! The AI model, for one tenant at a time: may it be asked, with whose key, and what may that cost.
//!
//! The rule that must hold: a prompt holds one tenant's data. So a call takes a [`Principal`] and texts that the caller read
//! through that principal's own connection, and whoever calls has let that connection go: providers are slow. The key is
//! opened for the one call. Tokens are reserved before it and settled after it, in control, for all servers together; when
//! control is away the model is not asked, and the product answers without it.
//!
//! What a newcomer gets wrong: a provider's error text. It can quote the prompt, so it is never read into [`NoModel`].

use std::sync::Arc;
use std::time::Duration;

use super::unsettled::{Cost, Unsettled};
use crate::auth::Principal;
use crate::control::models::{Effective, SealedKey};
use crate::control::usage;
use crate::directory::{Directory, DirectoryError};
use crate::persona::Consent;
use crate::providers::http::Http;
use crate::providers::model::{self as provider, Chat, Embed, Endpoint, Message, ModelError, Tokens};

pub use crate::control::usage::Purpose;

/// Who said something in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The caller.
    User,
    /// The receptionist.
    Assistant,
}

/// Something that was said.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// By whom.
    pub role: Role,
    /// What.
    pub text: &'a str,
}

/// What the model is asked.
#[derive(Debug)]
pub struct Prompt<'a> {
    /// What it is told to be.
    pub system: &'a str,
    /// The conversation so far, in order.
    pub messages: &'a [Said<'a>],
    /// The longest answer.
    pub max_tokens: u32,
}

/// Texts as vectors. Vectors of different models are never compared.
#[derive(Debug, PartialEq)]
pub struct Embedded {
    /// The provider's name of the model that made them.
    pub model: String,
    /// One a text, in their order, all of one dimension.
    pub vectors: Vec<Vec<f32>>,
}

/// Why the model has no answer. Safe to log; callers hear nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum NoModel {
    /// There is no base URL, no model of this kind, or no key.
    #[error("no model is configured")]
    NotConfigured,
    /// The tenant does not let callers' words go to a model.
    #[error("the tenant does not allow the model")]
    NotAllowed,
    /// What is left of the tenant's tokens for today does not suffice.
    #[error("the tenant's tokens for today are spent")]
    BudgetSpent,
    /// It could not be asked, or did not answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its settings, its key or its budget could not be had.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The provider.
    #[error(transparent)]
    Provider(#[from] ModelError),
}

impl From<DirectoryError> for NoModel {
    fn from(error: DirectoryError) -> Self {
        Self::Failed(error.into())
    }
}

/// The model. One for a process, behind an [`Arc`].
pub struct Model {
    directory: Arc<Directory>,
    http: Http,
}

impl Model {
    /// A model over the settings that the directory knows.
    pub fn new(directory: Arc<Directory>, http: Http) -> Self {
        Self { directory, http }
    }

    /// Continues a conversation of `who`'s tenant, which has consented.
    pub async fn chat(
        &self,
        who: &Principal,
        _: Consent,
        purpose: Purpose,
        prompt: &Prompt<'_>,
    ) -> Result<String, NoModel> {
        let effective = self.allowed(who).await?;
        let model = effective.settings.chat_model.as_deref().ok_or(NoModel::NotConfigured)?;
        let ask = Chat { model, messages: messages(prompt), max_tokens: prompt.max_tokens };
        let estimate = estimate(ask.messages.iter().map(|message| message.content));
        let call =
            Call { who, effective: &effective, purpose, model, estimate, most_written: prompt.max_tokens.into() };
        self.spend(&call, async |at| provider::chat(&self.http, at, &ask).await).await
    }

    /// Turns texts of `who`'s tenant, which has consented, into vectors.
    pub async fn embed(&self, who: &Principal, _: Consent, texts: &[&str]) -> Result<Embedded, NoModel> {
        let effective = self.allowed(who).await?;
        let model = effective.settings.embedding_model.as_deref().ok_or(NoModel::NotConfigured)?;
        let ask = Embed { model, input: texts };
        let estimate = estimate(texts.iter().copied());
        let call = Call { who, effective: &effective, purpose: Purpose::Embedding, model, estimate, most_written: 0 };
        let vectors = self.spend(&call, async |at| provider::embed(&self.http, at, &ask).await).await?;
        Ok(Embedded { model: model.to_owned(), vectors })
    }

    /// Whether it is worth the while to put a prompt together. The answer may still be that there is none.
    pub async fn may_answer(&self, who: &Principal) -> bool {
        self.allowed(who).await.is_ok_and(|effective| effective.settings.chat_model.is_some())
    }

    /// The same of vectors.
    pub async fn may_embed(&self, who: &Principal) -> bool {
        self.allowed(who).await.is_ok_and(|effective| effective.settings.embedding_model.is_some())
    }

    async fn allowed(&self, who: &Principal) -> Result<Arc<Effective>, NoModel> {
        let effective = self.directory.model(who.tenant()).await?.ok_or(NoModel::NotConfigured)?;
        if effective.settings.base_url.is_none() {
            return Err(NoModel::NotConfigured);
        }
        if effective.is_allowed() { Ok(effective) } else { Err(NoModel::NotAllowed) }
    }

    /// Makes a call within the tenant's budget.
    async fn spend<T>(
        &self,
        call: &Call<'_>,
        ask: impl AsyncFnOnce(&Endpoint<'_>) -> Result<(T, Tokens), ModelError>,
    ) -> Result<T, NoModel> {
        let key = call.effective.key.as_ref().ok_or(NoModel::NotConfigured)?;
        let control = self.directory.control();
        let (tokens, limit) = (call.estimate + call.most_written, call.effective.tokens_per_day());
        let reserved = self.directory.ask(usage::reserve(control, call.who.tenant(), tokens, limit)).await?;
        let reserved = reserved.ok_or(NoModel::BudgetSpent)?;
        let mut open = Unsettled::new(control, reserved, call.cost(key));
        let (outcome, counted) = match self.ask(call, key, ask).await {
            Ok((answer, counted)) => (Ok(answer), Some(counted)),
            Err(Failure::Provider(error)) if error.may_have_cost() => {
                (Err(Failure::Provider(error)), Some(Tokens::default()))
            }
            Err(error) => (Err(error), None),
        };
        if let Some(ending) = open.end(counted) {
            // It can only fail by panicking, which is logged as any panic is.
            let _ = ending.await;
        }
        Ok(outcome?)
    }

    /// The call itself. The key is open in here and nowhere else.
    async fn ask<T>(
        &self,
        call: &Call<'_>,
        key: &SealedKey,
        ask: impl AsyncFnOnce(&Endpoint<'_>) -> Result<(T, Tokens), ModelError>,
    ) -> Result<(T, Tokens), Failure> {
        let key = self.directory.open_model_key(call.who.tenant(), key)?;
        let base_url = call.effective.settings.base_url.as_deref().unwrap_or_default();
        Ok(ask(&Endpoint { base_url, key: &key, within: within(call.purpose) }).await?)
    }
}

/// One call, before it is made.
struct Call<'a> {
    who: &'a Principal,
    effective: &'a Effective,
    purpose: Purpose,
    model: &'a str,
    /// Of the prompt's tokens.
    estimate: i64,
    /// Tokens that the answer may have.
    most_written: i64,
}

impl Call<'_> {
    /// The most that it can come to.
    fn cost(&self, key: &SealedKey) -> Cost {
        let (purpose, paid_by, model) = (self.purpose, key.of, self.model.to_owned());
        Cost { purpose, paid_by, model, prompt_tokens: self.estimate, completion_tokens: self.most_written }
    }
}

/// How long a call may take. A caller hears silence meanwhile, or somebody waits for a search, or a webhook; a summary is shorter than a
/// request may take in all.
fn within(purpose: Purpose) -> Duration {
    Duration::from_secs(match purpose {
        Purpose::Embedding => 4,
        Purpose::Turn => 8,
        Purpose::Summary => 12,
        Purpose::Reply => 15,
    })
}

fn messages<'a>(prompt: &Prompt<'a>) -> Vec<Message<'a>> {
    let system = Message { role: provider::Role::System, content: prompt.system };
    let said = prompt.messages.iter().map(|said| Message {
        role: match said.role {
            Role::User => provider::Role::User,
            Role::Assistant => provider::Role::Assistant,
        },
        content: said.text,
    });
    std::iter::once(system).chain(said).collect()
}

/// Tokens of texts, rather too many than too few: no usual tokenizer makes more of a text than one for three bytes and a few
/// around each text.
fn estimate<'a>(texts: impl Iterator<Item = &'a str>) -> i64 {
    texts.map(|text| i64::try_from(text.len().div_ceil(3)).unwrap_or(i64::MAX / 2) + 8).fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_the_system_text_and_then_what_was_said() {
        let said = [Said { role: Role::User, text: "Hi" }, Said { role: Role::Assistant, text: "Hello" }];
        let all = messages(&Prompt { system: "Be kind.", messages: &said, max_tokens: 1 });
        let expected = serde_json::json!([
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "content": "Hello" },
        ]);
        assert_eq!(serde_json::to_value(all).unwrap(), expected);
    }

    #[test]
    fn estimates_err_on_the_high_side() {
        assert_eq!(estimate([].into_iter()), 0);
        assert_eq!(estimate(["", "abc", "abcd"].into_iter()), 8 + 9 + 10);
        // One token a character is the worst that writing without an alphabet comes to.
        assert!(estimate(["予約を変更したいのですが"].into_iter()) >= 12);
    }
}
