//! What choosing among 1,000 scenarios costs: `ops/bench/run p7`. P7 of the performance notes.
//!
//! With `STROWGER_TEST_WORD_VECTORS` naming a folder of `ops/word-vectors.sh`, by meaning too.

use std::time::{Duration, Instant};

use strowger::meaning::Table;
use strowger::selector::{Embed, Entry, Index, Tier, Vocabulary};
use uuid::Uuid;

const SCENARIOS: usize = 1000;
const FEW_PHRASES: usize = 6;
/// What comparing and preparing cost a business that has written down a lot.
const MANY_PHRASES: usize = 100;
const UTTERANCES: usize = 2000;
const VERBS: [&str; 10] =
    ["book", "cancel", "move", "repair", "replace", "clean", "check", "order", "return", "explain"];
const THINGS: [&str; 20] = [
    "boiler", "roof", "window", "invoice", "garden", "policy", "piano", "lesson", "car", "pump", "door", "lamp",
    "oven", "lease", "claim", "guitar", "fence", "filter", "carpet", "contract",
];
const TAILS: [&str; 5] = ["for tomorrow", "at my office", "before the weekend", "as soon as possible", "for my mother"];

pub(crate) fn run() {
    let table = std::env::var_os("STROWGER_TEST_WORD_VECTORS").map(|folder| Table::load(folder.as_ref()).unwrap());
    for phrases in [FEW_PHRASES, MANY_PHRASES] {
        measure("words", phrases, None);
        if let Some(table) = &table {
            measure("words and meaning", phrases, Some(&|text: &str| table.embed(text)));
        }
    }
}

const OPENINGS: [&str; 20] = [
    "i want to",
    "can you",
    "i need to",
    "could somebody",
    "do you",
    "i would like to",
    "how do i",
    "when can you",
    "is it possible to",
    "my wife wants to",
    "we have to",
    "who can",
    "please",
    "i am calling to",
    "help me",
    "i was told to",
    "would you",
    "where do i",
    "let us",
    "how soon can you",
];

/// The n-th phrase of a scenario, always the same.
fn phrase(scenario: usize, n: usize) -> String {
    let (verb, thing) = (VERBS[scenario % 10], THINGS[scenario / 10 % 20]);
    format!("{} {verb} the {thing} {} {}", OPENINGS[n / 5 % 20], TAILS[scenario / 200 % 5], TAILS[n % 5])
}

fn measure(name: &str, phrases_each: usize, embed: Option<Embed<'_>>) {
    let phrases: Vec<Vec<String>> = (0..SCENARIOS).map(|s| (0..phrases_each).map(|n| phrase(s, n)).collect()).collect();
    let entries: Vec<Entry<'_>> = phrases
        .iter()
        .enumerate()
        .map(|(n, texts)| Entry {
            id: Uuid::from_u128(n as u128),
            tier: Tier::Scenario,
            priority: 0,
            phrases: texts.iter().map(String::as_str).collect(),
        })
        .collect();
    let vocabulary = Vocabulary { language: "en", fillers: &["um".to_owned()], urgency: &[] };
    let begun = Instant::now();
    let index = Index::new(&vocabulary, &entries, embed);
    println!("{name}: {SCENARIOS} scenarios, {phrases_each} phrases each, prepared in {:?}", begun.elapsed());
    let mut took: Vec<Duration> = (0..UTTERANCES)
        .map(|n| {
            let said = format!("um hello could you {} please", phrase(n * 7 % SCENARIOS, n + 1));
            let begun = Instant::now();
            std::hint::black_box(index.choose(&said, embed));
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!(
        "{name}, {phrases_each} phrases each: p50 {:?}, p99 {:?}",
        took[UTTERANCES / 2],
        took[UTTERANCES * 99 / 100]
    );
}
