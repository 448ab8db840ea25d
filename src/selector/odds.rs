//! How likely each answer is by all of what was said, piece by piece: naive Bayes.
//!
//! A piece is a stem, a pair of neighbouring stems, or three letters in a row, which misspellings, other endings and words that a speech
//! recogniser cut elsewhere leave alone. What it says for an answer is how much of its use is the answer's: an answer's pieces
//! are taken as shares of them all, so that one with two phrases and one with two hundred speak equally loud. One more answer, which is
//! never given, knows what people say that is no business's matter or another's (`elsewhere/`).
//!
//! Nothing is solved: preparing counts pieces, and comparing adds up what each piece says for the answers that have it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::LazyLock;

use super::text::{self, Language};

/// What a piece of each kind counts: letters are many, and most of them say again what the stem says. Chosen by cross-validation on
/// `tests/quality/utterances.tsv`.
const WEIGHTS: [f64; KINDS] = [1.0, 1.0, 0.3];
const KINDS: usize = 3;

static ELSEWHERE_IN_ENGLISH: LazyLock<Counts> = LazyLock::new(|| {
    let (language, mut counts) = (Language::new("en"), Counts::default());
    let lines = include_str!("elsewhere/en.txt").lines().filter(|line| !line.starts_with('#'));
    lines.for_each(|line| counts.add(&text::words(line), &language));
    counts
});

/// For each answer, the logarithm of how much likelier it makes what was said than the average answer does.
pub(super) struct Spoken {
    pub(super) answers: Vec<f64>,
    /// The same for what no answer is for.
    pub(super) elsewhere: f64,
}

/// What each piece says for each answer.
#[derive(Default)]
pub(super) struct Odds {
    /// The answers that have a piece, and what it says for them beyond what a strange one says.
    pieces: HashMap<Piece, Vec<(u32, f32)>>,
    /// For each answer, the logarithm of how likely it is to be said in other pieces than it has, by kind. What no answer is for comes
    /// last, if there is any.
    strange: Vec<[f64; KINDS]>,
    answers: usize,
}

/// A stem, a pair or three letters, by its hash: there are many, and nobody reads them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Piece {
    kind: u8,
    hash: u64,
}

impl Piece {
    fn kind(self) -> usize {
        usize::from(self.kind)
    }
}

/// In how many of some phrases each piece stands.
#[derive(Default)]
struct Counts {
    pieces: HashMap<Piece, u32>,
    /// By kind: how many, and how many of them once.
    all: [f64; KINDS],
    once: [f64; KINDS],
}

impl Counts {
    fn add(&mut self, words: &[String], language: &Language) {
        for piece in pieces(words, language) {
            let n = self.pieces.entry(piece).or_default();
            *n += 1;
            self.all[piece.kind()] += 1.0;
            self.once[piece.kind()] += match n {
                1 => 1.0,
                2 => -1.0,
                _ => 0.0,
            };
        }
    }

    fn share(&self, piece: Piece, n: u32) -> f64 {
        f64::from(n) / self.all[piece.kind()]
    }

    /// How likely the next piece is one that none of the phrases has, by how many were met once (Good and Turing).
    fn strange(&self) -> [f64; KINDS] {
        std::array::from_fn(|kind| (self.once[kind] + 0.5) / (self.all[kind] + 1.0))
    }
}

impl Odds {
    /// `phrases` are each phrase's answer and its words.
    pub(super) fn new<'a>(
        language: &Language,
        answers: usize,
        phrases: impl Iterator<Item = (usize, &'a [String])>,
    ) -> Self {
        let mut counts: Vec<Counts> = (0..answers).map(|_| Counts::default()).collect();
        for (answer, words) in phrases {
            counts[answer].add(words, language);
        }
        let elsewhere = language.is_english().then(|| &*ELSEWHERE_IN_ENGLISH);
        let strange: Vec<_> = counts.iter().chain(elsewhere).map(Counts::strange).collect();
        let mut shares: HashMap<Piece, Vec<(u32, f64)>> = HashMap::new();
        for (answer, counts) in (0_u32..).zip(&counts) {
            for (piece, n) in &counts.pieces {
                shares.entry(*piece).or_default().push((answer, counts.share(*piece, *n)));
            }
        }
        // What only elsewhere has is looked up there: it would be the greater part of a small business's index.
        for (answer, elsewhere) in (0_u32..).skip(answers).zip(elsewhere) {
            for (piece, shares) in &mut shares {
                shares.extend(elsewhere.pieces.get(piece).map(|n| (answer, elsewhere.share(*piece, *n))));
            }
        }
        let says = |(piece, shares): (Piece, Vec<(u32, f64)>)| (piece, says(piece, shares, &strange));
        let pieces = shares.into_iter().map(says).collect();
        Self { pieces, strange: strange.iter().map(|of| of.map(f64::ln)).collect(), answers }
    }

