//! An extractive summary: the sentences that share most with the rest of the conversation, in the order they were said.
//!
//! A sentence's weight is the sum, over its distinct words that are not stop words, of how many turns hold the word, divided by
//! the square root of how many such words it has: long sentences win on content and not on length. What the caller said
//! counts half as much again: the call is about the caller. Ties go to the earlier sentence.

use std::collections::{HashMap, HashSet};

use super::lexicon::LEXICON;
use super::text::{sentences, words};
use super::{Speaker, Turn};

const MOST_SENTENCES: usize = 3;
const LONGEST_SENTENCE_CHARS: usize = 280;
const CALLER_WEIGHT: f64 = 1.5;
const NOTHING: &str = "Nothing was said.";

/// At most three sentences of the conversation, each after who said it.
pub(super) fn extract(turns: &[Turn<'_>]) -> String {
    let said: Vec<_> = turns.iter().flat_map(|t| sentences(t.text).map(|s| (t.speaker, s, content(s)))).collect();
    let turns_with = turns_with(turns);
    let mut by_weight: Vec<_> = (0..said.len()).map(|at| (weight(said[at].0, &said[at].2, &turns_with), at)).collect();
    by_weight.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut seen = HashSet::new();
    let mut chosen: Vec<usize> = by_weight
        .into_iter()
        .map(|(_, at)| at)
        .filter(|at| seen.insert(words(said[*at].1)))
        .take(MOST_SENTENCES)
        .collect();
    chosen.sort_unstable();
    let told: Vec<_> = chosen.into_iter().map(|at| told(said[at].0, said[at].1)).collect();
    if told.is_empty() { NOTHING.to_owned() } else { told.join(" ") }
}

fn content(sentence: &str) -> HashSet<String> {
    words(sentence).into_iter().filter(|word| !LEXICON.stop.contains(word.as_str())).collect()
}

/// How many turns hold each word.
fn turns_with(turns: &[Turn<'_>]) -> HashMap<String, f64> {
    let mut counts = HashMap::new();
    for word in turns.iter().flat_map(|turn| content(turn.text)) {
        *counts.entry(word).or_insert(0.0) += 1.0;
    }
    counts
}

fn weight(speaker: Speaker, content: &HashSet<String>, turns_with: &HashMap<String, f64>) -> f64 {
    if content.is_empty() {
        return 0.0;
    }
    // Whole numbers: their sum is the same in whatever order a set gives them.
    let shared: f64 = content.iter().filter_map(|word| turns_with.get(word)).sum();
    let length = u32::try_from(content.len()).map_or(f64::MAX, f64::from);
    let weight = shared / length.sqrt();
    if speaker == Speaker::Caller { weight * CALLER_WEIGHT } else { weight }
}

fn told(speaker: Speaker, sentence: &str) -> String {
    let who = match speaker {
        Speaker::Caller => "Caller",
        Speaker::Receptionist => "Receptionist",
    };
    let mut text: String = sentence.chars().take(LONGEST_SENTENCE_CHARS).collect();
    if text.len() < sentence.len() {
        text.push('…');
    }
    format!("{who}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentences_that_matter_stay_in_their_order() {
        let said = |speaker, text| Turn { speaker, text };
        let turns = [
            said(Speaker::Receptionist, "Hello, how can I help you?"),
            said(Speaker::Caller, "Hi there. My roof is leaking since the storm. It is raining."),
            said(Speaker::Receptionist, "I am sorry about the leaking roof. We can send a roofer on Monday."),
            said(Speaker::Caller, "Monday is good for the roof. Thanks, bye."),
        ];
        // roof is in 3 turns, leaking in 2, monday in 2, all others in 1.
        // "My roof is leaking since the storm": roof 3, leaking 2, storm 1 -> 6 / 1.732 * 1.5 = 5.20
        // "Monday is good for the roof": monday 2, roof 3 -> 5 / 1.414 * 1.5 = 5.30
        // "I am sorry about the leaking roof": leaking 2, roof 3 -> 5 / 1.414 = 3.54; "We can send a roofer on Monday": 4 / 1.73
        assert_eq!(
            extract(&turns),
            "Caller: My roof is leaking since the storm. Receptionist: I am sorry about the leaking roof. \
             Caller: Monday is good for the roof."
        );
    }

    #[test]
    fn nothing_said_is_said_so_and_long_sentences_are_cut() {
        assert_eq!(extract(&[]), NOTHING);
        assert_eq!(extract(&[Turn { speaker: Speaker::Caller, text: " … " }]), NOTHING);
        let long = "ä".repeat(400);
        let cut = extract(&[Turn { speaker: Speaker::Caller, text: &long }]);
        assert_eq!(cut.chars().count(), "Caller: ".len() + LONGEST_SENTENCE_CHARS + 1);
    }
}
