//! Which answer fits what a caller said, and how sure that is.
//!
//! An [`Index`] is prepared once from a tenant's questions and scenarios; [`Index::choose`] then compares one utterance with
//! all of their phrases. It is pure: the same corpus and the same words give the same answer on every machine, whatever order the
//! corpus comes in.
//!
//! 1. **Normalise**: lower case, compatibility forms and diacritics folded, cut into words; fillers are taken out.
//! 2. **Compare** stems and pairs of neighbouring stems, weighted by how few answers have them. Words a language uses everywhere
//!    count little alone ("how", "much") and more as a pair. Urgency keywords count more.
//! 3. **Weigh the odds** of all that was said, piece by piece (`odds.rs`): how much of each word's use, each pair's and each three letters' is the
//!    answer's, and how much that of what people say that no answer is for (`elsewhere/`).
//! 4. **Compare by meaning**, with a table of word vectors: what was said as a whole with what each answer is about and the others are not, and for
//!    those that come near, word by word with each of their phrases.
//! 5. **Weigh the evidence** ([`Evidence`]): how much of the phrase was said, how much of what was said the answer knows and does not, how
//!    far ahead of the next answer it is. A logistic function turns it into a score.
//!
//! The rule that must hold: **a score is a probability.** Of answers scored 0.80, about 80 % are right, so a threshold means
//! what it says. The parameters in `calibration.rs` are fitted on labelled utterances (`tests/quality/`), never set by hand. A newcomer who adds a
//! bonus to a score breaks that; add evidence and fit again.
//!
//! Languages without spaces between words are only matched exactly or by meaning.

mod calibration;
mod choose;
mod index;
mod meanings;
mod odds;
#[cfg(test)]
mod tests;
mod text;
mod topics;

use uuid::Uuid;

pub use calibration::{Evidence, FEATURES, Meaning};
pub use index::Index;

use crate::playbook::Urgency;

/// At this score one of the tenant's own questions is answered.
pub const KNOWLEDGE_THRESHOLD: f64 = 0.80;
/// At this score a scenario is answered.
pub const SCENARIO_THRESHOLD: f64 = 0.80;

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The tenant's own questions and answers: asked first.
    Knowledge,
    /// Scenarios.
    Scenario,
    /// The sentence for everything else.
    Fallback,
}

/// One answer, by how callers ask for it.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Which.
    pub id: Uuid,
    /// Knowledge or scenario.
    pub tier: Tier,
    /// The higher one is taken of two that score the same.
    pub priority: i32,
    /// How callers ask for it.
    pub phrases: Vec<&'a str>,
}

/// What a tenant's words mean beside its answers.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// BCP 47.
    pub language: &'a str,
    /// Groups of words that mean nothing.
    pub fillers: &'a [String],
    /// Words that make a call urgent.
    pub urgency: &'a [Urgency],
}

/// Gives a text's vector, always of one model; `None` when it knows none of its words.
pub type Embed<'a> = &'a dyn Fn(&str) -> Option<Vec<f32>>;

/// What became of an utterance.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Found {
    /// The answer to give, if one is sure enough.
    pub answer: Option<Match>,
    /// The best few answers of both tiers, the chosen one among them; best first.
    pub candidates: Vec<Match>,
    /// 0 to 1: the urgency keywords that were said, together.
    pub urgency: f64,
    /// The urgency keywords that were said.
    pub urgent_words: Vec<String>,
    /// What was compared: words without fillers.
    pub words: Vec<String>,
    /// How many filler words were taken out.
    pub fillers: usize,
}

/// How well one answer fits, and why.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Match {
    /// Which.
    pub id: Uuid,
    /// Knowledge or scenario.
    pub tier: Tier,
    /// The probability that it is the right one.
    pub score: f64,
    /// The phrase that fits best.
    pub phrase: String,
    /// Stems and pairs of stems that were said and stand in that phrase, with their weights.
    pub shared: Vec<(String, f64)>,
    /// What the score was made of.
    pub evidence: Evidence,
}
