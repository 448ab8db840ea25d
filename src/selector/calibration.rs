//! From evidence to a probability.
//!
//! `cargo test --release --test quality -- --ignored fit --nocapture` prints these parameters: a logistic regression over the
//! candidates of `tests/quality/utterances.tsv`, with a small ridge so that no parameter runs away.

/// What speaks for an answer, and against it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// All words of a phrase were said, in its order, and no others but fillers.
    pub exact: bool,
    /// Cosine between the weighted stems of what was said and of the best phrase, 0 to 1.
    pub overlap: f64,
    /// How far `overlap` is ahead of the next answer, -1 to 1.
    pub overlap_ahead: f64,
    /// How much of that phrase was said, by weight, 0 to 1.
    pub phrase_covered: f64,
    /// How much of what was said stands in any phrase of the answer, by weight, 0 to 1.
    pub said_covered: f64,
    /// How far `said_covered` is ahead of the next answer, -1 to 1.
    pub said_covered_ahead: f64,
    /// So many rare words' weight was said that the answer knows, 0 to 4. "Can you repeat that" is covered by many an answer and says
    /// nothing.
    pub known: f64,
    /// So many rare words' weight was said that the answer does not know, 0 to 4.
    pub unknown: f64,
    /// How far the logarithm of its odds is ahead of the next answer's and of what no answer is for, -8 to 8: all of what was said
    /// together, and how much of each word's use is the answer's.
    pub odds_ahead: f64,
    /// `None` without a table of vectors.
    pub meaning: Option<Meaning>,
}

/// What speaks for an answer by what words mean.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Meaning {
    /// How alike what was said and the answer's nearest phrase are, each word compared with the nearest of the other side, 0 to 1.
    pub alike: f64,
    /// How far `alike` is ahead of the next answer, -1 to 1.
    pub alike_ahead: f64,
    /// How much what was said as a whole is about this answer and not another: about 1 for the answer's own phrases, about 0 for others'.
    pub topic: f64,
    /// How far `topic` is ahead of the next answer.
    pub topic_ahead: f64,
}

/// How many numbers the evidence comes to, the constant one among them.
pub const FEATURES: usize = 13;

/// Without vectors: the last four stay unused.
const WORDS: [f64; FEATURES] = [-7.04, 0.75, 3.46, 1.19, 0.23, 2.62, 1.02, 0.66, 0.36, 0.0, 0.0, 0.0, 0.0];
/// With vectors.
const MEANING: [f64; FEATURES] = [-8.55, -2.16, 3.07, 1.19, 0.35, 2.06, 0.43, 1.04, 0.32, 5.82, 0.76, -0.70, 1.87];

impl Evidence {
    /// As numbers, in the order of the parameters.
    pub fn numbers(&self) -> [f64; FEATURES] {
        let [alike, alike_ahead, topic, topic_ahead] =
            self.meaning.map_or([0.0; 4], |m| [m.alike, m.alike_ahead, m.topic, m.topic_ahead]);
        [
            1.0,
            self.overlap,
            self.phrase_covered,
            self.known,
            self.unknown,
            self.overlap_ahead,
            self.said_covered,
            self.said_covered_ahead,
            self.odds_ahead,
            alike,
            alike_ahead,
            topic,
            topic_ahead,
        ]
    }

    /// The probability that the answer is right. What was said word for word is.
    pub(super) fn score(&self) -> f64 {
        if self.exact {
            return 1.0;
        }
        let parameters = if self.meaning.is_some() { &MEANING } else { &WORDS };
        let sum: f64 = self.numbers().iter().zip(parameters).map(|(number, weight)| number * weight).sum();
        1.0 / (1.0 + (-sum).exp())
    }
}
