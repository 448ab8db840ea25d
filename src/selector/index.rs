//! A tenant's phrases, prepared for comparing.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::calibration::Evidence;
use super::text::{self, Fillers, Language};
use super::{Embed, Entry, Found, KNOWLEDGE_THRESHOLD, Match, SCENARIO_THRESHOLD, Tier, Vocabulary};

/// A word that a language uses everywhere counts so much of another one.
const GLUE: f32 = 0.15;
/// A pair of neighbouring words counts so much beside its words.
const PAIR: f32 = 0.5;
/// A word that no answer has speaks against all of them, but less than one that another answer has.
const UNKNOWN: f32 = 0.6;
/// So many answers of each tier are weighed; the others share too little with what was said.
const WEIGHED: usize = 5;

/// One for each tenant and version of its corpus.
pub struct Index {
    language: Language,
    fillers: Fillers,
    urgency: Vec<(Vec<String>, String, f64)>,
    /// How much more a stem of an urgency keyword counts.
    boosts: HashMap<String, f32>,
    entries: Vec<Known>,
    phrases: Vec<Phrase>,
    /// Stems and pairs of stems.
    terms: HashMap<String, Term>,
    /// What a term that only one of twice as many answers had would weigh.
    rare: f32,
}

struct Known {
    id: Uuid,
    tier: Tier,
    priority: i32,
    vocabulary: HashSet<String>,
}

struct Phrase {
    entry: usize,
    text: String,
    words: Vec<String>,
    /// The length of its weighted terms as a vector.
    norm: f32,
    /// Of length 1.
    vector: Option<Vec<f32>>,
}

#[derive(Default)]
struct Term {
    weight: f32,
    /// Ascending.
    phrases: Vec<usize>,
}

