//! How well the selector answers, measured on labelled utterances.
//!
//! `cargo test --release --test quality -- --ignored tuning --nocapture` reports the tuning set, `utterances.tsv`. Each fifth of it is put
//! to an index that has the other four as phrases beside those of `corpus.toml`: a business learns from its callers. The first of them guards
//! against getting worse. The held-out set is put to an index that has them all.
//! `held_out.tsv` was written by somebody who saw the names of the answers and none of their phrases, and is reported by `cargo test
//! --test quality -- --ignored held_out --nocapture` and by nothing else: it is for a final selector, not for choosing between two. Once looked
//! at it is spent, and the next selector needs another. `… --ignored fit …` prints the calibration's parameters.
//!
//! **Right**: the expected answer was given, or none where none was expected. **False**: an answer was given that is not the expected
//! one, out of scope or in. What is neither went to the fallback although there was an answer.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use serde::Deserialize;
use strowger::meaning::Table;
use strowger::playbook::{Scenario, Urgency, Variable};
use strowger::selector::{Embed, Entry, FEATURES, Found, Index, Tier, Vocabulary};
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    language: String,
    fillers: Vec<String>,
    urgency: Vec<Urgency>,
    #[serde(rename = "variables")]
    _variables: Vec<Variable>,
    scenarios: Vec<Scenario>,
    knowledge: Vec<Question>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    key: String,
    question: String,
    variants: Vec<String>,
    #[serde(rename = "answer")]
    _answer: String,
}

impl Corpus {
    fn load() -> Self {
        toml::from_str(include_str!("corpus.toml")).unwrap()
    }

    /// Keys by the ids under which they stand in the index.
    fn keys(&self) -> Vec<&str> {
        let scenarios = self.scenarios.iter().map(|scenario| scenario.key.as_str());
        scenarios.chain(self.knowledge.iter().map(|question| question.key.as_str())).collect()
    }

    /// With what callers said as more phrases of what they should get. What no answer is for goes nowhere.
    fn entries<'a>(&'a self, said: &[Labelled]) -> Vec<Entry<'a>> {
        let heard = |key: &'a str| said.iter().filter(move |line| line.expected == key).map(|line| line.said);
        let id = |key: &str| Uuid::from_u128(self.keys().iter().position(|k| *k == key).unwrap() as u128);
        let scenarios = self.scenarios.iter().map(|s| Entry {
            id: id(&s.key),
            tier: Tier::Scenario,
            priority: s.priority,
            phrases: s.phrases.iter().map(String::as_str).chain(heard(&s.key)).collect(),
        });
        let questions = self.knowledge.iter().map(|q| Entry {
            id: id(&q.key),
            tier: Tier::Knowledge,
            priority: 0,
            phrases: std::iter::once(&q.question).chain(&q.variants).map(String::as_str).chain(heard(&q.key)).collect(),
        });
        scenarios.chain(questions).collect()
    }

    fn index(&self, said: &[Labelled], vectors: Option<&Table>) -> Index {
        let vocabulary = Vocabulary { language: &self.language, fillers: &self.fillers, urgency: &self.urgency };
        with(vectors, |embed| Index::new(&vocabulary, &self.entries(said), embed))
    }
}

#[derive(Clone, Copy)]
struct Labelled {
    expected: &'static str,
    said: &'static str,
}

#[derive(Clone, Copy)]
enum Set {
    Tuning,
    HeldOut,
}

fn labelled(set: Set) -> impl Iterator<Item = Labelled> {
    let lines = match set {
        Set::Tuning => include_str!("utterances.tsv"),
        Set::HeldOut => include_str!("held_out.tsv"),
    };
    let parts = lines.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap());
    parts.map(|(expected, said)| Labelled { expected, said })
}

/// In so many parts the tuning set is divided.
const FOLDS: usize = 5;

/// The lines of some folds of the tuning set, put to an index that has the other folds' lines and none of its own fold's.
fn cross_validated(
    folds: Range<usize>,
    corpus: &Corpus,
    vectors: Option<&Table>,
    then: &mut dyn FnMut(Labelled, &Found),
) {
    for fold in folds {
        let (own, others): (Vec<_>, Vec<_>) = labelled(Set::Tuning).enumerate().partition(|(n, _)| n % FOLDS == fold);
        let others: Vec<Labelled> = others.into_iter().map(|(_, line)| line).collect();
        let index = corpus.index(&others, vectors);
        for (_, line) in own {
            then(line, &with(vectors, |embed| index.choose(line.said, embed)));
        }
    }
}

/// The table of `ops/word-vectors.sh`; `./test` says where it is.
fn table() -> Option<Table> {
    std::env::var_os("STROWGER_TEST_WORD_VECTORS").map(|folder| Table::load(folder.as_ref()).unwrap())
}

