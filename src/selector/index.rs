//! A tenant's phrases, prepared once for comparing.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::meanings::Meanings;
use super::odds::Odds;
use super::text::{self, Fillers, Language};
use super::{Embed, Entry, Tier, Vocabulary};

/// A word that a language uses everywhere counts so much of another one.
const GLUE: f32 = 0.15;
/// A pair of neighbouring words counts so much beside its words.
const PAIR: f32 = 0.5;
/// A word that no answer has speaks against all of them, but less than one that another answer has.
const UNKNOWN: f32 = 0.6;

/// One for each tenant and version of its corpus.
pub struct Index {
    pub(super) language: Language,
    pub(super) fillers: Fillers,
    pub(super) urgency: Vec<(Vec<String>, String, f64)>,
    /// How much more a stem of an urgency keyword counts.
    boosts: HashMap<String, f32>,
    pub(super) entries: Vec<Known>,
    pub(super) phrases: Vec<Phrase>,
    /// Stems and pairs of stems.
    pub(super) terms: HashMap<String, Term>,
    /// What a term that only one of twice as many answers had would weigh.
    pub(super) rare: f32,
    pub(super) odds: Odds,
    /// `None` without a table of vectors.
    pub(super) meanings: Option<Meanings>,
}

pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) tier: Tier,
    pub(super) priority: i32,
    pub(super) phrases: Vec<usize>,
}

pub(super) struct Phrase {
    pub(super) entry: usize,
    pub(super) text: String,
    pub(super) words: Vec<String>,
    /// The length of its weighted terms as a vector.
    pub(super) norm: f32,
}

#[derive(Default)]
pub(super) struct Term {
    weight: f32,
    /// Ascending.
    pub(super) phrases: Vec<usize>,
}

impl Index {
    /// Prepares a corpus; with `embed`, by meaning too.
    pub fn new(vocabulary: &Vocabulary<'_>, entries: &[Entry<'_>], embed: Option<Embed<'_>>) -> Self {
        let mut index = Self::empty(vocabulary, entries);
        for (at, entry) in entries.iter().enumerate() {
            for text in &entry.phrases {
                index.add(at, text);
            }
        }
        index.weigh();
        let phrases = index.phrases.iter().map(|phrase| (phrase.entry, &*phrase.words));
        index.odds = Odds::new(&index.language, index.entries.len(), phrases);
        index.meanings = embed.map(|embed| {
            let phrases = index.phrases.iter().map(|phrase| (phrase.entry, index.word_weights(&phrase.words)));
            let answers: Vec<usize> = index.entries.iter().map(|entry| entry.phrases.len()).collect();
            Meanings::new(embed, &answers, phrases)
        });
        index
    }

    fn empty(vocabulary: &Vocabulary<'_>, entries: &[Entry<'_>]) -> Self {
        let language = Language::new(vocabulary.language);
        let urgency: Vec<_> = vocabulary
            .urgency
            .iter()
            .map(|u| (text::words(&u.word), u.word.clone(), u.weight.clamp(0.0, 1.0)))
            .collect();
        let mut boosts = HashMap::new();
        for (words, _, weight) in &urgency {
            for word in words.iter().filter(|word| !language.is_glue(word)) {
                let boost: &mut f32 = boosts.entry(language.stem(word)).or_insert(1.0);
                #[expect(clippy::cast_possible_truncation, reason = "a weight needs few digits")]
                let more = 1.0 + *weight as f32;
                *boost = boost.max(more);
            }
        }
        let known = |e: &Entry<'_>| Known { id: e.id, tier: e.tier, priority: e.priority, phrases: Vec::new() };
        Self {
            language,
            fillers: Fillers::new(vocabulary.fillers.iter().map(String::as_str)),
            urgency,
            boosts,
            entries: entries.iter().map(known).collect(),
            phrases: Vec::new(),
            terms: HashMap::new(),
            rare: 1.0,
            odds: Odds::default(),
            meanings: None,
        }
    }

    fn add(&mut self, entry: usize, text: &str) {
        let (words, _) = self.fillers.strip(text::words(text));
        let at = self.phrases.len();
        for (term, _) in self.terms_of(&words) {
            self.terms.entry(term).or_default().phrases.push(at);
        }
        self.entries[entry].phrases.push(at);
        self.phrases.push(Phrase { entry, text: text.to_owned(), words, norm: 0.0 });
    }

    /// Weights need to know all answers; lengths need all weights.
    fn weigh(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "there are no millions of answers")]
        let rarity = |having: usize, of: usize| (1.0 + of as f32 / having as f32).ln();
        for term in self.terms.values_mut() {
            let having: HashSet<usize> = term.phrases.iter().map(|phrase| self.phrases[*phrase].entry).collect();
            term.weight = rarity(having.len(), self.entries.len());
        }
        self.rare = rarity(1, 2 * self.entries.len().max(1));
        let norms: Vec<f32> = self
            .phrases
            .iter()
            .map(|phrase| self.terms_of(&phrase.words).iter().map(|t| self.weight(t).powi(2)).sum::<f32>().sqrt())
            .collect();
        self.phrases.iter_mut().zip(norms).for_each(|(phrase, norm)| phrase.norm = norm);
    }

    /// Stems, then pairs of neighbours, each once, with what its kind counts.
    pub(super) fn terms_of(&self, words: &[String]) -> Vec<(String, f32)> {
        let stems: Vec<String> = words.iter().map(|word| self.language.stem(word)).collect();
        let single = words.iter().zip(&stems).map(|(word, stem)| (stem.clone(), self.kind(word, stem)));
        let pairs = stems.windows(2).map(|pair| (format!("{} {}", pair[0], pair[1]), PAIR));
        let mut seen = HashSet::new();
        single.chain(pairs).filter(|(term, _)| seen.insert(term.clone())).collect()
    }

    fn kind(&self, word: &str, stem: &str) -> f32 {
        let glue = if self.language.is_glue(word) { GLUE } else { 1.0 };
        glue * self.boosts.get(stem).unwrap_or(&1.0)
    }

    /// Words as they were said, each with the weight of its stem.
    pub(super) fn word_weights<'w>(&self, words: &'w [String]) -> Vec<(&'w str, f64)> {
        let weight = |word: &str| {
            let stem = self.language.stem(word);
            let kind = self.kind(word, &stem);
            f64::from(self.weight(&(stem, kind)))
        };
        words.iter().map(|word| (word.as_str(), weight(word))).collect()
    }

    /// A pair that no answer has says nothing: its words say it already.
    pub(super) fn weight(&self, (term, kind): &(String, f32)) -> f32 {
        match self.terms.get(term) {
            Some(known) => known.weight * kind,
            None if term.contains(' ') => 0.0,
            None => self.rare * kind * UNKNOWN,
        }
    }
}
