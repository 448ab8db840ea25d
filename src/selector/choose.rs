//! Comparing one utterance with a prepared corpus.

use std::collections::HashMap;

use super::calibration::{Evidence, Meaning};
use super::index::{Index, Phrase};
use super::meanings::{Meanings, Near, SaidMeaning};
use super::odds::Spoken;
use super::{Embed, Found, KNOWLEDGE_THRESHOLD, Match, SCENARIO_THRESHOLD, Tier, text};

/// So many answers of each tier are weighed by their nearest phrase, so many by their odds and so many by topic; the others share
/// too little with what was said.
const WEIGHED: usize = 5;
/// More rare words than this say no more.
const MOST_RARE_WORDS: f64 = 4.0;
/// Odds that are further ahead than e to this say no more.
const FURTHEST_AHEAD: f64 = 8.0;

/// An utterance as it is compared.
struct Said<'a> {
    words: &'a [String],
    /// With their weights.
    terms: Vec<(String, f32)>,
    norm: f32,
    meaning: Option<SaidMeaning>,
}

/// How near an answer's phrases come, by words.
#[derive(Default)]
struct Best {
    overlap: f64,
    exact: bool,
    /// `None` where no word is shared.
    phrase: Option<usize>,
}

/// What was said, compared with every answer.
struct Compared {
    best: Vec<Best>,
    /// How much of what was said stands in any of an answer's phrases, by weight.
    covered: Vec<f64>,
    spoken: Spoken,
    near: Nearness,
}

/// How near each answer comes by what words mean; empty without vectors.
#[derive(Default)]
struct Nearness {
    /// Of every answer.
    topics: Vec<f64>,
    /// Of those that are weighed: how alike, and which phrase.
    alike: HashMap<usize, (f64, usize)>,
}

impl Index {
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

    /// With their priorities.
    fn candidates(&self, words: &[String], embed: Option<Embed<'_>>) -> Vec<(i32, Match)> {
        let said = self.said(words, embed);
        let mut compared = Compared {
            best: self.best_phrases(&said),
            covered: self.said_covered(&said),
            spoken: self.odds.of(words, &self.language),
            near: Nearness::default(),
        };
        let by_meaning = self.meanings.as_ref().zip(said.meaning.as_ref());
        if let Some((meanings, meaning)) = by_meaning {
            compared.near.topics = meanings.topics(meaning);
        }
        let weighed = self.worth_weighing(&compared);
        if let Some((meanings, meaning)) = by_meaning {
            let mut cosines = Near::default();
            let alike = |at: &usize| (*at, meanings.alike(meaning, &self.entries[*at].phrases, &mut cosines));
            compared.near.alike = weighed.iter().map(alike).collect();
        }
        weighed.into_iter().map(|at| (self.entries[at].priority, self.matched(at, &said, &compared))).collect()
    }

    fn said<'w>(&self, words: &'w [String], embed: Option<Embed<'_>>) -> Said<'w> {
        let weighted = |term: (String, f32)| {
            let weight = self.weight(&term);
            (term.0, weight)
        };
        let terms: Vec<(String, f32)> = self.terms_of(words).into_iter().map(weighted).collect();
        let norm = terms.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        Said { words, terms, norm, meaning: embed.and_then(|embed| Meanings::said(embed, &self.word_weights(words))) }
    }

    /// For each answer, its best phrase by words.
    fn best_phrases(&self, said: &Said<'_>) -> Vec<Best> {
        let mut products = vec![0.0_f32; self.phrases.len()];
        for (term, weight) in &said.terms {
            if let Some(known) = self.terms.get(term) {
                known.phrases.iter().for_each(|phrase| products[*phrase] += weight * weight);
            }
        }
        let mut best: Vec<Best> = self.entries.iter().map(|_| Best::default()).collect();
        for (at, (phrase, product)) in self.phrases.iter().zip(products).enumerate() {
            let exact = !phrase.words.is_empty() && phrase.words == said.words;
            if product > 0.0 || exact {
                let overlap = f64::from(product / (phrase.norm * said.norm)).min(1.0);
                best[phrase.entry].consider(at, overlap, exact, &self.phrases);
            }
        }
        best
    }

    /// For each answer, how much of what was said stands in any of its phrases, by weight.
    fn said_covered(&self, said: &Said<'_>) -> Vec<f64> {
        let mut known = vec![0.0_f32; self.entries.len()];
        for (term, weight) in &said.terms {
            let phrases = self.terms.get(term).map_or(&[][..], |known| &known.phrases);
            // An answer's phrases stand side by side.
            phrases.chunk_by(|a, b| self.phrases[*a].entry == self.phrases[*b].entry).for_each(|of_one| {
                known[self.phrases[of_one[0]].entry] += weight;
            });
        }
        let all: f32 = said.terms.iter().map(|(_, weight)| weight).sum();
        known.into_iter().map(|known| share(f64::from(known), all)).collect()
    }

