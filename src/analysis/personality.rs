//! How a caller came across, as eight numbers from 0 to 100. Counting, not psychology: each says exactly what it counts.
//!
//! Over what the caller said in one call, with `words`, `sentences` and `turns` of the caller, and the lists of `lexicon.txt`:
//!
//! | metric | formula | 0 | 50 | 100 |
//! | --- | --- | --- | --- | --- |
//! | talk_share | 100 × caller's words ÷ all words | silent | half | alone |
//! | verbosity | 100 × w ÷ (w + 20), w = words a turn | | 20 words a turn | |
//! | question_rate | 100 × sentences ending in `?` ÷ sentences | none | every second | all |
//! | politeness | 100 × min(1, polite phrases ÷ turns) | none | in every second turn | one a turn |
//! | urgency | 100 × (1 − ½ⁿ), n = urgent phrases | none | one | |
//! | sentiment | 50 + 50 × (p − n) ÷ (p + n), p, n = positive, negative words; 50 without any | all negative | even | all positive |
//! | confidence | 100 × (1 − min(1, hedges ÷ sentences)) | a hedge a sentence | | none |
//! | patience | 100 × ½ⁿ, n = impatient phrases + turns that repeat an earlier one word for word | | one | none |
//!
//! A negation right before a positive or negative word, or one word before it, turns it around ("not good", "not very good"). A
//! caller who said nothing has no metrics, and averages do not change. Values are rounded to one decimal.
//!
//! Averages over a caller's calls are kept by `tenant::summaries`: the plain mean of the first ten calls; from then on each new
//! call moves the average by a tenth of the difference, so that what was years ago fades. A call counts once.

use std::collections::HashSet;

use serde::Serialize;

use super::lexicon::{LEXICON, Phrases};
use super::text::{sentences, words};
use super::{Speaker, Turn};

/// The metrics of one call. The module says what each counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the table above says what each means")]
pub struct Personality {
    pub talk_share: f64,
    pub verbosity: f64,
    pub question_rate: f64,
    pub politeness: f64,
    pub urgency: f64,
    pub sentiment: f64,
    pub confidence: f64,
    pub patience: f64,
}

impl Personality {
    /// Each by its name on the wire.
    pub fn named(&self) -> [(&'static str, f64); 8] {
        [
            ("talk_share", self.talk_share),
            ("verbosity", self.verbosity),
            ("question_rate", self.question_rate),
            ("politeness", self.politeness),
            ("urgency", self.urgency),
            ("sentiment", self.sentiment),
            ("confidence", self.confidence),
            ("patience", self.patience),
        ]
    }
}

/// Measures what the caller said; `None` when that is nothing.
pub(super) fn measure(turns: &[Turn<'_>]) -> Option<Personality> {
    let by = |speaker| turns.iter().filter(move |turn| turn.speaker == speaker).map(|turn| turn.text);
    let said: Vec<Vec<String>> = by(Speaker::Caller).map(words).filter(|words| !words.is_empty()).collect();
    if said.is_empty() {
        return None;
    }
    let asked: Vec<&str> = by(Speaker::Caller).flat_map(sentences).collect();
    let spoken = number(said.iter().map(Vec::len).sum());
    let answered = number(by(Speaker::Receptionist).map(|text| words(text).len()).sum());
    let (turns, sentences) = (number(said.len()), number(asked.len()).max(1.0));
    let count = |phrases: &Phrases| number(said.iter().map(|words| phrases.count(words)).sum());
    let questions = number(asked.iter().filter(|sentence| sentence.ends_with(['?', '？'])).count());
    Some(Personality {
        talk_share: percent(spoken / (spoken + answered)),
        verbosity: percent((spoken / turns) / (spoken / turns + 20.0)),
        question_rate: percent(questions / sentences),
        politeness: percent(count(&LEXICON.polite) / turns),
        urgency: percent(1.0 - 0.5_f64.powf(count(&LEXICON.urgent))),
        sentiment: sentiment(&said),
        confidence: percent(1.0 - (count(&LEXICON.hedge) / sentences).min(1.0)),
        patience: percent(0.5_f64.powf(count(&LEXICON.impatient) + repeated(&said))),
    })
}

fn sentiment(said: &[Vec<String>]) -> f64 {
    let (mut positive, mut negative) = (0.0, 0.0);
    for words in said {
        for at in 0..words.len() {
            let is_turned = words[at.saturating_sub(2)..at].iter().any(|word| LEXICON.negation.contains(word.as_str()));
            let (good, bad) = (LEXICON.positive.begins(&words[at..]), LEXICON.negative.begins(&words[at..]));
            match (good, bad, is_turned) {
                (true, _, false) | (_, true, true) => positive += 1.0,
                (true, _, true) | (_, true, false) => negative += 1.0,
                (false, false, _) => {}
            }
        }
    }
    let felt: f64 = positive + negative;
    if felt > 0.0 { percent(0.5 + 0.5 * (positive - negative) / felt) } else { 50.0 }
}

/// Turns of three words or more that were said before.
fn repeated(said: &[Vec<String>]) -> f64 {
    let mut before = HashSet::new();
    number(said.iter().filter(|words| words.len() >= 3 && !before.insert(*words)).count())
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// A share as 0 to 100, to one decimal.
fn percent(share: f64) -> f64 {
    (share.clamp(0.0, 1.0) * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(text: &str) -> Turn<'_> {
        Turn { speaker: Speaker::Caller, text }
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn a_hand_worked_call() {
        let turns = [
            Turn { speaker: Speaker::Receptionist, text: "Hello how can I help" }, // 5 words
            caller("Hello. My sink is broken, it is urgent."),                     // 8 words, 2 sentences
            caller("Could you come today, please?"),                               // 5 words, 1 sentence, a question
            Turn { speaker: Speaker::Receptionist, text: "Yes at nine" },          // 3 words
            caller("Maybe ten? Thank you."),                                       // 4 words, 2 sentences, a question
        ];
        let expected = Personality {
            talk_share: 68.0,    // 17 of 25
            verbosity: 22.1,     // 17/3 = 5.667 words a turn: 5.667 / 25.667
            question_rate: 40.0, // 2 of 5 sentences
            politeness: 66.7,    // please, thank you: 2 in 3 turns
            urgency: 75.0,       // urgent, today
            sentiment: 50.0,     // broken against thank
            confidence: 80.0,    // maybe, in 5 sentences
            patience: 100.0,
        };
        assert_eq!(measure(&turns), Some(expected));
    }

    #[test]
    fn extremes_stay_within_0_and_100() {
        let turns =
            [caller("I said hurry up!"), caller("I said hurry up!"), caller("Not good, not very good, terrible.")];
        let found = measure(&turns).unwrap();
        assert!(near(found.talk_share, 100.0) && near(found.sentiment, 0.0));
        // i said, hurry up, each twice, and one repetition: 2^-5. ("hurry up" begins where "hurry" does: one.)
        assert!(near(found.patience, 3.1), "{}", found.patience);
        let found = measure(&[caller("maybe, perhaps, I guess")]).unwrap();
        assert!(near(found.confidence, 0.0) && near(found.politeness, 0.0) && near(found.sentiment, 50.0));
    }

    #[test]
    fn who_said_nothing_has_no_metrics() {
        assert_eq!(measure(&[Turn { speaker: Speaker::Receptionist, text: "Hello?" }, caller(" … ")]), None);
    }
}