/// Lends a table in the form that the selector takes.
fn with<T>(vectors: Option<&Table>, then: impl FnOnce(Option<Embed<'_>>) -> T) -> T {
    match vectors {
        Some(table) => then(Some(&|text| table.embed(text))),
        None => then(None),
    }
}

#[derive(Default)]
struct Report {
    total: usize,
    right: usize,
    wrong: Vec<String>,
    missed: Vec<String>,
    /// Best candidates by tenths of their score: how many, and how many of them are right.
    buckets: BTreeMap<u8, (usize, usize)>,
}

impl Report {
    fn tuning(folds: Range<usize>, vectors: Option<&Table>) -> Self {
        let (corpus, mut report) = (Corpus::load(), Self::default());
        cross_validated(folds, &corpus, vectors, &mut |line, found| report.note(&line, found, &corpus.keys()));
        report
    }

    fn held_out(vectors: Option<&Table>) -> Self {
        let (corpus, mut report) = (Corpus::load(), Self::default());
        let index = corpus.index(&labelled(Set::Tuning).collect::<Vec<_>>(), vectors);
        for line in labelled(Set::HeldOut) {
            report.note(&line, &with(vectors, |embed| index.choose(line.said, embed)), &corpus.keys());
        }
        report
    }

    fn note(&mut self, labelled: &Labelled, found: &Found, keys: &[&str]) {
        let key = |id: Uuid| keys[usize::try_from(id.as_u128()).unwrap()];
        self.total += 1;
        let given = found.answer.as_ref().map_or("none", |answer| key(answer.id));
        let line = || {
            let best =
                found.candidates.iter().take(2).map(|m| format!("{} {:.2} \"{}\" ", key(m.id), m.score, m.phrase));
            format!("{:24} {}\n      {}", labelled.expected, labelled.said, best.collect::<String>())
        };
        if given == labelled.expected {
            self.right += 1;
        } else if given == "none" {
            self.missed.push(line());
        } else {
            self.wrong.push(line());
        }
        if let Some(best) = found.candidates.first() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
            let bucket = self.buckets.entry((best.score * 10.0) as u8).or_default();
            bucket.0 += 1;
            bucket.1 += usize::from(key(best.id) == labelled.expected);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    fn share(&self, part: usize) -> f64 {
        100.0 * part as f64 / self.total as f64
    }

    fn print(&self, name: &str) {
        let (right, wrong) = (self.share(self.right), self.share(self.wrong.len()));
        println!("{name}: {} utterances, {right:.1} % right, {wrong:.1} % false", self.total);
        for (bucket, (all, right)) in &self.buckets {
            println!("  best answer scored 0.{bucket}: {right} of {all} right");
        }
        self.wrong.iter().for_each(|line| println!("  false   {line}"));
        self.missed.iter().for_each(|line| println!("  missed  {line}"));
    }
}

#[test]
fn the_set_is_what_it_says() {
    let (corpus, all) = (Corpus::load(), labelled(Set::Tuning).collect::<Vec<_>>());
    assert!(all.len() >= 240);
    let expected: HashSet<_> = all.iter().map(|l| l.expected).collect();
    assert!(expected.len() > 10);
    assert!(all.iter().filter(|l| l.expected == "none").count() * 4 >= all.len());
    let keys = corpus.keys();
    assert!(expected.iter().all(|key| *key == "none" || keys.contains(key)));
    let plain = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
    let phrases: HashSet<_> = corpus.entries(&[]).iter().flat_map(|e| e.phrases.clone()).map(plain).collect();
    assert!(all.iter().all(|l| !phrases.contains(&plain(l.said))), "no phrase is a copy of an utterance");
}

/// By words alone and, where there is a table, by meaning too: each must stay what it is. One fold, since an index is slow to make without
/// optimisation; `--ignored tuning` reports all.
#[test]
fn the_tuning_set_is_answered_as_well_as_before() {
    let held = |name, vectors, right, wrong| {
        let report = Report::tuning(0..1, vectors);
        report.print(&format!("a fifth of the tuning set, {name}"));
        assert!(report.share(report.right) >= right, "{name}");
        assert!(report.share(report.wrong.len()) <= wrong, "{name}");
    };
    held("words", None, 93.5, 1.6);
    if let Some(table) = table() {
        held("words and meaning", Some(&table), 93.2, 1.8);
    }
}

/// "Cancel my gym membership" is one of the phrases that no answer is for. Turns red when pieces count without their answer's total.
#[test]
fn whose_matter_it_is_answers_what_no_answer_is_for_elsewhere() {
    const PHRASES: [&str; 12] = [
        "cancel my membership",
        "I want to cancel my gym membership",
        "how do I end my membership",
        "I'd like to quit the gym",
        "please stop my membership",
        "I don't want to be a member any more",
        "can I cancel my contract with the gym",
        "I moved away and need to cancel my membership",
        "what do I have to do to cancel the gym",
        "cancel the membership for my wife",
        "I'm not using the gym and want out",
        "end my contract",
    ];
    let (corpus, said) = (Corpus::load(), "i would like to cancel the gym membership of my son");
    let vocabulary = Vocabulary { language: &corpus.language, fillers: &corpus.fillers, urgency: &corpus.urgency };
    let mut entries = corpus.entries(&[]);
    assert!(Index::new(&vocabulary, &entries, None).choose(said, None).answer.is_none());
    let id = Uuid::from_u128(u128::MAX);
    entries.push(Entry { id, tier: Tier::Scenario, priority: 0, phrases: PHRASES.to_vec() });
    let found = Index::new(&vocabulary, &entries, None).choose(said, None);
    assert_eq!(found.answer.as_ref().map(|answer| answer.id), Some(id), "{:?}", found.candidates);
}

#[test]
#[ignore = "takes minutes without --release"]
fn tuning() {
    Report::tuning(0..FOLDS, None).print("tuning set, words");
    if let Some(table) = table() {
        Report::tuning(0..FOLDS, Some(&table)).print("tuning set, words and meaning");
    }
}

/// The targets, on what no selector has seen. Turns red for a selector that misses them.
#[test]
#[ignore = "the held-out set is looked at when a selector is final"]
fn held_out() {
    let met = |name, vectors| {
        let report = Report::held_out(vectors);
        report.print(&format!("held-out set, {name}"));
        assert!(report.share(report.right) >= 85.0, "{name}");
        assert!(report.share(report.wrong.len()) <= 2.0, "{name}");
    };
    met("words", None);
    if let Some(table) = table() {
        met("words and meaning", Some(&table));
    }
}

#[test]
#[ignore = "prints parameters for calibration.rs"]
fn fit() {
    println!("WORDS {:.2?}", fitted(None));
    if let Some(table) = table() {
        println!("MEANING {:.2?}", fitted(Some(&table)));
    }
}

fn fitted(vectors: Option<&Table>) -> [f64; FEATURES] {
    let corpus = Corpus::load();
    let mut rows = Vec::new();
    cross_validated(0..FOLDS, &corpus, vectors, &mut |line, found| {
        for candidate in found.candidates.iter().filter(|c| !c.evidence.exact) {
            let right = corpus.keys()[usize::try_from(candidate.id.as_u128()).unwrap()] == line.expected;
            rows.push((candidate.evidence.numbers(), f64::from(u8::from(right))));
        }
    });
    logistic(&rows)
}

/// Newton's method on the likelihood, with a ridge on all but the constant.
fn logistic(rows: &[([f64; FEATURES], f64)]) -> [f64; FEATURES] {
    const RIDGE: f64 = 0.2;
    let mut parameters = [0.0; FEATURES];
    for _ in 0..30 {
        let (mut slope, mut curve) = ([0.0; FEATURES], [[0.0; FEATURES]; FEATURES]);
        for (numbers, label) in rows {
            let sum: f64 = numbers.iter().zip(parameters).map(|(x, p)| x * p).sum();
            let score = 1.0 / (1.0 + (-sum).exp());
            for i in 0..FEATURES {
                slope[i] += (label - score) * numbers[i];
                for j in 0..FEATURES {
                    curve[i][j] += score * (1.0 - score) * numbers[i] * numbers[j];
                }
            }
        }
        for i in 0..FEATURES {
            let ridge = if i == 0 { 1e-9 } else { RIDGE };
            slope[i] -= ridge * parameters[i];
            curve[i][i] += ridge;
        }
        let step = solved(curve, slope);
        parameters.iter_mut().zip(step).for_each(|(parameter, step)| *parameter += step);
    }
    parameters
}

/// Gaussian elimination of a positive definite system.
fn solved(mut matrix: [[f64; FEATURES]; FEATURES], mut right: [f64; FEATURES]) -> [f64; FEATURES] {
    for pivot in 0..FEATURES {
        let row = matrix[pivot];
        for below in pivot + 1..FEATURES {
            let factor = matrix[below][pivot] / row[pivot];
            matrix[below].iter_mut().zip(row).for_each(|(x, above)| *x -= factor * above);
            right[below] -= factor * right[pivot];
        }
    }
    for pivot in (0..FEATURES).rev() {
        let known: f64 = (pivot + 1..FEATURES).map(|i| matrix[pivot][i] * right[i]).sum();
        right[pivot] = (right[pivot] - known) / matrix[pivot][pivot];
    }
    right
}