impl Index {
    /// Prepares a corpus; with `embed`, by meaning too.
    pub fn new(vocabulary: &Vocabulary<'_>, entries: &[Entry<'_>], embed: Option<Embed<'_>>) -> Self {
        let mut index = Self::empty(vocabulary, entries);
        for (at, entry) in entries.iter().enumerate() {
            for text in &entry.phrases {
                index.add(at, text, embed);
            }
        }
        index.weigh();
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
        let known = |e: &Entry<'_>| Known { id: e.id, tier: e.tier, priority: e.priority, vocabulary: HashSet::new() };
        Self {
            language,
            fillers: Fillers::new(vocabulary.fillers.iter().map(String::as_str)),
            urgency,
            boosts,
            entries: entries.iter().map(known).collect(),
            phrases: Vec::new(),
            terms: HashMap::new(),
            rare: 1.0,
        }
    }

    fn add(&mut self, entry: usize, text: &str, embed: Option<Embed<'_>>) {
        let (words, _) = self.fillers.strip(text::words(text));
        let at = self.phrases.len();
        for (term, _) in self.terms_of(&words) {
            self.terms.entry(term.clone()).or_default().phrases.push(at);
            self.entries[entry].vocabulary.insert(term);
        }
        let vector = embed.and_then(|embed| embed(&words.join(" "))).and_then(unit);
        self.phrases.push(Phrase { entry, text: text.to_owned(), words, norm: 0.0, vector });
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
    fn terms_of(&self, words: &[String]) -> Vec<(String, f32)> {
        let stems: Vec<String> = words.iter().map(|word| self.language.stem(word)).collect();
        let single = words.iter().zip(&stems).map(|(word, stem)| {
            let glue = if self.language.is_glue(word) { GLUE } else { 1.0 };
            (stem.clone(), glue * self.boosts.get(stem).unwrap_or(&1.0))
        });
        let pairs = stems.windows(2).map(|pair| (format!("{} {}", pair[0], pair[1]), PAIR));
        let mut seen = HashSet::new();
        single.chain(pairs).filter(|(term, _)| seen.insert(term.clone())).collect()
    }

    /// A pair that no answer has says nothing: its words say it already.
    fn weight(&self, (term, kind): &(String, f32)) -> f32 {
        match self.terms.get(term) {
            Some(known) => known.weight * kind,
            None if term.contains(' ') => 0.0,
            None => self.rare * kind * UNKNOWN,
        }
    }

    /// Compares what was said with every phrase.
    pub fn choose(&self, said: &str, embed: Option<Embed<'_>>) -> Found {
        let all = text::words(said);
        let (urgency, urgent_words) = self.urgency_of(&all);
        let (words, fillers) = self.fillers.strip(all);
        let mut candidates = self.candidates(&words, embed);
        candidates.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then(b.0.cmp(&a.0)).then(a.1.id.cmp(&b.1.id)));
        let candidates: Vec<Match> = candidates.into_iter().map(|(_, found)| found).collect();
        let of = |tier, least| candidates.iter().find(|found| found.tier == tier && found.score >= least);
        let answer =
            of(Tier::Knowledge, KNOWLEDGE_THRESHOLD).or_else(|| of(Tier::Scenario, SCENARIO_THRESHOLD)).cloned();
        Found { answer, candidates, urgency, urgent_words, words, fillers }
    }

    fn urgency_of(&self, words: &[String]) -> (f64, Vec<String>) {
        let said = |group: &[String]| !group.is_empty() && words.windows(group.len()).any(|window| window == group);
        let heard: Vec<_> = self.urgency.iter().filter(|(group, ..)| said(group)).collect();
        let calm: f64 = heard.iter().map(|(.., weight)| 1.0 - weight).product();
        let mut names: Vec<String> = heard.iter().map(|(_, name, _)| name.clone()).collect();
        names.sort_unstable();
        (1.0 - calm, names)
    }

    fn candidates(&self, words: &[String], embed: Option<Embed<'_>>) -> Vec<(i32, Match)> {
        let terms: Vec<(String, f32)> = self
            .terms_of(words)
            .into_iter()
            .map(|t| {
                let w = self.weight(&t);
                (t.0, w)
            })
            .collect();
        let said = Said {
            norm: terms.iter().map(|(_, w)| w * w).sum::<f32>().sqrt(),
            vector: embed.and_then(|embed| embed(&words.join(" "))).and_then(unit),
            words,
            terms,
        };
        let best = self.best_phrases(&said);
        let mut weighed = self.worth_weighing(&best);
        weighed.sort_unstable();
        weighed.dedup();
        weighed.into_iter().map(|at| (self.entries[at].priority, self.matched(at, &said, &best))).collect()
    }

    /// For each answer, its best phrase by words and its nearest by meaning.
    fn best_phrases(&self, said: &Said<'_>) -> Vec<Best> {
        let mut products = vec![0.0_f32; self.phrases.len()];
        for (term, weight) in &said.terms {
            if let Some(known) = self.terms.get(term) {
                known.phrases.iter().for_each(|phrase| products[*phrase] += weight * weight);
            }
        }
        let mut best: Vec<Best> = self.entries.iter().map(|_| Best::default()).collect();
        for (at, (phrase, product)) in self.phrases.iter().zip(products).enumerate() {
            let overlap = if product > 0.0 { f64::from(product / (phrase.norm * said.norm)).min(1.0) } else { 0.0 };
            let meaning = said.vector.as_ref().zip(phrase.vector.as_ref()).map(|(a, b)| dot(a, b));
            let exact = !phrase.words.is_empty() && phrase.words == said.words;
            best[phrase.entry].consider(at, overlap, meaning, exact, &self.phrases);
        }
        best
    }

    fn worth_weighing(&self, best: &[Best]) -> Vec<usize> {
        let mut chosen = Vec::new();
        for tier in [Tier::Knowledge, Tier::Scenario] {
            let mut of_tier: Vec<usize> = (0..best.len()).filter(|at| self.entries[*at].tier == tier).collect();
            let before = |a: &usize, b: &usize| {
                let (x, y) = (&self.entries[*a], &self.entries[*b]);
                y.priority.cmp(&x.priority).then(x.id.cmp(&y.id))
            };
            of_tier.sort_unstable_by(|a, b| best[*b].overlap.total_cmp(&best[*a].overlap).then_with(|| before(a, b)));
            chosen.extend(of_tier.iter().filter(|at| best[**at].overlap > 0.0).take(WEIGHED));
            let meaning = |at: &usize| best[*at].meaning.unwrap_or(f64::MIN);
            of_tier.sort_unstable_by(|a, b| meaning(b).total_cmp(&meaning(a)).then_with(|| before(a, b)));
            chosen.extend(of_tier.iter().filter(|at| best[**at].meaning.is_some()).take(WEIGHED));
        }
        chosen
    }

    fn matched(&self, at: usize, said: &Said<'_>, best: &[Best]) -> Match {
        let (entry, own) = (&self.entries[at], &best[at]);
        let phrase = &self.phrases[own.phrase.unwrap_or_default()];
        let terms = self.terms_of(&phrase.words);
        let total: f32 = terms.iter().map(|term| self.weight(term)).sum();
        let shared: Vec<(String, f64)> = said
            .terms
            .iter()
            .filter(|(term, _)| terms.iter().any(|(other, _)| other == term))
            .map(|(term, weight)| (term.clone(), f64::from(*weight)))
            .collect();
        let covered: f64 = shared.iter().map(|(_, weight)| weight).sum();
        let known: f32 = said.terms.iter().filter(|(term, _)| entry.vocabulary.contains(term)).map(|(_, w)| w).sum();
        let all: f32 = said.terms.iter().map(|(_, w)| w).sum();
        // An answer with the very same phrase is no rival: priority decides between the two.
        let rival = |same_tier: bool, of: &dyn Fn(&Best) -> f64| {
            let others = best.iter().enumerate().filter(|(other, _)| *other != at);
            let others = others.filter(|(other, _)| (self.entries[*other].tier == entry.tier) == same_tier);
            others.map(|(_, b)| of(b)).filter(|score| (score - of(own)).abs() > 1e-6).fold(0.0_f64, f64::max)
        };
        let meaning_of = |b: &Best| b.meaning.unwrap_or(0.0);
        let evidence = Evidence {
            exact: own.exact,
            overlap: own.overlap,
            phrase_covered: if total > 0.0 { (covered / f64::from(total)).min(1.0) } else { 0.0 },
            said_covered: if all > 0.0 { f64::from(known / all).min(1.0) } else { 0.0 },
            ahead: own.overlap - rival(true, &|b| b.overlap),
            behind: (own.overlap - rival(false, &|b| b.overlap)).min(0.0),
            meaning: own.meaning,
            meaning_ahead: own.meaning.map_or(0.0, |m| m - rival(true, &meaning_of).max(rival(false, &meaning_of))),
        };
        Match { id: entry.id, tier: entry.tier, score: evidence.score(), phrase: phrase.text.clone(), shared, evidence }
    }
}

