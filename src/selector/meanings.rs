//! What a corpus means: a vector for each of its words, and what each answer is about.

use std::collections::HashMap;

use super::Embed;
use super::topics::{self, Topics, dot};

/// A caller's turn says what it is about early; no more of its words are compared one by one, so the work is bounded.
const COMPARED: usize = 32;

/// Prepared once from a corpus.
pub(super) struct Meanings {
    rows: HashMap<String, usize>,
    /// Of length 1; empty for a word that the table does not know.
    vectors: Vec<Vec<f32>>,
    /// For each phrase, the rows of its words and their weights.
    phrases: Vec<Vec<(usize, f64)>>,
    topics: Topics,
}

/// What was said, by what it means.
pub(super) struct SaidMeaning {
    /// Vectors of single words, with their weights.
    words: Vec<(Vec<f32>, f64)>,
    whole: Vec<f32>,
}

impl Meanings {
    /// `answers` is how many phrases each answer has; `phrases` are each phrase's answer and its words with their weights, an answer's
    /// one after the other.
    pub(super) fn new<'a>(
        embed: Embed<'_>,
        answers: &[usize],
        phrases: impl Iterator<Item = (usize, Vec<(&'a str, f64)>)>,
    ) -> Self {
        let mut meanings =
            Self { rows: HashMap::new(), vectors: vec![], phrases: vec![], topics: Topics::new(0, vec![]) };
        let (mut wholes, mut met) = (Vec::new(), vec![0; answers.len()]);
        for (answer, words) in phrases {
            if topics::is_learnt(met[answer], answers[answer], answers.len()) {
                let text: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                wholes.extend(embed(&text.join(" ")).and_then(unit).map(|whole| (answer, whole)));
            }
            met[answer] += 1;
            let words = words.into_iter().map(|(word, weight)| (meanings.row(word, embed), weight)).collect();
            meanings.phrases.push(words);
        }
        meanings.topics = Topics::new(answers.len(), wholes);
        meanings
    }

    fn row(&mut self, word: &str, embed: Embed<'_>) -> usize {
        if let Some(row) = self.rows.get(word) {
            return *row;
        }
        self.vectors.push(embed(word).and_then(unit).unwrap_or_default());
        self.rows.insert(word.to_owned(), self.vectors.len() - 1);
        self.vectors.len() - 1
    }

    /// `None` when the table knows none of the words.
    pub(super) fn said(embed: Embed<'_>, words: &[(&str, f64)]) -> Option<SaidMeaning> {
        let text: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let whole = embed(&text.join(" ")).and_then(unit)?;
        let vector = |(word, weight): &(&str, f64)| (embed(word).and_then(unit).unwrap_or_default(), *weight);
        Some(SaidMeaning { words: words.iter().take(COMPARED).map(vector).collect(), whole })
    }

    /// For each answer, how much what was said is about it.
    pub(super) fn topics(&self, said: &SaidMeaning) -> Vec<f64> {
        self.topics.of(&said.whole)
    }

    /// The phrase that is most alike, and how much, of those given.
    pub(super) fn alike(&self, said: &SaidMeaning, phrases: &[usize], near: &mut Near) -> (f64, usize) {
        let scored = phrases.iter().map(|phrase| (self.alike_phrase(said, *phrase, near), *phrase));
        scored.fold((0.0, phrases[0]), |best, other| if other.0 > best.0 { other } else { best })
    }

    /// The harmonic mean of how much of what was said has something like it in the phrase, and of the reverse.
    fn alike_phrase(&self, said: &SaidMeaning, phrase: usize, near: &mut Near) -> f64 {
        let words = &self.phrases[phrase];
        let (mut of_said, mut of_phrase) = (vec![0.0_f64; said.words.len()], vec![0.0_f64; words.len()]);
        for (j, (row, _)) in words.iter().enumerate() {
            let cosines = near.0.entry(*row).or_insert_with(|| {
                let vector = &self.vectors[*row];
                said.words.iter().map(|(word, _)| dot(word, vector)).collect()
            });
            for (i, cosine) in cosines.iter().enumerate() {
                of_said[i] = of_said[i].max(*cosine);
                of_phrase[j] = of_phrase[j].max(*cosine);
            }
        }
        let share = |found: &[f64], weights: &mut dyn Iterator<Item = f64>| {
            let (sum, all) = found.iter().zip(weights).fold((0.0, 0.0), |(sum, all), (x, w)| (sum + x * w, all + w));
            if all > 0.0 { sum / all } else { 0.0 }
        };
        let a = share(&of_said, &mut said.words.iter().map(|(_, weight)| *weight));
        let b = share(&of_phrase, &mut words.iter().map(|(_, weight)| *weight));
        if a + b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 }
    }
}

/// Cosines of the words that were said with a corpus's word, by its row: the same word stands in many phrases.
#[derive(Default)]
pub(super) struct Near(HashMap<usize, Vec<f64>>);

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
