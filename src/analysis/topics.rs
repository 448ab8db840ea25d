//! What was talked about: the phrases that come up in most turns.
//!
//! A phrase is one to three words in a row, in one sentence, none of them a stop word or a bare number. Its weight is how many
//! turns hold it, squared, times its length: what comes up again matters more than what is long, and "roof leak" beats "roof" when they come up together, and "roof" wins when it comes up
//! alone too. Ties go to the phrase that came up first. A phrase that overlaps one already chosen adds nothing.

use std::collections::{HashMap, HashSet};

use super::Turn;
use super::lexicon::LEXICON;
use super::text::{sentences, words};

const MOST_TOPICS: usize = 5;
const LONGEST_PHRASE_WORDS: usize = 3;
const LONGEST_WORD_CHARS: usize = 40;

/// At most five phrases, the most discussed first.
pub(super) fn find(turns: &[Turn<'_>]) -> Vec<String> {
    let mut counts: HashMap<Vec<String>, (usize, usize)> = HashMap::new();
    for turn in turns {
        let mut seen = HashSet::new();
        for phrase in sentences(turn.text).flat_map(phrases).filter(|phrase| seen.insert(phrase.clone())) {
            let order = counts.len();
            counts.entry(phrase).or_insert((0, order)).0 += 1;
        }
    }
    let mut ranked: Vec<_> =
        counts.into_iter().map(|(phrase, (turns, order))| (turns * turns * phrase.len(), order, phrase)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<Vec<String>> = Vec::new();
    for (_, _, phrase) in ranked {
        if chosen.len() == MOST_TOPICS {
            break;
        }
        if !chosen.iter().flatten().any(|word| phrase.contains(word)) {
            chosen.push(phrase);
        }
    }
    chosen.into_iter().map(|phrase| phrase.join(" ")).collect()
}

/// All phrases of a sentence, in order; at one place the longest first.
fn phrases(sentence: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // What stands between commas and the like is not one phrase.
    for part in sentence.split([',', ';', ':', '(', ')', '"', '.', '!', '?', '/']) {
        let words = words(part);
        for run in words.split(|word| !is_topical(word)) {
            for at in 0..run.len() {
                let longest = LONGEST_PHRASE_WORDS.min(run.len() - at);
                found.extend((1..=longest).rev().map(|length| run[at..at + length].to_vec()));
            }
        }
    }
    found
}

fn is_topical(word: &str) -> bool {
    !LEXICON.stop.contains(word)
        && (2..=LONGEST_WORD_CHARS).contains(&word.chars().count())
        && word.chars().any(char::is_alphabetic)
        && !word.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Speaker;

    fn topics(said: &[&str]) -> Vec<String> {
        find(&said.iter().map(|text| Turn { speaker: Speaker::Caller, text }).collect::<Vec<_>>())
    }

    #[test]
    fn phrases_of_several_turns_come_first() {
        let said = ["I have a roof leak.", "A roof leak, since the storm?", "Yes, the storm. And call me on 555 0100."];
        // "roof leak": 2 turns squared x 2 words = 8; "storm": 4; "roof" and "leak" add nothing.
        assert_eq!(topics(&said), ["roof leak", "storm"]);
    }

    #[test]
    fn a_word_that_comes_up_alone_beats_the_phrase_it_is_in() {
        assert_eq!(topics(&["guitar lessons", "guitar", "my guitar", "a guitar"])[0], "guitar");
        assert!(topics(&["yes please, thank you", "42"]).is_empty());
    }
}