/// An utterance as it is compared.
struct Said<'a> {
    words: &'a [String],
    /// With their weights.
    terms: Vec<(String, f32)>,
    norm: f32,
    vector: Option<Vec<f32>>,
}

/// How near an answer's phrases come.
#[derive(Default)]
struct Best {
    overlap: f64,
    meaning: Option<f64>,
    exact: bool,
    /// The best by words; where no word is shared, by meaning.
    phrase: Option<usize>,
}

impl Best {
    /// Of phrases that are equally near, the alphabetically first is named.
    fn consider(&mut self, at: usize, overlap: f64, meaning: Option<f64>, exact: bool, phrases: &[Phrase]) {
        let nearer = meaning > self.meaning;
        let by_words = match self.phrase {
            None => true,
            Some(_) if exact != self.exact => exact,
            Some(now) if overlap.total_cmp(&self.overlap).is_eq() => {
                if overlap == 0.0 && nearer {
                    true
                } else {
                    phrases[at].text < phrases[now].text && !(overlap == 0.0 && meaning < self.meaning)
                }
            }
            Some(_) => overlap > self.overlap,
        };
        if by_words {
            self.phrase = Some(at);
            self.overlap = self.overlap.max(overlap);
            self.exact |= exact;
        }
        if nearer {
            self.meaning = meaning;
        }
    }
}

fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = dot(&vector, &vector).sqrt();
    if !length.is_normal() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
    let length = length as f32;
    for x in &mut vector {
        *x /= length;
    }
    Some(vector)
}

/// Eight sums side by side, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f32; 8];
    for (x, y) in a.chunks(8).zip(b.chunks(8)) {
        x.iter().zip(y).zip(&mut sums).for_each(|((x, y), sum)| *sum += x * y);
    }
    sums.iter().copied().map(f64::from).sum()
}