    /// For every answer, what the words say for it. A piece that nobody has says nothing.
    pub(super) fn of(&self, words: &[String], language: &Language) -> Spoken {
        let mut known = [0.0; KINDS];
        let mut sums = vec![0.0; self.strange.len()];
        for piece in pieces(words, language) {
            let weight = WEIGHTS[piece.kind()];
            if let Some(says) = self.pieces.get(&piece) {
                known[piece.kind()] += weight;
                for (answer, says) in says {
                    sums[*answer as usize] += weight * f64::from(*says);
                }
            } else if language.is_english() && ELSEWHERE_IN_ENGLISH.pieces.contains_key(&piece) {
                known[piece.kind()] += weight;
                sums[self.answers] += weight * self.only_elsewhere(piece.kind());
            }
        }
        for (sum, strange) in sums.iter_mut().zip(&self.strange) {
            *sum += known.iter().zip(strange).map(|(known, strange)| known * strange).sum::<f64>();
        }
        let elsewhere = sums.get(self.answers).copied().unwrap_or_default();
        sums.truncate(self.answers);
        Spoken { answers: sums, elsewhere }
    }
}

impl Odds {
    /// What a piece says for elsewhere that no answer has: all of its use is there.
    fn only_elsewhere(&self, kind: usize) -> f64 {
        let strange = self.strange[self.answers][kind].exp();
        #[expect(clippy::cast_precision_loss, reason = "there are no millions of answers")]
        let all = self.strange.len() as f64;
        ((1.0 - strange) / strange * all).ln_1p()
    }
}

/// What a piece says for each answer that has it, by its share of that answer's pieces of the kind and of the average answer's.
fn says(piece: Piece, shares: Vec<(u32, f64)>, strange: &[[f64; KINDS]]) -> Vec<(u32, f32)> {
    // Sums are rounded: in one order they come to the same whatever order the corpus is in.
    let mut sorted: Vec<f64> = shares.iter().map(|(_, share)| *share).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "there are no millions of answers")]
    let average = sorted.iter().sum::<f64>() / strange.len() as f64;
    let says = |(answer, share): (u32, f64)| {
        let strange = strange[answer as usize][piece.kind()];
        #[expect(clippy::cast_possible_truncation, reason = "what a piece says needs few digits")]
        let says = ((1.0 - strange) / strange * share / average).ln_1p() as f32;
        (answer, says)
    };
    shares.into_iter().map(says).collect()
}

/// Each once, in the order in which they come.
fn pieces(words: &[String], language: &Language) -> Vec<Piece> {
    let stems: Vec<String> = words.iter().map(|word| language.stem(word)).collect();
    let single = stems.iter().map(|stem| Piece { kind: 0, hash: hash(stem) });
    let pairs = stems.windows(2).map(|pair| Piece { kind: 1, hash: hash(pair) });
    // Without the gaps between words: "this count" is a discount that a speech recogniser heard.
    let letters: Vec<char> = words.iter().flat_map(|word| word.chars()).collect();
    let threes = letters.windows(3).map(|three| Piece { kind: 2, hash: hash(three) });
    let mut seen = HashSet::new();
    single.chain(pairs).chain(threes).filter(|piece| seen.insert(*piece)).collect()
}

fn hash(of: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(language: &Language, phrases: &[(usize, &str)]) -> Odds {
        let words: Vec<_> = phrases.iter().map(|(answer, text)| (*answer, text::words(text))).collect();
        Odds::new(language, 2, words.iter().map(|(answer, words)| (*answer, &**words)))
    }

    /// The first answer has two stems, each once, so the next of its stems is strange with (2 + ½) / (2 + 1) = 5/6; the second has three,
    /// with (3 + ½) / (3 + 1) = 7/8. "aa" is ½ of the first's and ⅓ of the second's: 6/5 and 4/5 of what it is on average.
    ///
    /// Turns red when pieces count without their answer's total.
    #[test]
    fn hand_worked_odds() {
        // A language without stems and an elsewhere.
        let language = Language::new("xx");
        let odds = odds(&language, &[(0, "aa bb"), (1, "aa cc dd")]);
        let likelier =
            |word: &str| odds.of(&[word.to_owned()], &language).answers.into_iter().map(f64::exp).collect::<Vec<_>>();
        let said = likelier("aa");
        assert!((said[0] - (5.0 / 6.0 + 1.0 / 6.0 * 6.0 / 5.0)).abs() < 1e-6, "{said:?}");
        assert!((said[1] - (7.0 / 8.0 + 1.0 / 8.0 * 4.0 / 5.0)).abs() < 1e-6, "{said:?}");
        assert!(likelier("zz").iter().all(|says| (says - 1.0).abs() < 1e-9), "what nobody says speaks against nobody");
    }

    /// Turns red when letters count nothing.
    #[test]
    fn words_that_were_cut_elsewhere_are_heard() {
        let language = Language::new("xx");
        let odds = odds(&language, &[(0, "a discount for seniors"), (1, "directions to the office")]);
        let said = odds.of(&text::words("any this counts"), &language).answers;
        assert!(said[0] > said[1], "{said:?}");
    }
}
