use proptest::prelude::*;

use super::*;

const PHRASES: [(u128, Tier, &[&str]); 4] = [
    (1, Tier::Knowledge, &["when are you open", "what are your hours"]),
    (2, Tier::Knowledge, &["where are you located", "what is your address"]),
    (3, Tier::Scenario, &["i need to schedule an appointment", "book a visit"]),
    (4, Tier::Scenario, &["cancel my appointment", "i have a leak"]),
];

fn index(order: &[usize]) -> Index {
    let fillers = ["um".to_owned(), "you know".to_owned(), "hello".to_owned()];
    let urgency = [Urgency { word: "leak".into(), weight: 0.5 }, Urgency { word: "right now".into(), weight: 0.2 }];
    let entries: Vec<Entry<'_>> = order
        .iter()
        .map(|at| PHRASES[*at])
        .map(|(id, tier, phrases)| Entry { id: Uuid::from_u128(id), tier, priority: 0, phrases: phrases.to_vec() })
        .collect();
    Index::new(&Vocabulary { language: "en-US", fillers: &fillers, urgency: &urgency }, &entries, None)
}

fn chosen(said: &str) -> Option<u128> {
    index(&[0, 1, 2, 3]).choose(said, None).answer.map(|found| found.id.as_u128())
}

#[test]
fn what_is_said_word_for_word_is_certain_however_it_is_written() {
    for said in ["When are you open?", "um, WHEN are… you know… you open", "Ｗｈｅｎ are you ópen"] {
        let found = index(&[0, 1, 2, 3]).choose(said, None).answer.unwrap();
        assert_eq!((found.id.as_u128(), found.score.to_bits()), (1, 1.0_f64.to_bits()), "{said}");
    }
}

#[test]
fn inflections_are_one_word_and_strangers_are_not_answered() {
    assert_eq!(chosen("i needed to schedule appointments"), Some(3));
    assert_eq!(chosen("a pepperoni pizza"), None);
    assert_eq!(chosen(""), None);
    assert_eq!(chosen("hello"), None);
}

#[test]
fn urgency_keywords_are_heard_and_named() {
    let found = index(&[0, 1, 2, 3]).choose("there is a leak, come right now", None);
    assert!((found.urgency - 0.6).abs() < 1e-9, "{}", found.urgency);
    assert_eq!(found.urgent_words, ["leak", "right now"]);
    assert_eq!(index(&[]).choose("now right", None).urgency.to_bits(), 0.0_f64.to_bits());
}

/// A toy table: each axis is a topic.
fn topics(text: &str) -> Option<Vec<f32>> {
    let about = |words: &[&str]| if words.iter().any(|word| text.contains(word)) { 1.0 } else { 0.0 };
    let vector =
        vec![about(&["open", "hours", "weekdays"]), about(&["located", "address"]), about(&["book", "schedule"])];
    vector.iter().any(|x| *x > 0.0).then_some(vector)
}

#[test]
fn a_word_that_no_phrase_has_is_found_by_its_meaning() {
    let entries =
        [Entry { id: Uuid::from_u128(1), tier: Tier::Knowledge, priority: 0, phrases: vec!["when are you open"] }];
    let vocabulary = Vocabulary { language: "en", fillers: &[], urgency: &[] };
    let found =
        |embed: Option<Embed<'_>>| Index::new(&vocabulary, &entries, embed).choose("weekdays", embed).candidates;
    assert_eq!(found(None), []);
    let by_meaning = &found(Some(&topics))[0];
    let meaning = by_meaning.evidence.meaning.unwrap();
    assert!((meaning.topic - 1.0 / 1.03).abs() < 1e-6 && meaning.alike > 0.7, "{meaning:?}");
}

/// Turns red when the index does not know what no answer is for.
#[test]
fn what_is_another_businesss_matter_speaks_against_all_answers() {
    let found = index(&[0, 1, 2, 3]).choose("i would like to cancel the gym membership of my son", None);
    assert!(found.candidates[0].evidence.odds_ahead < -0.5, "{:?}", found.candidates);
}

proptest! {
    #[test]
    fn any_text_is_compared_without_panic_and_always_alike(said in any::<String>()) {
        let index = index(&[0, 1, 2, 3]);
        let found = index.choose(&said, None);
        prop_assert!(found.candidates.iter().all(|c| (0.0..=1.0).contains(&c.score)));
        prop_assert!(found.candidates.is_sorted_by(|a, b| a.score >= b.score));
        prop_assert_eq!(found, index.choose(&said, None));
    }

    #[test]
    fn any_text_may_be_a_phrase(phrase in any::<String>(), said in any::<String>()) {
        let entries = [Entry { id: Uuid::nil(), tier: Tier::Scenario, priority: 0, phrases: vec![&phrase] }];
        let fillers = [said.clone()];
        let index = Index::new(&Vocabulary { language: &said, fillers: &fillers, urgency: &[] }, &entries, None);
        prop_assert!(index.choose(&said, None).candidates.iter().all(|c| (0.0..=1.0).contains(&c.score)));
    }

    #[test]
    fn the_order_of_the_corpus_does_not_matter(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        words in prop::collection::vec("when|are|you|open|appointment|cancel|need|visit|leak|zebra", 1..8),
    ) {
        let said = words.join(" ");
        prop_assert_eq!(index(&order).choose(&said, None), index(&[0, 1, 2, 3]).choose(&said, None));
    }

    #[test]
    fn hesitating_changes_nothing(
        words in prop::collection::vec("when|are|you|open|appointment|know|need|visit|leak|zebra", 1..8),
        at in any::<prop::sample::Index>(),
        filler in "um|hello|Um,",
    ) {
        let index = index(&[0, 1, 2, 3]);
        let mut hesitant = words.clone();
        hesitant.insert(at.index(words.len() + 1), filler);
        let (plain, hesitant) = (index.choose(&words.join(" "), None), index.choose(&hesitant.join(" "), None));
        // Who says nothing but fillers is left every word of it.
        prop_assume!(!plain.words.windows(2).any(|pair| pair == ["you", "know"]));
        prop_assert_eq!((plain.words, plain.candidates), (hesitant.words, hesitant.candidates));
    }
}