    /// Ascending.
    fn worth_weighing(&self, compared: &Compared) -> Vec<usize> {
        let Compared { best, spoken, near, .. } = compared;
        let mut chosen = Vec::new();
        for tier in [Tier::Knowledge, Tier::Scenario] {
            let of_tier: Vec<usize> = (0..best.len()).filter(|at| self.entries[*at].tier == tier).collect();
            let mut take = |by: &dyn Fn(usize) -> f64, worth: &dyn Fn(usize) -> bool| {
                let order = |a: &usize, b: &usize| {
                    let (x, y) = (&self.entries[*a], &self.entries[*b]);
                    by(*b).total_cmp(&by(*a)).then(y.priority.cmp(&x.priority)).then(x.id.cmp(&y.id))
                };
                let mut first: Vec<usize> = of_tier.iter().copied().filter(|at| worth(*at)).collect();
                // The first few of so many: the others need no order among themselves.
                if first.len() > WEIGHED {
                    first.select_nth_unstable_by(WEIGHED, order);
                    first.truncate(WEIGHED);
                }
                chosen.extend(first);
            };
            take(&|at| best[at].overlap, &|at| best[at].phrase.is_some());
            take(&|at| spoken.answers[at], &|at| spoken.answers[at] > 0.0);
            if !near.topics.is_empty() {
                take(&|at| near.topics[at], &|at| !self.entries[at].phrases.is_empty());
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    fn matched(&self, at: usize, said: &Said<'_>, compared: &Compared) -> Match {
        let Compared { best, covered, spoken, near } = compared;
        let (entry, own, alike) = (&self.entries[at], &best[at], near.alike.get(&at));
        let phrase = &self.phrases[own.phrase.or(alike.map(|(_, phrase)| *phrase)).unwrap_or(entry.phrases[0])];
        let terms = self.terms_of(&phrase.words);
        let total: f32 = terms.iter().map(|term| self.weight(term)).sum();
        let in_phrase = |term: &str| terms.iter().any(|(other, _)| other == term);
        let shared: Vec<(String, f64)> = said
            .terms
            .iter()
            .filter(|(term, _)| in_phrase(term))
            .map(|(term, weight)| (term.clone(), f64::from(*weight)))
            .collect();
        let of_phrase: f64 = shared.iter().map(|(_, weight)| weight).sum();
        let all: f32 = said.terms.iter().map(|(_, w)| w).sum();
        let rare_words = |part: f64| (part * f64::from(all / self.rare)).min(MOST_RARE_WORDS);
        let evidence = Evidence {
            exact: own.exact,
            overlap: own.overlap,
            overlap_ahead: ahead(own.overlap, best.iter().map(|best| best.overlap)),
            phrase_covered: share(of_phrase, total),
            said_covered: covered[at],
            said_covered_ahead: ahead(covered[at], covered.iter().copied()),
            known: rare_words(covered[at]),
            unknown: rare_words(1.0 - covered[at]),
            odds_ahead: ahead(spoken.answers[at], spoken.answers.iter().copied().chain([spoken.elsewhere]))
                .clamp(-FURTHEST_AHEAD, FURTHEST_AHEAD),
            meaning: alike.map(|(alike, _)| Meaning {
                alike: *alike,
                alike_ahead: ahead(*alike, near.alike.values().map(|(alike, _)| *alike)),
                topic: near.topics[at],
                topic_ahead: ahead(near.topics[at], near.topics.iter().copied()),
            }),
        };
        Match { id: entry.id, tier: entry.tier, score: evidence.score(), phrase: phrase.text.clone(), shared, evidence }
    }
}

fn share(part: f64, whole: f32) -> f64 {
    if whole > 0.0 { (part / f64::from(whole)).min(1.0) } else { 0.0 }
}

/// How far an answer is ahead of the best other one. One that scores the very same is no rival: it has the same phrase, and
/// priority decides between the two.
fn ahead(own: f64, all: impl Iterator<Item = f64>) -> f64 {
    own - all.filter(|other| (other - own).abs() > 1e-6).fold(0.0, f64::max)
}

impl Best {
    /// Of phrases that are equally near, the alphabetically first is named.
    fn consider(&mut self, at: usize, overlap: f64, exact: bool, phrases: &[Phrase]) {
        let better = match self.phrase {
            None => true,
            Some(_) if exact != self.exact => exact,
            Some(now) if overlap.total_cmp(&self.overlap).is_eq() => phrases[at].text < phrases[now].text,
            Some(_) => overlap > self.overlap,
        };
        if better {
            self.phrase = Some(at);
            self.overlap = self.overlap.max(overlap);
            self.exact |= exact;
        }
    }
}
