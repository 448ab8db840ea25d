//! From evidence to a probability.
//!
//! `cargo test --test quality -- --ignored fit --nocapture` prints these parameters: a logistic regression over the candidates
//! of the tuning half of `tests/quality/utterances.tsv`, with a small ridge so that no parameter runs away.

/// What speaks for an answer. Each is 0 to 1 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// All words of a phrase were said, in its order, and no others but fillers.
    pub exact: bool,
    /// Cosine between the weighted stems of what was said and of the best phrase.
    pub overlap: f64,
    /// How much of that phrase was said, by weight.
    pub phrase_covered: f64,
    /// How much of what was said stands in any phrase of the answer, by weight.
    pub said_covered: f64,
    /// How far `overlap` is ahead of the next answer of its tier, -1 to 1.
    pub ahead: f64,
    /// How far `overlap` is behind the best answer of the other tier, -1 to 0.
    pub behind: f64,
    /// Cosine of the vectors of what was said and of the phrase nearest in meaning, -1 to 1; `None` without a table of vectors.
    pub meaning: Option<f64>,
    /// How far `meaning` is ahead of the next answer's, -2 to 2; 0 without vectors.
    pub meaning_ahead: f64,
}

/// How many numbers the evidence comes to, the constant one among them.
pub const FEATURES: usize = 8;

/// Without vectors: the last two stay unused.
const WORDS: [f64; FEATURES] = [-4.45, 1.95, 2.32, 4.15, 2.48, 2.79, 0.0, 0.0];
/// With vectors.
#[expect(clippy::approx_constant, reason = "it is fitted, and near 2π by chance")]
const MEANING: [f64; FEATURES] = [-4.32, 0.22, 1.48, 3.16, 1.05, 0.92, 2.70, 6.28];

impl Evidence {
    /// As numbers, in the order of the parameters.
    pub fn numbers(&self) -> [f64; FEATURES] {
        let meaning = self.meaning.unwrap_or(0.0);
        [
            1.0,
            self.overlap,
            self.phrase_covered,
            self.said_covered,
            self.ahead,
            self.behind,
            meaning,
            self.meaning_ahead,
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
