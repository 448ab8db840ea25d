//! What is known of English: `lexicon.txt`, sections of words and phrases.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The lists of the file, by their section.
pub(super) struct Lexicon {
    /// Words that carry no topic.
    pub(super) stop: HashSet<&'static str>,
    /// Turn the feeling of the word after them around.
    pub(super) negation: HashSet<&'static str>,
    pub(super) positive: Phrases,
    pub(super) negative: Phrases,
    pub(super) polite: Phrases,
    pub(super) urgent: Phrases,
    pub(super) hedge: Phrases,
    pub(super) impatient: Phrases,
}

/// Phrases by their first word.
#[derive(Default)]
pub(super) struct Phrases(HashMap<&'static str, Vec<Vec<&'static str>>>);

impl Phrases {
    /// Whether one of them begins at the first of `words`.
    pub(super) fn begins(&self, words: &[String]) -> bool {
        let Some(phrases) = words.first().and_then(|first| self.0.get(first.as_str())) else { return false };
        phrases.iter().any(|phrase| words.len() >= phrase.len() && phrase.iter().zip(words).all(|(a, b)| a == b))
    }

    /// How often any of them is said.
    pub(super) fn count(&self, words: &[String]) -> usize {
        (0..words.len()).filter(|at| self.begins(&words[*at..])).count()
    }
}

pub(super) static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let words = |name| section(name).collect();
    let phrases = |name| {
        let mut phrases = Phrases::default();
        for line in section(name) {
            let phrase: Vec<_> = line.split(' ').collect();
            phrases.0.entry(phrase[0]).or_default().push(phrase);
        }
        phrases
    };
    Lexicon {
        stop: words("stop"),
        negation: words("negation"),
        positive: phrases("positive"),
        negative: phrases("negative"),
        polite: phrases("polite"),
        urgent: phrases("urgent"),
        hedge: phrases("hedge"),
        impatient: phrases("impatient"),
    }
});

/// The entries of a section, separated by commas or lines.
fn section(name: &str) -> impl Iterator<Item = &'static str> {
    let mut sections = include_str!("lexicon.txt").split("\n[").filter_map(|section| section.split_once("]\n"));
    let entries = sections.find(|(found, _)| *found == name).map_or("", |(_, entries)| entries);
    entries.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_there_and_written_as_words_are_compared() {
        for name in ["stop", "negation", "positive", "negative", "polite", "urgent", "hedge", "impatient"] {
            let entries: Vec<_> = section(name).collect();
            assert!(entries.len() >= 8, "{name}");
            for entry in entries {
                assert_eq!(super::super::text::words(entry).join(" "), entry, "{name}");
            }
        }
    }

    #[test]
    fn phrases_are_counted_where_they_begin() {
        let words = super::super::text::words("Right now I need it right away, as soon as possible.");
        assert_eq!(LEXICON.urgent.count(&words), 3);
    }
}
